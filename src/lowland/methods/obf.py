"""Output bias forgetting, inside any sharpness-aware method."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from lowland.blocks.wrapper import Wrapper
from lowland.checks import at_least, fraction, one_of
from lowland.engine.objective import Examples
from lowland.engine.request import Direction, Look, Request
from lowland.engine.step import Step

__all__ = ["OBF"]


@dataclass(frozen=True, kw_only=True)
class OBF(Wrapper):
    r"""Ascend so that outputs forget their bias, :math:`\partial / \partial z = u - \alpha p - (1 - \alpha) y`.

    :math:`z` are the outputs, :math:`p` their probabilities, :math:`y` the target, :math:`u = 1/K` uniform, and
    per example :math:`\alpha = \gamma \max(0, (1 - \lambda / p_y) / (1 - \lambda))`, held constant. At
    :math:`\alpha = 1` the outputs are pushed to uniform, whatever they are biased to; at 0 the target alone is
    suppressed. SAM would have :math:`p - y`. The descent is the inner method's, on the training loss. Passes and
    memory are the inner method's. Needs examples with class indices, or probabilities of shape ``(n, K)``: pass
    a :func:`lowland.objective`.

    Meant for methods whose clean gradient serves the ascent: SAM, ASAM, mSAM (the authors' m is 64) and GSAM,
    where the clean gradient of the gap is this loss's too, as in the authors' code.

    Attributes:
        method: The method, or its spec, such as ``"gsam:rho=0.1"``.
        gamma: Largest :math:`\alpha`, >= 0. The authors use 1 for vision transformers with SAM and GSAM, and 0 for
            ResNets, for ASAM and for fine-tuning.
        lam: The :math:`\lambda` at or below which a target's probability gives :math:`\alpha = 0`, in [0, 1).
            None is 1 / K, so 0.001 on ImageNet.
        link: ``softmax`` or ``sigmoid``: how outputs become probabilities, which must fit the training loss. The
            authors' script always has the sigmoid's, which only matters where gamma is not 0.

    References:
        Vani, Tung, Oliveira, Sharifi, Forget Sharpness: Perturbed Forgetting of Model Biases Within SAM Dynamics,
        ICML 2024. https://arxiv.org/abs/2406.06700
    """

    gamma: float = 1.0
    lam: float | None = None
    link: Literal["softmax", "sigmoid"] = "softmax"

    PASSES: ClassVar = 2
    COPIES: ClassVar = 1
    REDUCES_TO: ClassVar = {"sgd": {"method": "sam:rho=0.0"}}

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("gamma", self.gamma, 0)
        one_of("link", self.link, ["softmax", "sigmoid"])
        if self.lam is not None:
            fraction("lam", self.lam, one=False)

    @property
    def passes(self) -> float:
        """The inner method's."""
        return self.inner.passes

    @property
    def forwards(self) -> float:
        """The inner method's."""
        return self.inner.forwards

    def direction(self, step: Step) -> Direction:
        """Run the inner method with another loss at the weights themselves."""
        step.objectives()
        algorithm: Generator[Any, Any, Any] = self.inner.direction(step)
        try:
            request = next(algorithm)
            while True:
                request = algorithm.send((yield self._forgetting(request)))
        except StopIteration as finished:
            return finished.value

    def loss(self, examples: Examples) -> Tensor:
        """A loss whose gradient in the outputs is that of output bias forgetting.

        Raises:
            TypeError: If the outputs are not one tensor.
        """
        z, y = examples.outputs, examples.targets
        if not isinstance(z, Tensor):
            raise TypeError(f"The model must give one tensor of outputs, got {type(z).__name__}.")
        k = z.shape[-1]
        if y.ndim < z.ndim:
            y = nn.functional.one_hot(y, k)
        y = y.to(z)
        p = (z.softmax(-1) if self.link == "softmax" else z.sigmoid()).detach()
        lam = 1 / k if self.lam is None else self.lam
        p_y = (p * y).sum(-1, keepdim=True) / y.sum(-1, keepdim=True).clamp(min=1)
        alpha = self.gamma * ((1 - lam / p_y) / (1 - lam)).clamp(min=0)
        c = 1 / k - alpha * p - (1 - alpha) * y
        return (c * z).sum(-1).mean()

    def _forgetting(self, request: Request | Look) -> Request | Look:
        if isinstance(request, Request) and request.at is None and request.along is None:
            return replace(request, loss=self.loss)
        return request

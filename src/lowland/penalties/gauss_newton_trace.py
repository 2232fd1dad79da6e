"""The trace of the Gauss-Newton matrix as a penalty."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.checks import one_of
from lowland.operators.likelihood import LIKELIHOODS
from lowland.penalties._parts.trace import BoundTrace, TracePenalty, refuse_without_graph

__all__ = ["GaussNewtonTrace"]


@dataclass(frozen=True, kw_only=True)
class GaussNewtonTrace(TracePenalty):
    r"""What weight noise adds to the loss of a linear model, :math:`\tfrac{\sigma^2}{2} \operatorname{tr} G`.

    As :math:`n \lVert \nabla \tfrac1n \sum_i \ell(z_i, \hat y_i) \rVert_2^2`, over a batch of n outputs
    :math:`z_i` with targets :math:`\hat y_i` drawn from the model itself. Their slopes have mean 0 and do not
    depend on each other, so this is unbiased for the trace of :math:`G = \tfrac1n \sum_i J_i^\top C_i J_i`, with
    :math:`C_i` the second derivative of :math:`\ell` in :math:`z_i`. Never below 0. The targets are constants to
    the term's derivative, which in the mean is that of the trace with :math:`C_i` held fixed.

    Attributes:
        sigma: Standard deviation of the weight noise that the term stands for, >= 0.
        samples: Drawn batches of targets in each call, >= 1.
        likelihood: What :math:`\ell` is: ``categorical``, cross-entropy of logits (n, k); ``bernoulli``, binary
            cross-entropy of logits, summed over outputs; ``gaussian``, half the squared distance, so that targets
            are outputs plus normal numbers and :math:`C_i = 1`.

    Cost:
        Per sample one gradient with its graph, and its derivative: two (dense layers) to three gradients
        (convolutions). No copy of the weights between steps. Every operation must have a second derivative.

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        NeurIPS 2024 (exploitation only). https://arxiv.org/abs/2401.10809
    """

    likelihood: Literal["categorical", "bernoulli", "gaussian"] = "categorical"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("likelihood", self.likelihood, LIKELIHOODS)

    def bind(self, model: nn.Module, optimizer: Optimizer) -> "BoundGaussNewtonTrace":
        """Make the term; call it inside the closure: ``criterion(z, y) + term(z)``.

        Args:
            model: Gives the outputs.
            optimizer: Trains it; the trace is taken over what it trains.

        Returns:
            The term.

        Raises:
            ValueError: If the optimiser trains none of the model's parameters.
            NotImplementedError: If parameters are sharded.
        """
        return BoundGaussNewtonTrace(self, model, optimizer)


class BoundGaussNewtonTrace(BoundTrace[GaussNewtonTrace]):
    """The trace of the Gauss-Newton matrix, at work."""

    def __call__(self, outputs: Tensor) -> Tensor:
        """What to add to the mean loss of a batch, a scalar.

        Args:
            outputs: The model's, of shape ``(n, ...)``, with their graph.

        Raises:
            ValueError: If they have no graph, or not the shape that the likelihood is for.
        """
        refuse_without_graph("outputs", outputs)
        if not self.penalty.sigma:
            return outputs.new_zeros(())
        return self.mean(lambda: self._squares(outputs))

    def _squares(self, outputs: Tensor) -> Tensor:
        """An estimate of the trace."""
        likelihood, n = LIKELIHOODS[self.penalty.likelihood], len(outputs)
        targets = likelihood.draw(outputs.detach(), None)
        slopes = likelihood.slope(outputs, targets) / n
        grads = torch.autograd.grad(outputs, self.weights, slopes, create_graph=True, allow_unused=True)
        return n * torch.stack([g.square().sum() for g in grads if g is not None]).sum()

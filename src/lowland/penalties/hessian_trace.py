"""The trace of the Hessian as a penalty."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.penalties._parts.trace import BoundTrace, TracePenalty, refuse_without_graph

__all__ = ["HessianTrace"]


@dataclass(frozen=True, kw_only=True)
class HessianTrace(TracePenalty):
    r"""What weight noise adds to the loss, :math:`\tfrac{\sigma^2}{2} \operatorname{tr} H`, as :math:`v^\top H v`.

    The mean over ``samples`` vectors v of normal numbers, drawn anew in every call, is unbiased. The term has no
    lower bound: it can drive the trace of the nonlinear modelling error :math:`N = H - G` ever further below 0, at
    the expense of the loss. :class:`~lowland.penalties.gauss_newton_trace.GaussNewtonTrace` leaves that part out.

    Weight noise itself is :class:`lowland.RandomPerturbation` with a radius of :math:`\sigma \sqrt P` for P
    weights, at the cost of a plain step: its noise has that length in every step, where normal noise has it but
    for a share of about :math:`1 / \sqrt{2P}`, and its mean square along every direction is the same.

    Attributes:
        sigma: Standard deviation of the weight noise that the term stands for, >= 0.
        samples: Vectors in each call, >= 1.

    Cost:
        One gradient with its graph, and per sample a product with the Hessian and its derivative: with one sample
        four (dense layers) to eleven gradients (convolutions). No copy of the weights between steps. Every
        operation must have a third derivative.

    References:
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        NeurIPS 2024. https://arxiv.org/abs/2401.10809
        Hutchinson, A stochastic estimator of the trace of the influence matrix, 1989.
    """

    def bind(self, model: nn.Module, optimizer: Optimizer) -> "BoundHessianTrace":
        """Make the term; call it inside the closure: ``loss + term(loss)``.

        Args:
            model: Computes the loss.
            optimizer: Trains it; the trace is taken over what it trains.

        Returns:
            The term.

        Raises:
            ValueError: If the optimiser trains none of the model's parameters.
            NotImplementedError: If parameters are sharded.
        """
        return BoundHessianTrace(self, model, optimizer)


class BoundHessianTrace(BoundTrace[HessianTrace]):
    """The trace of the Hessian, at work."""

    def __call__(self, loss: Tensor) -> Tensor:
        """What to add to the loss, a scalar.

        Args:
            loss: The mean loss of a batch, a scalar with its graph.

        Raises:
            ValueError: If it has no graph.
        """
        refuse_without_graph("loss", loss)
        if not self.penalty.sigma:
            return loss.new_zeros(())
        weights = self.weights
        slopes = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        return self.mean(lambda: form(slopes, weights, loss))


def form(slopes: Sequence[Tensor | None], weights: Sequence[Tensor], loss: Tensor) -> Tensor:
    """The quadratic form of the slopes' derivative with normal numbers; 0 where it has none."""
    v = [torch.randn_like(w, requires_grad=False) for w in weights]
    along = [(g * part).sum() for g, part in zip(slopes, v, strict=True) if g is not None]
    if not along or not (slope := torch.stack(along).sum()).requires_grad:
        return loss.new_zeros(())
    products = torch.autograd.grad(slope, weights, create_graph=True, allow_unused=True)
    return torch.stack([(h * part).sum() for h, part in zip(products, v, strict=True) if h is not None]).sum()

"""Operators for curvlinops from ours, whose inverses and estimators then take them, and ours from its."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from lowland.operators.curvature import Curvature
from lowland.operators.operator import Operator

__all__ = ["from_curvlinops", "to_curvlinops"]

KNOWN = "3.0."
BROKEN = (nn.LayerNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def to_curvlinops(operator: Operator) -> Any:  # noqa: ANN401 - a class of an optional package
    """The operator as a ``PyTorchLinearOperator``; that of a curvature takes lists of the parameters' shapes too.

    Raises:
        ImportError: If curvlinops is missing, or of a version other than 3.0.
    """

    class Ours(_library("_torch_base").PyTorchLinearOperator):
        def __init__(self, whole: Operator) -> None:
            rows, columns = whole.shape
            shapes = [tuple(w.shape) for w in whole.problem.weights] if isinstance(whole, Curvature) else None
            super().__init__(shapes or [(columns,)], shapes or [(rows,)])
            self.whole, self.SELF_ADJOINT = whole, whole.symmetric

        @property
        def device(self) -> torch.device:
            return self.whole.device

        @property
        def dtype(self) -> torch.dtype:
            return self.whole.dtype

        def _matmat(self, X: list[Tensor]) -> list[Tensor]:
            k = X[0].shape[-1]
            product = self.whole @ torch.cat([part.reshape(-1, k) for part in X])
            pieces = product.split(self._out_shape_flat)
            return [part.reshape(*shape, k) for part, shape in zip(pieces, self._out_shape, strict=True)]

        def _adjoint(self) -> "Ours":
            return Ours(self.whole.T)

    return Ours(operator)


def from_curvlinops(operator: Any) -> Operator:  # noqa: ANN401 - a class of an optional package
    """A ``PyTorchLinearOperator`` as one of ours.

    Its Hessian is refused for models with an affine layer or instance norm, or a batch norm that trains: it takes
    the gradient under ``vmap``, where PyTorch loses a term of these norms' second derivative.

    Raises:
        ImportError: If curvlinops is missing, or of a version other than 3.0.
        TypeError: If the operator is none of its.
        ValueError: If its products are known to be wrong.
    """
    if not isinstance(operator, _library("_torch_base").PyTorchLinearOperator):
        raise TypeError(f"operator must be one of curvlinops', got {type(operator).__name__}.")
    if isinstance(operator, _library("hessian").HessianLinearOperator):
        _refuse_norms(operator._model_func)
    return _Theirs(operator)


class _Theirs(Operator):
    def __init__(self, whole: Any) -> None:  # noqa: ANN401 - a class of an optional package
        super().__init__(tuple(whole.shape), whole.dtype, whole.device, symmetric=whole.SELF_ADJOINT)
        self.whole = whole

    def multiply(self, block: Tensor) -> Tensor:
        return self.whole @ block

    def multiply_transposed(self, block: Tensor) -> Tensor:
        return self.whole.adjoint() @ block


def _refuse_norms(model: object) -> None:
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        affine = isinstance(module, BROKEN) and module.weight is not None
        batch = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        if affine or batch:
            raise ValueError(
                f"curvlinops' Hessian must be of a model without affine {type(module).__name__}, got {name!r}: "
                "its product is wrong there. Use lowland.hessian."
            )


def _library(part: str) -> Any:  # noqa: ANN401 - a module
    try:
        found = version("curvlinops-for-pytorch")
    except PackageNotFoundError:
        raise ImportError("curvlinops must be installed: pip install curvlinops-for-pytorch==3.0.1") from None
    if not found.startswith(KNOWN):
        raise ImportError(f"curvlinops must be of version {KNOWN}*, got {found}.")
    return import_module(f"curvlinops.{part}")

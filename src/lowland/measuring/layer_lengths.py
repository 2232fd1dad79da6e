"""How long a vector of the parameters' length is in each layer."""

from torch import Tensor

from lowland.operators.problem import Problem

__all__ = ["layer_lengths"]


def layer_lengths(problem: Problem, V: Tensor) -> dict[str, Tensor]:
    """Euclidean norms of the columns of ``V``, shape ``(P, k)``, in each module with parameters of its own.

    Returns:
        Shape ``(k,)`` by the module's name, and for the whole by the empty name.
    """
    squares = {"": V.square().sum(0)}
    sizes = [p.numel() for p in problem.parameters.values()]
    for name, part in zip(problem.parameters, V.split(sizes), strict=True):
        layer = name.rpartition(".")[0]
        if layer:
            squares[layer] = squares.get(layer, 0) + part.square().sum(0)
    return {layer: square.sqrt() for layer, square in squares.items()}

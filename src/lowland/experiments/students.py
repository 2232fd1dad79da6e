"""ReLU students of ReLU teachers, of any depth."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from lowland.checks import whole
from lowland.experiments.large_steps import LEAST
from lowland.experiments.units_in_use import units_in_use
from lowland.seeds import generator

__all__ = ["THREE_LAYERS", "TWO_LAYERS", "Students"]

DRAWN = 1000
"""The most teachers that are drawn."""


@dataclass(frozen=True, kw_only=True)
class Students:
    """Students learn what a teacher of the same depth says of inputs on the sphere.

    See :class:`lowland.experiments.large_steps.Regression`. Teachers are drawn until every unit of theirs is
    active on some of the examples. Without biases a teacher's hidden units have weights of length 1, and those of
    its output are 1 or -1.

    Attributes:
        inputs: Their dimension.
        teacher: Units of the teacher's hidden layers.
        student: Units of the student's.
        scales: Standard deviations of the student's weights at the start, layer by layer, the output's the last.
        biases: Whether layers have them, drawn as PyTorch does.
        examples: To train on.
        tests: Fresh ones to test on.
        steps: In all, at least 40.
        smallest: The smallest step size that is tried.
        growth: Of large steps.
    """

    inputs: int
    teacher: tuple[int, ...]
    student: tuple[int, ...]
    scales: tuple[float, ...]
    biases: bool = False
    examples: int
    tests: int = 1000
    steps: int
    smallest: float = 0.05
    growth: float = 1.0

    def __post_init__(self) -> None:
        whole("steps", self.steps, LEAST)
        for name in ("inputs", "examples", "tests"):
            whole(name, getattr(self, name))
        if not len(self.teacher) == len(self.student) == len(self.scales) - 1:
            raise ValueError(
                "teacher and student must have equally many hidden layers, and scales one more entry, "
                f"got {self.teacher}, {self.student} and {self.scales}."
            )

    def start(self, seed: int) -> list[Tensor]:
        """A matrix (out, in) for every layer, its last column the biases if there are any."""
        return self._weights(self.student, self.scales, generator(seed, "weights"))

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs and targets to train on, and to test on."""
        stream, n = generator(seed, "data"), self.examples
        x = normalize(torch.randn(n + self.tests, self.inputs, generator=stream, dtype=torch.float64))
        y = self.answers(self._teacher(stream, x[:n]), x)
        return x[:n], y[:n], x[n:], y[n:]

    def answers(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Of all replicas, (r, n)."""
        return (self._padded([x, *self._hidden(weights, x)][-1]) @ weights[-1].mT)[..., 0]

    def network(self, weights: Sequence[Tensor]) -> nn.Sequential:
        """One replica as a module: linear layers, and after each but the last the units of ``layer 1``, ..."""
        layers: dict[str, nn.Module] = {}
        for at, weight in enumerate(weights, 1):
            layers |= {f"linear {at}": self._linear(weight.detach()), f"layer {at}": nn.ReLU()}
        layers.popitem()
        return nn.Sequential(OrderedDict(layers))

    def used(self, network: nn.Module, x: Tensor) -> dict[str, float]:
        """The shares of each hidden layer's units that are active on an input, copies of others left out."""
        return units_in_use(network, [(x, x)], [f"layer {at}" for at in range(1, len(self.student) + 1)])

    def _linear(self, weight: Tensor) -> nn.Linear:
        fan_in = weight.shape[1] - self.biases
        linear = nn.Linear(fan_in, len(weight), bias=self.biases, dtype=weight.dtype)
        linear.weight.data = weight[:, :fan_in].clone()
        if self.biases:
            linear.bias.data = weight[:, fan_in].clone()
        return linear

    def _hidden(self, weights: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        found = [x]
        for weight in weights[:-1]:
            found.append((self._padded(found[-1]) @ weight.mT).relu())
        return found[1:]

    def _padded(self, h: Tensor) -> Tensor:
        """With an entry of 1 for the biases."""
        return pad(h, (0, 1), value=1.0) if self.biases else h

    def _teacher(self, stream: torch.Generator, x: Tensor) -> list[Tensor]:
        """One without idle units.

        Raises:
            ValueError: If none comes.
        """
        for _ in range(DRAWN):
            weights = self._weights(self.teacher, (1.0,) * (len(self.teacher) + 1), stream)
            weights = weights if self.biases else [*map(normalize, weights[:-1]), weights[-1].sign()]
            if not any((h == 0).all(0).any() for h in self._hidden(weights, x)):
                return weights
        raise ValueError(
            f"teacher must have units that are all active on some of {len(x)} examples, got {self.teacher} and "
            f"{DRAWN} draws without: give it fewer units or more examples."
        )

    def _weights(
        self, hidden: tuple[int, ...], scales: tuple[float, ...], stream: torch.Generator
    ) -> list[Tensor]:
        found, widths = [], (self.inputs, *hidden, 1)
        for (fan_in, fan_out), scale in zip(pairwise(widths), scales, strict=True):
            weight = scale * torch.randn(fan_out, fan_in, generator=stream, dtype=torch.float64)
            bias = (2 * torch.rand(fan_out, 1, generator=stream, dtype=torch.float64) - 1) / math.sqrt(fan_in)
            found.append(torch.cat([weight, bias], 1) if self.biases else weight)
        return found


TWO_LAYERS = Students(inputs=2, teacher=(3,), student=(20,), scales=(0.5, 0.0), examples=15, steps=14_000)
"""As in the released notebook, but for the step sizes."""

THREE_LAYERS = Students(
    inputs=5,
    teacher=(2, 2),
    student=(10, 10),
    scales=(0.8, 0.8, 0.8),
    biases=True,
    examples=50,
    steps=10_000,
    smallest=0.005,
    growth=6.0,
)
"""As in the released notebook, but for the step sizes, and for teachers with idle units."""

"""Two-layer students that learn from a two-layer teacher; many of them train as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowland.engine.method import Method
from lowland.engine.replicas import Replicas
from lowland.methods.sgd import SGD
from lowland.seeds import generator

__all__ = ["ACTIVATIONS", "Lesson", "Task", "TwoLayers", "squared", "train"]


class Abs(nn.Module):
    """The absolute value."""

    def forward(self, x: Tensor) -> Tensor:
        """Of each entry."""
        return x.abs()


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "abs": Abs, "tanh": nn.Tanh}


class TwoLayers(nn.Module):
    """Linear, activation, linear to a single output; all weights and biases normal, in float64."""

    def __init__(self, inputs: int, width: int, activation: str, scale: float, draw: torch.Generator) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, width, dtype=torch.float64)
        self.units = ACTIVATIONS[activation]()
        self.outer = nn.Linear(width, 1, dtype=torch.float64)
        for w in self.parameters():
            nn.init.normal_(w, std=scale, generator=draw)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(n,)`` of inputs ``(n, d)``."""
        return self.outer(self.units(self.inner(x)))[..., 0]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learnt, and how.

    Attributes:
        inputs: Their dimension; they are drawn from the unit sphere.
        examples: To learn from, one in every step, drawn from all.
        tests: Fresh examples.
        teacher: Its units, with weights of length 1, weights of the output 1 or -1, and normal biases.
        width: Units of the student.
        activation: Of both, one of :data:`ACTIVATIONS`.
        scale: Standard deviation of the student's weights and biases at the start.
        learning_rate: Of plain SGD, constant.
        steps: In all.
    """

    inputs: int = 3
    examples: int = 20
    tests: int = 1000
    teacher: int = 3
    width: int = 100
    activation: str = "relu"
    scale: float = 0.3
    learning_rate: float = 0.1
    steps: int = 19_953

    @property
    def guided(self) -> int:
        """The first steps, which a method takes: half of all. The others are plain."""
        return self.steps // 2 + 1

    def looks(self, number: int) -> list[int]:
        """The steps after which to look: evenly spread in their logarithm, and where plain ones begin."""
        even = (round(self.steps ** (at / number)) for at in range(1, number + 1))
        return sorted({*even, self.guided})


@dataclass(frozen=True)
class Lesson:
    """What a seed decides: examples, fresh examples, their order in training, and the student at the start."""

    x: Tensor
    y: Tensor
    fresh_x: Tensor
    fresh_y: Tensor
    order: Tensor
    student: TwoLayers

    @classmethod
    def of(cls, task: Task, seed: int, device: str = "cpu") -> "Lesson":
        """Draw it; the same whatever method trains."""
        draw = generator(seed, "teacher")
        x = normalize(torch.randn(task.examples + task.tests, task.inputs, generator=draw, dtype=torch.float64))
        y = _teacher(task, draw)(x).detach()
        order = torch.randint(task.examples, (task.steps,), generator=generator(seed, "order"))
        student = TwoLayers(task.inputs, task.width, task.activation, task.scale, generator(seed, "student"))
        x, y, n = x.to(device), y.to(device), task.examples
        return cls(x[:n], y[:n], x[n:], y[n:], order.to(device), student.to(device))


def _teacher(task: Task, draw: torch.Generator) -> TwoLayers:
    teacher = TwoLayers(task.inputs, task.teacher, task.activation, 1.0, draw)
    with torch.no_grad():
        teacher.inner.weight.copy_(normalize(teacher.inner.weight))
        teacher.outer.weight.sign_()
    return teacher


def squared(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error, without a half."""
    return (model(x) - y).square().mean()


def train(
    task: Task, lessons: Sequence[Lesson], methods: Sequence[Method], looks: Sequence[int]
) -> Iterator[tuple[int, Replicas, Tensor]]:
    """Train a student for every lesson and its method, all of them as one.

    Args:
        task: What is learnt.
        lessons: One per student.
        methods: One per student, of one kind.
        looks: Numbers of steps after which to look, ascending.

    Yields:
        The steps taken, the students, and for each the largest loss so far, of a step or of all examples at a
        look, of shape ``(students,)``.
    """
    students = Replicas([lesson.student for lesson in lessons], squared)
    optimizer = torch.optim.SGD(students.parameters(), lr=task.learning_rate)
    guided, plain = students.bind(methods), students.bind(SGD())
    x, y, order = (torch.stack(parts) for parts in zip(*((a.x, a.y, a.order) for a in lessons), strict=True))
    each = torch.arange(len(students), device=x.device)[:, None]
    worst = torch.zeros(len(students), dtype=x.dtype, device=x.device)
    for step in range(task.steps):
        now = each, order[:, step : step + 1]
        losses = (guided if step < task.guided else plain).backward_each(x[now], y[now])
        worst = torch.maximum(worst, losses)  # nan where one is
        optimizer.step()
        optimizer.zero_grad()
        if step + 1 in looks:
            worst = torch.maximum(worst, students.losses_each(x, y).detach())
            yield step + 1, students, worst

"""How far SAM's gradient of a student is from its closed form."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.experiments.teacher_student import Lesson, TwoLayers
from lowland.methods.sam import SAM
from lowland.theory.sam_two_layer import TwoLayer, reach, sam_two_layer

__all__ = ["closed_form_of", "errors", "errors_within_reach"]


def closed_form_of(student: TwoLayers) -> TwoLayer:
    """The weights of a student, as the closed form takes them."""
    return _by_layer([w.detach() for w in student.parameters()])


def errors(student: TwoLayers, x: Tensor, y: float, rho: float) -> dict[str, float]:
    """Distances of SAM's gradient, as the method takes it, from two that know one point of the loss only.

    Of half the squared error on one example. Leaves the student's gradients as they were.

    Args:
        student: With ReLU units.
        x: The example, of shape ``(d,)``.
        y: Its target.
        rho: Radius, within the closed form's reach.

    Returns:
        ``error`` of the closed form, and ``of_plain``, of the plain gradient.
    """
    net, true = closed_form_of(student), _by_autograd(student, x, y, rho)
    pairs = {"error": sam_two_layer(net, x, y, rho), "of_plain": sam_two_layer(net, x, y, 0.0)}
    return {name: _distance(true, other) for name, other in pairs.items()}


def errors_within_reach(lesson: Lesson, rhos: Sequence[float]) -> dict[float, dict[str, float]]:
    """The same of a lesson's student at the start, for every radius at which no unit switches off.

    On the example where it takes the largest radius to switch one off.
    """
    net = closed_form_of(lesson.student)
    pairs = [(x, y.item()) for x, y in zip(lesson.x, lesson.y, strict=True)]
    x, y = max(pairs, key=lambda pair: reach(net, *pair))
    return {rho: errors(lesson.student, x, y, rho) for rho in rhos if rho < reach(net, x, y)}


def _by_autograd(student: TwoLayers, x: Tensor, y: float, rho: float) -> TwoLayer:
    weights = list(student.parameters())
    before = [w.grad for w in weights]
    student.zero_grad()
    SAM(rho=rho).bind(student).backward(lambda: (student(x) - y).square() / 2)
    found = _by_layer([torch.zeros_like(w) if w.grad is None else w.grad for w in weights])
    for w, grad in zip(weights, before, strict=True):
        w.grad = grad
    return found


def _by_layer(parts: list[Tensor]) -> TwoLayer:
    w, b, a, c = parts
    return TwoLayer(w, b, a[0], c[0])


def _distance(one: TwoLayer, other: TwoLayer) -> float:
    pairs = ((one.w, other.w), (one.b, other.b), (one.a, other.a), (one.c, other.c))
    return torch.cat([(ours - theirs).reshape(-1) for ours, theirs in pairs]).norm().item()

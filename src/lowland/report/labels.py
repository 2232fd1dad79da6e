"""Where names go beside their points, so that none covers another."""

from collections.abc import Iterator, Sequence
from math import cos, radians, sin

__all__ = ["Box", "overlap", "place"]

Box = tuple[float, float, float, float]
"""Left, bottom, width, height."""

ANGLES = (0, 180, 30, 150, -30, -150, 60, 120, -60, -120, 90, -90)
DISTANCES = (1.0, 2.0, 3.5, 5.0, 7.0, 9.0)


def place(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], frame: Box, taken: Sequence[Box]
) -> list[Box]:
    """A box for the name of every point: near it, inside the frame, and covering as little as can be.

    Greedy and without chance: points are served from the bottom up, and each takes the place that covers least
    of what is there; among equals the nearest, and there first the right, then the left.

    Args:
        points: Where they are.
        sizes: Width and height of each name, in the same unit.
        frame: What the boxes must lie in.
        taken: What they should not cover, such as the marks of all points.

    Returns:
        The boxes, in the order of the points.

    Example:
        >>> place([(0, 0), (0, 1)], [(4, 2), (4, 2)], (-20, -20, 40, 40), [])[0]
        (1.0, -1.0, 4, 2)
    """
    there, boxes = list(taken), {}
    for at in sorted(range(len(points)), key=lambda at: (points[at][1], points[at][0])):
        boxes[at] = min(_places(points[at], sizes[at]), key=lambda box: _covered(box, frame, there))
        there.append(boxes[at])
    return [boxes[at] for at in range(len(points))]


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    up = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(up, 0.0)


def _places(point: tuple[float, float], size: tuple[float, float]) -> Iterator[Box]:
    """Boxes around a point, the nearest first; distances are in halves of the name's height."""
    (x, y), (width, height) = point, size
    for distance in DISTANCES:
        for angle in ANGLES:
            towards, up = cos(radians(angle)), sin(radians(angle))
            centre_x = x + towards * (distance * height / 2) + (width / 2 if towards > 0 else -width / 2)
            if abs(towards) < 0.1:
                centre_x = x
            yield centre_x - width / 2, y + up * (distance + 0.4) * height / 2 - height / 2, width, height


def _covered(box: Box, frame: Box, taken: Sequence[Box]) -> float:
    """How much a box covers; what is outside the frame counts ten times."""
    outside = box[2] * box[3] - overlap(box, frame)
    return round(sum(overlap(box, other) for other in taken) + 10 * outside, 6)

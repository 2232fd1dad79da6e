import math

import torch

from lowland.observe.average import Average


def average(values, sizes):
    found = Average()
    for part in values.split(sizes):
        found.add(part)
    return found


def test_is_the_mean_and_the_standard_error_of_all_values():
    values = torch.randn(10, dtype=torch.float64) + 1e6
    found = average(values, [1, 2, 7])
    assert math.isclose(found.mean, values.mean().item(), rel_tol=1e-12)
    assert math.isclose(found.stderr, values.std(correction=0).item() / math.sqrt(10), rel_tol=1e-9)


def test_of_zeros_and_ones_the_error_is_binomial():
    found = average(torch.tensor([1, 1, 1, 0]), 3)
    assert math.isclose(found.stderr, math.sqrt(0.75 * 0.25 / 4), rel_tol=1e-12)


def test_a_constant_has_no_error():
    assert average(torch.full((7,), 0.1), 2).stderr < 1e-16

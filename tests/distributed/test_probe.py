"""Of several processes with a probe one writes, and training does not notice."""

import json

from distributed.problem import LOSS, batches, half, momentum, replicated, same, weights
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.measuring.probe import probe


def trained(rank, file):
    """The weights after four steps, and what was measured of all examples."""
    model, found = replicated(find_unused_parameters=True), []
    optimizer = momentum(model)
    watch = file and probe(model.module, LOSS, list(batches(2)), [Accuracy(), TopEigenvalues()], 2, file=file)
    for x, y in half(rank, 4):
        LOSS(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        found += [r.value for r in (watch and watch.step()) or []]
    return weights(model), found


def test_all_measure_one_writes_and_training_does_not_notice(group, tmp_path):
    (first, found), (second, again) = group(trained, str(tmp_path / "a"))
    same(first, second)
    same(first, group(trained, None)[0][0])
    lines = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 2, 4, 4]
    assert [line["value"] for line in lines] == found == again

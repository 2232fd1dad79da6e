import json

import torch
from torch import nn

from lowland.data.dataset import Dataset, Split
from lowland.experiments.model_run import model_run
from lowland.experiments.training import Training
from lowland.runs.context import Context


def data():
    rng = torch.Generator().manual_seed(0)
    split = Split(torch.randn(30, 1, 2, 2, generator=rng), torch.arange(30) % 3)
    return Dataset(name="toy", train=split, test=split, classes=("a", "b", "c"), source="drawn")


def done(tmp_path, learning_rate=0.1):
    torch.manual_seed(0)
    model, settings = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), Training(batch=10, epochs=3)
    recipe = settings.recipe("sgd")
    recipe = type(recipe)(**{**vars(recipe), "learning_rate": learning_rate})
    seen = []

    def look(model, final):
        seen.append(final)
        return {"size": next(model.parameters()).norm().item()}

    context = Context("cpu", tmp_path, lambda share: None)
    return model_run(model, data(), settings, recipe, {"seed": 1, "arm": "a"}, context, look), seen


def test_a_row_for_every_epoch_with_cell_and_looks(tmp_path):
    rows, seen = done(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["final"] for row in rows] == seen == [False, False, True]
    assert all(row["arm"] == "a" and row["size"] > 0 for row in rows)


def test_the_same_seed_gives_the_same_rows(tmp_path):
    first, again = (done(tmp_path / name)[0] for name in ("first", "again"))
    assert json.dumps(first) == json.dumps(again)


def test_a_run_that_diverges_says_so_and_is_not_looked_at(tmp_path):
    rows, seen = done(tmp_path, learning_rate=1e38)
    assert rows[-1]["diverged"]
    assert rows[-1]["final"]
    assert len(seen) == len(rows) - 1

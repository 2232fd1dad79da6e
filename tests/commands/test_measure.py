"""``lowland measure`` and ``lowland compare-checkpoints``."""

import json
from pathlib import Path

import pytest
import torch

from lowland.catalog import build
from lowland.cli import main

NET = ["--model", "mlp:widths=(8,)", "--data", "digits"]
HOW = [*NET, "--examples", "60", "--batch", "30"]


@pytest.fixture
def files(tmp_path):
    paths = []
    for name in ("first", "second"):
        torch.manual_seed(len(paths))
        torch.save(
            build("models", "mlp:widths=(8,)", shape=(1, 8, 8), classes=10).state_dict(), tmp_path / f"{name}.pt"
        )
        paths.append(str(tmp_path / f"{name}.pt"))
    return paths


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_a_network_is_measured_and_the_page_says_so(files, tmp_path, capsys):
    assert not run("measure", files[0], *HOW, "--what", "scores,rank", "--out", tmp_path / "page")
    names = {json.loads(line)["name"] for line in (tmp_path / "page" / "readings.jsonl").read_text().splitlines()}
    assert {"accuracy", "feature_rank", "weight_rank"} <= names
    assert "What is first like?" in (tmp_path / "page" / "index.html").read_text()


def test_a_checkpoint_called_model_does_not_hide_which_network_it_holds(files, tmp_path):
    file = Path(files[0]).rename(tmp_path / "model.pt")
    assert not run("measure", file, *HOW, "--what", "accuracy", "--out", tmp_path / "page")
    text = (tmp_path / "page" / "index.html").read_text()
    assert text.count("mlp:widths=(8,)") >= 2
    assert str(file) in text


def test_the_numbers_of_the_whole_model_are_said(files, tmp_path, capsys):
    assert not run("measure", files[0], *HOW, "--what", "accuracy", "--out", tmp_path / "page")
    assert "accuracy" in capsys.readouterr().out


def test_two_networks_stand_side_by_side(files, tmp_path):
    what = ["--what", "accuracy", "sharpness:rho=(0.1,0.2),steps=2,restarts=0", "hessian_density:probes=2,steps=4"]
    assert not run("compare-checkpoints", *files, *HOW, *what, "--out", tmp_path / "page")
    text = (tmp_path / "page" / "index.html").read_text()
    assert "What tells first and second apart?" in text
    assert "Spectrum of the Hessian" in text
    (csv,) = (tmp_path / "page" / "tables").glob("the*whole.csv")
    assert csv.read_text().startswith("quantity,unit,first")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--what", "rnak"], "no measurement called 'rnak'. Did you mean rank"),
        (["--loss", "entropy"], "must be a function of torch.nn.functional"),
        (["--split", "all"], "split must be"),
        (["--examples", "0"], "examples must be"),
    ],
)
def test_what_was_asked_wrongly_is_said(files, words, said, capsys):
    assert run("measure", files[0], *NET, *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_weights_of_another_network_are_refused(files, capsys):
    assert run("measure", files[0], "--model", "mlp:widths=(9,)", "--data", "digits") == 2
    assert "must be of this model, got one of another" in " ".join(capsys.readouterr().err.split())


def test_what_compares_splits_is_measured_on_both(files, tmp_path, capsys):
    what = [*HOW, "--what", "train_test_gap", "--split", "both", "--out", tmp_path / "page"]
    assert not run("measure", files[0], *what)
    assert "accuracy_gap" in capsys.readouterr().out


def test_a_checkpoint_is_not_compared_with_itself(files, capsys):
    assert run("compare-checkpoints", files[0], files[0], *HOW) == 2
    assert "The checkpoints must be two, got" in capsys.readouterr().err


@pytest.mark.parametrize("saved", [b"hello", b"", b"PK\x03\x04"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, capsys, saved):
    (tmp_path / "bad.pt").write_bytes(saved)
    assert run("measure", tmp_path / "bad.pt", *HOW) == 2
    assert "must be a state dict saved with torch.save" in capsys.readouterr().err


@pytest.mark.parametrize("loss", ["relu", "cross", "embedding"])
def test_a_loss_that_is_none_is_refused(files, capsys, loss):
    assert run("measure", files[0], *HOW, "--loss", loss) == 2
    assert "takes outputs and class numbers, such as cross_entropy" in capsys.readouterr().err

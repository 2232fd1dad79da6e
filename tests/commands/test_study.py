import json
import os
import resource
import signal
import subprocess
import sys

import pytest

QUICK = ("--seeds", "2", "--links", "4")


def only(path):
    (found,) = path.glob("runs/chain/*")
    return found


def test_a_study_ends_in_a_page_and_all_its_files(lowland, chain, tmp_path):
    code, out, _ = lowland("study", chain, *QUICK)
    folder = only(tmp_path)
    assert code == 0
    assert f"Page: {folder.relative_to(tmp_path)}/index.html" in out
    names = {"config.json", "environment.json", "rows.jsonl", "timings.jsonl", "claims.json", "index.html"}
    assert names <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "claims.json").read_text()) == []


def test_settings_come_from_flags_then_file_then_defaults(lowland, chain, tmp_path):
    (tmp_path / "mine.yaml").write_text("seeds: 3\nlinks: 8\nsalt:\n  grains: 5\n")
    lowland("study", chain, "--config", "mine.yaml", "--links", "4")
    found = json.loads((only(tmp_path) / "config.json").read_text())["settings"]
    assert (found["seeds"], found["links"], found["salt"]["grains"], found["data"]) == (3, 4, 5, "digits")


def test_paper_changes_the_defaults_of_what_is_not_given(lowland, chain, tmp_path):
    lowland("study", chain, "--paper", *QUICK, "--salt.coarse")
    found = json.loads((only(tmp_path) / "config.json").read_text())["settings"]
    assert found["salt"] == {"grains": 3, "coarse": True}
    assert found["seeds"] == 2


def test_the_page_says_what_to_type_to_get_it_again(lowland, chain, tmp_path):
    lowland("study", chain, "--paper", *QUICK, "--kinds", "plain", "a b", "--out", "runs")
    page = (only(tmp_path) / "index.html").read_text()
    assert f"lowland study {chain} --paper --seeds 2 --links 4 --kinds plain &#39;a b&#39;" in page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seeds", "0"], "seeds must be at least 1, got 0."),
        (["--seeds", "many"], "Invalid value for --seeds: must be a whole number, got many."),
        (["--seed", "3"], "Unknown option: --seed. Did you mean --seeds?"),
        (["--workers", "0"], "workers must be at least 1, got 0."),
        (["--data", "nowhere"], "data must be on this machine, got 'nowhere'."),
        (["--config", "none.yaml"], "--config must name a YAML file, got none.yaml: no such file."),
        (["--out", "/proc/none"], "out must be a folder that can be written, got /proc/none/chain/"),
    ],
)
def test_what_is_asked_wrongly_gets_a_sentence_and_changes_nothing(lowland, chain, tmp_path, words, sentence):
    code, out, err = lowland("study", chain, *words)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_name_in_a_file_of_settings_is_refused(lowland, chain, tmp_path):
    (tmp_path / "mine.yaml").write_text("sed: 3\n")
    code, _, err = lowland("study", chain, "--config", "mine.yaml")
    assert code == 2
    assert "sed" in err
    assert "mine.yaml" in err


def test_failed_runs_are_told_and_tried_again(lowland, chain, monkeypatch):
    monkeypatch.setenv("TOY_TROUBLE", "raises")
    code, out, _ = lowland("study", chain, *QUICK)
    assert code == 1
    assert "2 of 4 runs failed." in out
    assert "2 x ValueError: the sum does not add up" in out
    monkeypatch.delenv("TOY_TROUBLE")
    code, out, _ = lowland("study", chain, *QUICK)
    assert code == 0
    assert "2 of 4 runs were there already." in out


def test_finished_runs_of_another_environment_are_noted(lowland, chain, tmp_path):
    lowland("study", chain, *QUICK)
    file = only(tmp_path) / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "python": "3.9.0"}))
    _, _, err = lowland("study", chain, *QUICK)
    assert "finished runs are taken as they are, although python was 3.9.0" in err
    assert "--fresh does them anew" in err
    assert "python was 3.9.0" in file.read_text()


def test_fresh_does_finished_runs_anew(lowland, chain, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_MARKS", str(tmp_path))
    lowland("study", chain, *QUICK)
    code, out, err = lowland("study", chain, *QUICK, "--fresh")
    assert (code, err) == (0, "")
    assert "were there already" not in out
    assert (tmp_path / "plain0").read_text() == "xx"


def test_a_folder_with_other_settings_is_refused(lowland, chain, tmp_path):
    lowland("study", chain, *QUICK)
    file = only(tmp_path) / "config.json"
    file.write_text(file.read_text().replace('"links": 4', '"links": 5'))
    code, _, err = lowland("study", chain, *QUICK)
    assert code == 2
    assert "settings.links is 5 there, 4 here" in err


def test_a_full_disk_gets_a_sentence(chain, tmp_path):
    def tiny_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))

    command = [sys.executable, "-m", "lowland", "study", chain, *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, preexec_fn=tiny_disk)
    assert done.returncode == 1
    assert "could not be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(only(tmp_path).rglob("*.half"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_stopped_it_says_how_to_go_on(chain, tmp_path, number):
    command = [sys.executable, "-m", "lowland", "study", chain, "--seeds", "2", "--workers", "2"]
    environment = {**os.environ, "TOY_TROUBLE": "hangs"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    while not process.stdout.readline().startswith("1/4"):
        assert process.poll() is None
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 4 runs are kept in" in out
    assert f"  lowland study {chain} --seeds 2\n" in out

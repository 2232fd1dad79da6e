import json
import re

from lowland.runs.environment import changes, environment


def test_it_is_plain_values():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert {"python", "packages", "commit", "platform", "processor", "cores"} <= found.keys()
    assert "torch" in found["packages"]


def test_the_commit_is_one_of_git_or_none():
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|None", str(environment()["commit"]))


def test_another_version_is_a_change():
    now = environment()
    before = {**now, "started": "long ago", "packages": {**now["packages"], "torch": "2.11.0"}}
    assert changes(now, now) == []
    assert changes(before, now) == [f"torch was 2.11.0, is {now['packages']['torch']}"]


def test_a_damaged_file_is_a_change():
    assert changes(None, environment()) == ["environment.json is not readable"]

"""docs/choose.md states what the methods' own facts say."""

import re
from pathlib import Path

from lowland.catalog import load, names

TEXT = (Path(__file__).parent.parent / "docs" / "choose.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", TEXT, re.MULTILINE)


def test_every_method_has_its_row_of_costs():
    assert sorted(row[0] for row in ROWS) == names("methods")


def test_the_costs_are_those_that_tests_count():
    for name, *told in ROWS:
        method = load("methods", name)()
        assert [float(number) for number in told] == [
            method.passes,
            method.forwards,
            method.COPIES,
            method.KEEPS,
        ], name

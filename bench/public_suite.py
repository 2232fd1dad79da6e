"""Another library's tests of SAM, run on ours: pytorch_optimizer's, with its SAM replaced by lowland.compat.SAM.

    python bench/public_suite.py                                    # pip downloads the source of the release
    python bench/public_suite.py --sdist ./pytorch_optimizer-4.1.0  # or it lies here, unpacked

Prints how each of its tests called SAM ends: passed, failed, or not applicable and why. Exits with 0 only if all
that apply pass. What its tests want beside the algorithm is in :func:`adapted`. Needs pip, torch and pytest.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
import torch

from lowland import compat

RELEASE = "pytorch_optimizer==4.1.0"
SUITE = "tests/test_wrapper_optimizers.py"

NOT_APPLICABLE = {  # part of a test's name: why it is not run
    "WSAM": "another method: use lowland.WSAM",
    "LookSAM": "another method: use lowland.LookSAM",
    "FriendlySAM": "another method: use lowland.FSAM",
    "BSAM": "another method: use lowland.BSAM",
}


class Outcomes:
    """A plugin of pytest: leaves out what does not apply, and notes how each test ends."""

    def __init__(self):
        self.rows = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        self.rows = {name(item.nodeid): ("not applicable", why(item.nodeid)) for item in items}
        config.hook.pytest_deselected(items=[item for item in items if why(item.nodeid)])
        items[:] = [item for item in items if not why(item.nodeid)]

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            self.rows[name(report.nodeid)] = (report.outcome, "")

    def count(self, outcome):
        return sum(found == outcome for found, _ in self.rows.values())


def name(nodeid):
    """A test without its file."""
    return nodeid.partition("::")[2]


def why(nodeid):
    """Why a test does not apply, or nothing."""
    return next((reason for part, reason in NOT_APPLICABLE.items() if part in nodeid), "")


def adapted():
    """Our SAM with what their tests want of an optimiser beside the algorithm.

    Their error for a missing closure, a hook of their base class, and their option to centralise the gradients
    before the first step.
    """
    from pytorch_optimizer.base.exception import NoClosureError
    from pytorch_optimizer.optimizer.gradient_centralization import centralize_gradient

    class SAM(compat.SAM):
        def __init__(self, *args, use_gc=False, **kwargs):
            super().__init__(*args, **kwargs)
            self.use_gc = use_gc

        def init_group(self, group, **kwargs):
            pass

        def first_step(self, zero_grad=False):
            if self.use_gc:
                members = [p for group in self.param_groups for p in group["params"]]
                centralize_gradient([p.grad for p in members if p.grad is not None])
            super().first_step(zero_grad)

        def step(self, closure=None):
            if closure is None:
                raise NoClosureError("SAM")
            return super().step(closure)

    return SAM


def unpacked(folder):
    """Download the release's source into a folder, and unpack it there."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pytorch_optimizer"]
    subprocess.run([*command, "--dest", folder, RELEASE], check=True)
    (archive,) = Path(folder).glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def run(source):
    """Run the suite that lies in a folder."""
    sys.path.insert(0, str(source))  # before an installed one
    import pytorch_optimizer

    pytorch_optimizer.SAM = adapted()
    outcomes = Outcomes()
    flags = ["-q", "--no-header", "--disable-warnings", "-pno:cacheprovider", "-oaddopts=", "-kSAM"]
    code = pytest.main([*flags, "--rootdir", str(source), str(source / SUITE)], plugins=[outcomes])
    return outcomes, code


def main():
    """Run the suite and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdist", type=Path, help="an unpacked source distribution; downloads nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        outcomes, code = run(options.sdist.resolve() if options.sdist else unpacked(folder))
    for test, (outcome, reason) in outcomes.rows.items():
        print(f"{outcome:15} {test:85} {reason}".rstrip())
    every, passed, absent = len(outcomes.rows), outcomes.count("passed"), outcomes.count("not applicable")
    print(f"{passed} of {every - absent} applicable tests passed; {absent} of {every} do not apply.")
    sys.exit(code)


if __name__ == "__main__":
    main()

"""Runs a toy study in a process of its own: ``drive.py STUDY OUT SETTINGS``.

The environment variable ``TOY_DISK`` is the size in bytes of the largest file that it may write.
"""

import json
import os
import resource
import sys
from pathlib import Path

from lowland.runs.grid import run_grid
from lowland.runs.opening import open_folder, place
from lowland.runs.study import Study


class Lines:
    """Prints an event a line."""

    def begin(self, cells, reused):
        print("begin", cells, reused, flush=True)

    def see(self, event, cell):
        print(event.kind, event.key, flush=True)


def main(reference, out, settings):
    study = Study(reference)
    config = study.module.Config(**json.loads(settings))
    cells = study.cells(config)
    path = place(Path(out), study.name, config, cells)
    with open_folder(path, study.name, config, cells) as folder:
        outcome = run_grid(study, config, folder, workers=2, watcher=Lines())
    print("end", outcome.cells, outcome.reused, len(outcome.failures), flush=True)


if __name__ == "__main__":
    if "TOY_DISK" in os.environ:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["TOY_DISK"]), resource.RLIM_INFINITY))
    main(*sys.argv[1:])

"""Processes that train together: started once, then given one job after another."""

import io
import os
import tempfile
import traceback
import warnings
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.distributed as dist

SIZE = 2
PATIENCE = 120  # seconds for a job; only a deadlock takes as long


class Group:
    """``group(job, *args)`` runs ``job(rank, *args)`` in every process, and returns what they returned, in order.

    Jobs are functions of a module, and print nothing. After one that failed the processes are started anew.
    """

    def __init__(self):
        self._workers, self._folder = [], None

    def __call__(self, job, *args):
        if not self._workers:
            self._start()
        try:
            for _, pipe in self._workers:
                pipe.send((job, args))
            answers = [self._answer(pipe) for _, pipe in self._workers]
        except BaseException:
            self.stop()
            raise
        errors = [f"process {rank}:\n{error}" for rank, (error, _) in enumerate(answers) if error]
        if errors:
            self.stop()
            raise AssertionError("\n".join(errors))
        return [torch.load(io.BytesIO(answer), weights_only=False) for _, answer in answers]

    def stop(self):
        """End the processes."""
        for process, pipe in self._workers:
            pipe.close()
            process.kill()
            process.join()
        self._workers = []
        if self._folder is not None:
            self._folder.cleanup()

    def _start(self):
        self._folder = tempfile.TemporaryDirectory()
        store = Path(self._folder.name) / "store"
        spawn = get_context("spawn")
        for rank in range(SIZE):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_work, args=(rank, str(store), theirs), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    @staticmethod
    def _answer(pipe):
        if not pipe.poll(PATIENCE):
            return f"no answer within {PATIENCE} s", b""
        return pipe.recv()


def _work(rank, store, pipe):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=SIZE, timeout=timedelta(seconds=PATIENCE / 2)
    )
    while True:
        try:
            job, args = pipe.recv()
        except EOFError:
            return
        torch.manual_seed(0)
        answer, error = io.BytesIO(), ""
        try:
            torch.save(job(rank, *args), answer)
        except BaseException:
            error = traceback.format_exc()
        pipe.send((error, answer.getvalue()))

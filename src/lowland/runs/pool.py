"""A few processes that do runs, told apart so that one may die without the others."""

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from multiprocessing.connection import wait

from lowland.runs.cell import Cell
from lowland.runs.process import Event, Process
from lowland.runs.worker import Job

__all__ = ["Pool"]

GRACE = 10.0
"""Seconds that an interrupted run has to save its checkpoint."""


class Pool:
    """Processes that stay up from run to run, because loading torch takes seconds.

    Args:
        job: What the runs have in common.
        devices: One torch device name per process.
    """

    def __init__(self, job: Job, devices: Sequence[str]) -> None:
        self.job = job
        self.devices = devices
        self.processes: dict[int, Process] = {}

    def events(self, cells: Mapping[str, Cell]) -> Generator[Event]:
        """Do every run, and tell what happens as it happens; closing the iterator stops the runs.

        A run that raises, or whose process dies, is a ``failed`` event, and the others go on.

        Args:
            cells: The runs by their key, in the order to begin them.
        """
        waiting = deque(cells.items())
        try:
            while waiting or self._busy():
                yield from self._hand_out(waiting)
                yield from self._listen()
        finally:
            self._stop()

    def _busy(self) -> list[Process]:
        return [process for process in self.processes.values() if process.key]

    def _hand_out(self, waiting: deque[tuple[str, Cell]]) -> Iterator[Event]:
        for slot in range(len(self.devices)):
            if waiting and self._is_free(slot):
                key, cell = waiting.popleft()
                self._at(slot).give(key, cell)
                yield Event("started", key)

    def _is_free(self, slot: int) -> bool:
        return slot not in self.processes or not self.processes[slot].key

    def _at(self, slot: int) -> Process:
        """The process of a slot, a new one if there is none alive."""
        if slot not in self.processes or not self.processes[slot].alive():
            self.processes[slot] = Process(self.job, self.devices[slot])
        return self.processes[slot]

    def _listen(self) -> Iterator[Event]:
        busy = self._busy()
        ready = wait([process.connection for process in busy], timeout=1.0)
        for process in busy:
            # A dead process whose own children still hold the pipe never closes it: ask the system too.
            if process.connection in ready or not process.alive():
                yield process.event()

    def _stop(self) -> None:
        """End every process: idle ones by word, busy ones by a signal that lets them save, then by force."""
        processes = list(self.processes.values())
        try:
            for process in processes:
                process.ask_to_stop()
            deadline = time.monotonic() + GRACE
            for process in processes:
                process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for process in processes:
                process.kill()

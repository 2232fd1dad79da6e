"""What a grid of seeds and radii costs as one batched network, beside a run for each spread over processes.

    make replicas         # or: python bench/replicas.py --seeds 10 --steps 1000 --processes 2

The two-layer students of the study ``sam_switches_units_off`` (100 units, one example a step, SAM in the first
half of the steps), every radius with every seed. Both ways train the same students from the same start on the same
examples, and end in the same weights, which is checked. The processes are started before the clock is, one thread
each; a real run would also wait for them to import. The ways take turns; a figure is the minimum over the rounds.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

import torch

from lowland.experiments.teacher_student import Lesson, squared, train
from lowland.methods.sam import SAM
from lowland.methods.sgd import SGD
from lowland.report.table import Table
from lowland.studies.sam_switches_units_off import ARMS, Config, task_of

ARM = ARMS["relu"]


def together(task, grid):
    """All weights after training as one, replicas first, and the seconds of processor time."""
    start = time.process_time()
    lessons = [Lesson.of(task, seed) for _, seed in grid]
    methods = [SAM(rho=rho) for rho, _ in grid]
    ((_, students, _),) = train(task, lessons, methods, [task.steps])
    return [w.detach() for w in students.parameters()], time.process_time() - start


def alone(task, rho, seed):
    """One student's weights after training by the ordinary engine, and the seconds of processor time."""
    start = time.process_time()
    lesson = Lesson.of(task, seed)
    student = lesson.student
    optimizer = torch.optim.SGD(student.parameters(), lr=task.learning_rate)
    guided, plain = SAM(rho=rho).bind(student), SGD().bind(student)
    for step, at in enumerate(lesson.order.split(1)):
        x, y = lesson.x[at], lesson.y[at]
        (guided if step < task.guided else plain).backward(lambda x=x, y=y: squared(student, x, y))
        optimizer.step()
        optimizer.zero_grad()
    return [w.detach().tolist() for w in student.parameters()], time.process_time() - start


def apart(task, grid, pool):
    """The same by a run for each, over processes."""
    found = list(pool.map(alone, [task] * len(grid), *zip(*grid, strict=True)))
    weights = [torch.tensor(parts, dtype=torch.float64) for parts in zip(*(w for w, _ in found), strict=True)]
    return weights, sum(seconds for _, seconds in found)


def compared(task, grid, pool, rounds):
    """Least wall and processor seconds of both ways, and the largest difference of weights."""
    least = {}
    for _ in range(rounds):
        ends = {}
        for name, way in (("one", lambda: together(task, grid)), ("many", lambda: apart(task, grid, pool))):
            start = time.perf_counter()
            ends[name], seconds = way()
            taken = (time.perf_counter() - start, seconds)
            least[name] = tuple(map(min, taken, least.get(name, taken)))
    gap = max((a - b).abs().max().item() for a, b in zip(ends["one"], ends["many"], strict=True))
    return least, gap


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = task_of(Config(steps=options.steps, looks=1), ARM)
    grid = list(product(ARM.rhos, range(options.seeds)))
    with ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        list(pool.map(alone, *zip(*[(task, 0.1, 0)] * options.processes, strict=True)))  # import, warm up
        least, gap = compared(task, grid, pool, options.rounds)
    names = {"one": "all as one, one process", "many": f"a run for each, {options.processes} processes"}
    rows = tuple(
        (
            names[key],
            *(f"{s:.2f}" for s in seconds),
            *(f"{s / one:.1f}" for s, one in zip(seconds, least["one"], strict=True)),
        )
        for key, seconds in least.items()
    )
    table = Table(
        title=f"{len(grid)} two-layer students, {options.steps} steps (weights differ by at most {gap:.0e})",
        columns=("way", "s of wall clock", "s of processors", "/ as one, wall", "/ as one, processors"),
        rows=rows,
    )
    print(f"{table.title}\n\n{table.markdown()}", flush=True)


if __name__ == "__main__":
    main()

"""A program that trains in child processes which die, again and again, and then to the end.

Arguments: the folder for checkpoints; how many die. Every second one dies in the middle of a checkpoint, the
others at any moment. Prints how many died, and a digest of the final weights and rows.
"""

import hashlib
import json
import os
import signal
import sys

import torch

from lowland.train.keep import Keep
from train.problem import RECIPES, trained

RECIPE = RECIPES["sam, warm-up, decay"]


def digest(net, history):
    state = b"".join(value.numpy().tobytes() for value in net.state_dict().values())
    return hashlib.sha256(state + json.dumps(history.rows).encode()).hexdigest()


def die_at_call(number):
    """Kill -9 this process right before a checkpoint's file is opened or renamed for the ``number``-th time."""
    left = number

    def watch(event, arguments):
        nonlocal left
        if event != "os.rename" and not (event == "open" and ".part" in str(arguments[0])):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def die_after(seconds):
    """End this process like kill -9 after so much time, wherever it is: the alarm is not handled by Python."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def in_a_child(train, die, *arguments):
    """Run ``train`` in a process that dies; says whether it did."""
    child = os.fork()
    if child == 0:
        die(*arguments)
        train()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) < 0


def main(folder, times):
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)])  # loads what the first optimiser loads, so that the children need not
    keep = Keep(folder=folder, steps=1, seconds=0)
    ways = [(die_at_call, i + 1) if i % 2 else (die_after, 0.01 + 0.007 * i) for i in range(times)]
    died = sum(in_a_child(lambda: trained(RECIPE, keep=keep), *way) for way in ways)
    print(died, digest(*trained(RECIPE, keep=keep)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

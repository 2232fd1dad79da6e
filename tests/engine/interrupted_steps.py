"""Presses Ctrl-C at random moments of many steps; each must be whole or as if it had not begun."""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))
import lowland
from rigs import assert_same, batches, everything, net

TRIALS = 150


def main():
    torch.set_num_threads(1)
    model, (x, y), draw = net(), next(batches(1)), random.Random(0)
    engine = lowland.GSAM(rho=0.1).bind(model)
    go, pressed = threading.Event(), threading.Event()
    caught = 0
    for _ in range(TRIALS):
        before, steps, pause = everything(model), engine.count, draw.uniform(0, 0.004)
        go.clear()
        pressed.clear()
        threading.Thread(target=press_after, args=(pause, go, pressed)).start()
        try:
            try:
                go.set()
                engine.backward(lambda: nn.functional.cross_entropy(model(x), y))
            finally:
                while not pressed.is_set():
                    time.sleep(0.001)
                time.sleep(0.001)
        except KeyboardInterrupt:
            caught += 1
        if engine.count == steps:
            assert_same(everything(model), before)
        else:
            assert_same(everything(model)["state"]["mix.weight"], before["state"]["mix.weight"])
            assert model.head.weight.grad is not None
        model.zero_grad()
    print(f"{caught} of {TRIALS} interrupted")


def press_after(pause, go, pressed):
    go.wait()
    time.sleep(pause)
    os.kill(os.getpid(), signal.SIGINT)
    pressed.set()


if __name__ == "__main__":
    main()

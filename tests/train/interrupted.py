"""A program that trains for long, says so, and waits for Ctrl-C. Argument: the folder for checkpoints."""

import dataclasses
import sys

import torch

from train.problem import RECIPES, trained

LONG = dataclasses.replace(RECIPES["adamw, clipped"], epochs=10_000)


def main(folder):
    torch.set_num_threads(1)
    trained(LONG, keep=folder, hooks=[lambda net, moment: print("trained", flush=True)])


if __name__ == "__main__":
    main(sys.argv[1])

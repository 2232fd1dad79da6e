"""Hosts that fetch nothing, keep quiet, and start every test afresh."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import logging

import pytest


@pytest.fixture(autouse=True)
def _quiet_and_afresh():
    from accelerate.state import AcceleratorState, GradientState

    for host in ("lightning.pytorch", "pytorch_lightning", "transformers"):
        logging.getLogger(host).setLevel(logging.ERROR)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()

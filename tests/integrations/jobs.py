"""What every process of a group does under a host, and by hand."""

import contextlib
import io
import logging
import os
import warnings

from accelerate.state import AcceleratorState, GradientState
from torch.nn.parallel import DistributedDataParallel

from distributed.group import SIZE as RANKS
from integrations import test_accelerate, test_lightning, test_transformers
from integrations.by_hand import batches, by_hand, mean_over, net


@contextlib.contextmanager
def launched(rank):
    """As if by torchrun; hosts may print and warn."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS, "GROUP_RANK": 0}
    address = {"MASTER_ADDR": "localhost", "MASTER_PORT": 0, "TORCHELASTIC_RUN_ID": "tests"}
    os.environ.update({name: str(value) for name, value in (ranks | address).items()})
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def under_lightning(rank, method, setting, folder=None):
    how = {"data": test_lightning.Batches(rank, RANKS), "strategy": "ddp", "devices": RANKS, **setting}
    with launched(rank):
        if folder is None:
            return test_lightning.fit(method, **how)[0].net.state_dict()
        straight, _, _ = test_lightning.fit(method, **how, max_epochs=2)
        _, half, _ = test_lightning.fit(method, **how)
        half.save_checkpoint(folder / "half.ckpt")
        resumed, _, _ = test_lightning.fit(method, **how, max_epochs=2, resume=folder / "half.ckpt")
        return straight.net.state_dict(), resumed.net.state_dict()


def under_transformers(rank, method, setting, folder, resume=False):
    data = test_transformers.rows(RANKS)
    how = {"num_train_epochs": 2, "save_strategy": "epoch", "seeds": False} if resume else {}
    with launched(rank):
        straight = test_transformers.fit(folder, method, net(), data, **setting, **how).model.state_dict()
        if not resume:
            return straight
        again = {**how, "resume": str(folder / "checkpoint-7")}
        return straight, test_transformers.fit(folder, method, net(), data, **setting, **again).model.state_dict()


def under_accelerate(rank, method, setting, folder=None):
    with launched(rank):
        run = test_accelerate.Run(method, **setting, ranks=RANKS).train()
        if folder is None:
            return run.weights
        run.accelerator.save_state(folder)
        straight = run.train().weights
        resumed = test_accelerate.Run(method, **setting, ranks=RANKS)
        resumed.accelerator.load_state(folder)
        return straight, resumed.train().weights


def alone(rank, method, setting, by_group):
    model = DistributedDataParallel(net())
    loss_of = test_transformers.mean_of_batches if by_group else mean_over(setting.get("accumulate", 1))
    by_hand(method, model, loss_of, batches(rank, RANKS), **setting)
    return model.module.state_dict()

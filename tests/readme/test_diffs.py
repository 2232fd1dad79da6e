"""Each of the README's diffs trains as it says: before the change without SAM, after it with SAM."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from readme.diffs import (
    BLOCKS,
    LIGHTNING,
    PLAIN,
    PRECISION,
    PROCESSES,
    TRANSFORMERS,
    after,
    before,
    by_hand,
    near,
    plain,
    problem,
    run,
    sam,
)

HALVES = (slice(0, 8), slice(8, 16))


def test_there_are_five():
    assert len(BLOCKS) == 5


def test_a_plain_loop():
    near(run(before(PLAIN), problem()), by_hand(plain))
    near(run(after(PLAIN), problem()), by_hand(sam))


def test_mixed_precision_and_accumulation():
    for code, gradient in ((before(PRECISION), plain), (after(PRECISION), sam)):
        off = code.replace("torch.float16)", "torch.bfloat16, enabled=False)")
        assert off != code
        near(run(off, problem()), by_hand(gradient, every=2, clip=1.0))
        on = run(code.replace("torch.float16", "torch.bfloat16"), problem())
        torch.testing.assert_close(on, by_hand(gradient, every=2, clip=1.0), rtol=0.02, atol=0.01)


def in_several_processes(rank, sharded):
    found = problem(HALVES[rank])
    if sharded:
        from torch.distributed.fsdp import fully_shard

        wrap = fully_shard
    else:
        wrap = DistributedDataParallel
    code = after(PROCESSES).replace("DistributedDataParallel(model)", "wrap(model)")
    weights = run(code, {**found, "wrap": wrap})
    return [w.full_tensor() if hasattr(w, "full_tensor") else w for w in weights]


@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp2"])
def test_several_processes(group, sharded):
    first, second = group(in_several_processes, sharded)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    near(first, by_hand(sam, shares=(slice(None),) if sharded else HALVES))


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:Starting from v1.9.0:UserWarning")  # which logger it takes
@pytest.mark.filterwarnings("ignore:The number of training batches:UserWarning")
def test_lightning(tmp_path, monkeypatch):
    import lightning

    from lowland.integrations.lightning import MethodCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = problem()["model"]

        def training_step(self, batch, _):
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    monkeypatch.chdir(tmp_path)
    for code, gradient in ((before(LIGHTNING), plain), (after(LIGHTNING), sam)):
        module = Module()
        loader = torch.utils.data.DataLoader(problem()["loader"], batch_size=None)
        found = {"lightning": lightning, "MethodCallback": MethodCallback, "module": module, "model": module.net}
        found["loader"] = loader
        near(run(code, {**problem(), **found}), by_hand(gradient))


def test_hugging_face_trainer(tmp_path):
    from transformers import Trainer, TrainingArguments

    from lowland.integrations.transformers import MethodTrainer

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = problem()["model"]

        def forward(self, x, labels):
            return {"loss": torch.nn.functional.cross_entropy(self.net(x), labels)}

    data = [{"x": x, "labels": y} for xs, ys in problem()["loader"] for x, y in zip(xs, ys, strict=True)]
    args = TrainingArguments(
        tmp_path,
        num_train_epochs=1,
        per_device_train_batch_size=16,
        optim="sgd",
        optim_args="momentum=0.9",
        learning_rate=0.1,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        train_sampling_strategy="sequential",
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    for code, gradient in ((before(TRANSFORMERS), plain), (after(TRANSFORMERS), sam)):
        found = {"Trainer": Trainer, "MethodTrainer": MethodTrainer, "args": args, "data": data, "model": Net()}
        near(run(code, {**problem(), **found}), by_hand(gradient))

"""Checkpoints of several processes: all that any of them remembers, resumed bit for bit, or refused."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

import lowland
from distributed.problem import LOSS, METHODS, batches, half, momentum, net, replicated, same, weights
from distributed.test_fsdp import FITTING, sharded
from lowland.catalog import build
from lowland.engine.resume import resume


class Run:
    """A model with all that trains it."""

    def __init__(self, method, model):
        self.model, self.opt = model, momentum(model)
        self.engine = method.bind(model, optimizer=self.opt)

    def train(self, data):
        for x, y in data:
            self.engine.backward(lowland.objective(self.model, LOSS, x, y))
            self.opt.step()
            self.opt.zero_grad()
        return self


def interrupted(names, make, data, save, load):
    """Weights after training on ``data`` with every method: without a break, and made anew halfway."""
    straight = {name: Run(build("methods", name), make()).train(data) for name in names}
    save({name: Run(build("methods", name), make()).train(data[:2]) for name in names})
    again = {name: Run(build("methods", name), make()) for name in names}
    load(again)
    ends = {name: run.train(data[2:]) for name, run in again.items()}
    return [{name: weights(run.model) for name, run in runs.items()} for runs in (straight, ends)]


def used():
    """Without the parameter that is never used, whose missing optimiser state PyTorch cannot load."""
    model = sharded()
    model.unused.requires_grad_(False)
    return model


def in_shards(rank, folder):
    def states(runs):
        return {f"rest of {name}": list(get_state_dict(run.model, run.opt)) for name, run in runs.items()}

    def save(runs):
        dcp.save(states(runs) | {name: run.engine for name, run in runs.items()}, checkpoint_id=folder)

    def load(runs):
        dcp.load(found := states(runs), checkpoint_id=folder)
        for (model, optimizer), (name, run) in zip(found.values(), runs.items(), strict=True):
            set_state_dict(run.model, run.opt, model_state_dict=model, optim_state_dict=optimizer)
            resume(run.engine, folder, key=name)

    data = half(rank, 4)
    return interrupted([name for name in FITTING if remembers(name, data[:1])], used, data, save, load)


def remembers(name, data):
    return Run(build("methods", name), net()).train(data).engine.state_dict()["remembers"]


def test_shards_go_on_from_a_distributed_checkpoint_bit_for_bit(group, tmp_path):
    for straight, resumed in group(in_shards, str(tmp_path / "all")):
        assert len(straight) > 1
        same(straight, resumed)


def in_replicas(rank, file):
    def save(runs):
        states = {
            name: (run.model.state_dict(), run.opt.state_dict(), run.engine.state_dict(gathered=True))
            for name, run in runs.items()
        }
        if rank == 0:
            torch.save(states, file)
        dist.barrier()

    def load(runs):
        for name, states in torch.load(file, weights_only=True).items():
            run = runs[name]
            for thing, state in zip((run.model, run.opt, run.engine), states, strict=True):
                thing.load_state_dict(state)

    return interrupted(METHODS, replicated, half(rank, 4), save, load)


def test_replicas_go_on_from_what_all_of_them_remember_bit_for_bit(group, tmp_path):
    for straight, resumed in group(in_replicas, str(tmp_path / "all.pt")):
        same(straight, resumed)


def memory(engine):
    return {name: getattr(m, "full_tensor", m.clone)() for name, m in engine.state_dict()["memory"]["m"].items()}


def one_run():
    """In one process, with a method that remembers a vector."""
    return Run(lowland.FSAM(), net()).train(batches(2))


def of_shards(rank, folder):
    engine = Run(lowland.FSAM(), sharded()).train(half(rank, 2)).engine
    dcp.save({"method": engine}, checkpoint_id=folder)
    with pytest.raises(
        ValueError, match=r"must hold all 1 things that the method remembers, got 0: load a distri"
    ):
        dcp.load({"method": Run(lowland.FSAM(), sharded()).engine}, checkpoint_id=folder)
    with pytest.raises(ValueError, match="must hold the engine's state as 'other', got one with"):
        resume(engine, folder, key="other")
    return memory(engine)


def of_one_process(rank, state, folder):
    loaded, resumed = (Run(lowland.FSAM(), sharded()).engine for _ in range(2))
    loaded.load_state_dict(state)
    resume(resumed, folder)
    return memory(loaded), memory(resumed)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_shards_and_one_process_read_each_others_checkpoints(group, tmp_path):
    spread, alone = group(of_shards, str(tmp_path / "shards"))[0], one_run().engine
    dcp.save({"method": alone}, checkpoint_id=tmp_path / "alone")
    for read in group(of_one_process, alone.state_dict(), str(tmp_path / "alone")):
        same(read, (memory(alone), memory(alone)))
    resume(alone, tmp_path / "shards")
    same(memory(alone), spread)


def of_replicas(rank, folder):
    engine = Run(lowland.FSAM(), replicated()).train(half(rank, 2)).engine
    state = engine.state_dict(gathered=True)
    dcp.save({"method": state}, checkpoint_id=folder)
    again = Run(lowland.FSAM(), replicated()).engine
    resume(again, folder)
    same(memory(again), memory(engine))
    again.load_state_dict(engine.state_dict())
    with pytest.raises(ValueError, match=rf"of process {rank} of 2 .*, got one of process {1 - rank} of 2: save"):
        again.load_state_dict(state["processes"][str(1 - rank)])
    with pytest.raises(
        ValueError, match=rf"of process {rank} of 2 .*, got one of process 0 of 1: save engine.sta"
    ):
        again.load_state_dict(one_run().engine.state_dict())
    together = lowland.FSAM().bind(replicated(), ascent="global")
    together.load_state_dict(one_run().engine.state_dict())
    same(memory(together), memory(one_run().engine))
    return memory(engine), state


def test_what_one_process_remembers_is_not_loaded_into_another(group, tmp_path):
    (first, state), (second, _) = group(of_replicas, str(tmp_path / "replicas"))
    assert not torch.equal(first["head.weight"], second["head.weight"])
    with pytest.raises(ValueError, match=r"of process 0 of 1 .*, got one of process 0 of 2: save"):
        lowland.FSAM().bind(net()).load_state_dict(state)


def of_sam(rank):
    return Run(lowland.SAM(), replicated()).train(half(rank, 1)).engine.state_dict(gathered=True)


def test_a_method_without_memory_goes_to_any_number_of_processes(group):
    engine = lowland.SAM().bind(net())
    engine.load_state_dict(group(of_sam)[0])
    assert engine.passes == 2

"""Hosts train the same with a probe and without, and a resumed run goes on in the probe's file."""

import json

import pytest
import torch
from torch import nn
from transformers import Trainer

import lowland
from integrations import test_lightning as of_lightning
from integrations import test_transformers as of_transformers
from integrations.by_hand import COUNT, batches, net, optimiser
from lowland.integrations import lightning, transformers
from lowland.integrations.lightning import MethodCallback
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.measuring.probe import probe
from rigs import assert_same

accumulated = pytest.mark.parametrize("accumulate", [1, 2])


def of(model, file, every=3):
    pairs = [(batch["x"], batch["labels"]) for batch in batches()]
    return probe(model, nn.functional.cross_entropy, pairs, [Accuracy(), TopEigenvalues()], every, file=file)


def lines(file):
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def steps(file):
    return sorted({line["step"] for line in lines(file)})


def under_lightning(file=None, method=None, resume=None, **options):
    torch.manual_seed(0)
    module = of_lightning.Module()
    callbacks = [MethodCallback(method)] if method else []
    callbacks += [lightning.ProbeCallback(of(module.net, file))] if file else []
    host = of_lightning.trainer(*callbacks, **options)
    host.fit(module, of_lightning.Batches(), ckpt_path=resume)
    return module, host


@accumulated
@pytest.mark.parametrize("method", [None, lowland.SAM(rho=0.1)], ids=repr)
def test_lightning_goes_the_same_way_with_a_probe_and_without(method, accumulate, tmp_path):
    probed = under_lightning(tmp_path / "a", method, accumulate=accumulate)[0].state_dict()
    chance = torch.get_rng_state()
    assert_same(probed, under_lightning(None, method, accumulate=accumulate)[0].state_dict())
    assert_same(torch.get_rng_state(), chance)
    assert steps(tmp_path / "a") == [3, 6][: 2 if accumulate == 1 else 1]


def test_a_run_resumed_under_lightning_has_the_lines_of_one_that_was_not_interrupted(tmp_path):
    under_lightning(tmp_path / "whole", max_epochs=2)
    _, host = under_lightning(tmp_path / "cut")
    host.save_checkpoint(tmp_path / "half.ckpt")
    with (tmp_path / "cut").open("a") as file:
        file.write('{"step": 9, "value": 0.5}\n{"step"')  # killed later on
    under_lightning(tmp_path / "cut", max_epochs=2, resume=tmp_path / "half.ckpt")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert steps(tmp_path / "cut") == [3, 6, 9, 12]


def under_the_trainer(folder, file=None, resume=None, **options):
    model, args = net(), of_transformers.arguments(folder, **options)
    callbacks = [transformers.ProbeCallback(of(model, file))] if file else []
    host = Trainer(
        model, args, train_dataset=of_transformers.rows(), callbacks=callbacks, optimizers=optimiser(model)
    )
    host.train(resume_from_checkpoint=resume)
    return host


@accumulated
def test_the_trainer_goes_the_same_way_with_a_probe_and_without(accumulate, tmp_path):
    probed, plain = (under_the_trainer(tmp_path, f, accumulate=accumulate) for f in (tmp_path / "a", None))
    assert_same(probed.model.state_dict(), plain.model.state_dict())
    losses = [[row["loss"] for row in host.state.log_history[:-1]] for host in (probed, plain)]
    assert losses[0] == losses[1]
    assert steps(tmp_path / "a") == [3, 6][: 2 if accumulate == 1 else 1]


def test_a_run_resumed_by_the_trainer_has_the_lines_of_one_that_was_not_interrupted(tmp_path):
    how = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 5}
    under_the_trainer(tmp_path, tmp_path / "a", **how)
    whole, checkpoint = lines(tmp_path / "a"), tmp_path / f"checkpoint-{COUNT - 2}"
    under_the_trainer(tmp_path, tmp_path / "a", resume=str(checkpoint), **how)
    assert lines(tmp_path / "a") == whole
    (checkpoint / "lowland-probes.pt").unlink()  # of a run without a probe: eigenvalues start cold
    under_the_trainer(tmp_path, tmp_path / "a", resume=str(checkpoint), **how)
    assert steps(tmp_path / "a") == [3, 6, 9, 12]
    assert len(lines(tmp_path / "a")) == len(whole)


@pytest.mark.parametrize("host", [lightning, transformers])
def test_refuses_by_words(host):
    with pytest.raises(TypeError, match=r"probes must be made by lowland.probe\(.*\), got none"):
        host.ProbeCallback()
    with pytest.raises(TypeError, match=r"probes must be made by lowland.probe\(.*\), got Accuracy"):
        host.ProbeCallback(Accuracy())


def test_a_checkpoint_of_other_probes_is_refused_by_words(tmp_path):
    two = lightning.ProbeCallback(of(net(), tmp_path / "a"), of(net(), tmp_path / "b"))
    with pytest.raises(ValueError, match=r"as many probes as its checkpoint, got 1 and 2: give it the same ones"):
        lightning.ProbeCallback(of(net(), tmp_path / "c")).load_state_dict(two.state_dict())

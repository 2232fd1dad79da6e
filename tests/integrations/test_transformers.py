"""Training under the Trainer of Transformers is a loop by hand, bit for bit."""

import peft
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

import lowland
from integrations.by_hand import COUNT, METHODS, SETTINGS, SIZE, batches, by_hand, examples, net, optimiser
from integrations.recalling import Recalling
from lowland.integrations.transformers import MethodTrainer
from rigs import assert_same

settings = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
methods = pytest.mark.parametrize("method", METHODS, ids=repr)


def language_model():
    torch.manual_seed(1)
    return GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=2))


def lora():
    config = peft.LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True, init_lora_weights=False)
    return peft.get_peft_model(language_model(), config)


def rows(ranks=1):
    """The Trainer batches them, and knows nothing of tokens in them."""
    return [{"x": x, "labels": y} for x, y in zip(*examples(ranks), strict=True)]


def sentences():
    draw = torch.Generator().manual_seed(2)
    tokens = torch.randint(16, (SIZE * COUNT, 6), generator=draw)
    ignored = torch.rand(tokens.shape, generator=draw) < 0.3
    return [{"input_ids": t, "labels": t.masked_fill(i, -100)} for t, i in zip(tokens, ignored, strict=True)]


def paragraphs():
    data = sentences()
    return [torch.utils.data.default_collate(data[i : i + SIZE]) for i in range(0, len(data), SIZE)]


class Seeds(TrainerCallback):
    """The n-th batch is seeded with n."""

    def __init__(self):
        self.count = 0

    def on_step_begin(self, *_, **__):
        torch.manual_seed(self.count)
        self.count += 1

    on_substep_end = on_step_begin


def arguments(folder, clip=0.0, accumulate=1, scheduled=False, **options):
    return TrainingArguments(
        folder,
        **{
            "use_cpu": True,
            "num_train_epochs": 1,
            "per_device_train_batch_size": SIZE,
            "train_sampling_strategy": "sequential",
            "dataloader_pin_memory": False,
            "max_grad_norm": clip,
            "gradient_accumulation_steps": accumulate,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            **options,
        },
    )


def fit(folder, method, model, data, *, kind=MethodTrainer, seeds=True, resume=None, **options):
    """The trainer after training; a method of None is the Trainer by itself."""
    how = {
        "train_dataset": data,
        "callbacks": [Seeds()] if seeds else [],
        "optimizers": optimiser(model, options.get("scheduled", False)),
    }
    args = arguments(folder, **options)
    host = Trainer(model, args, **how) if method is None else kind(model, args, method=method, **how)
    host.train(resume_from_checkpoint=resume)
    return host


def mean_of_batches(model, batch, group):
    return model(**batch)["loss"] / len(group)


def mean_of_tokens(model, batch, group):
    return model(**batch, num_items_in_batch=tokens(group)).loss


def tokens(group):
    return sum(batch["labels"].ne(-100).sum() for batch in group)


def told(host):
    return [row["loss"] for row in host.state.log_history if "loss" in row]


@settings
@methods
def test_equals_a_loop_by_hand(method, setting, tmp_path):
    model, host = net(), fit(tmp_path, method, net(), rows(), **setting)
    losses = by_hand(method, model, mean_of_batches, batches(), **setting)
    assert_same(host.model.state_dict(), model.state_dict())
    each = setting.get("accumulate", 1)
    assert told(host) == [sum(losses[i : i + each]).item() for i in range(0, COUNT, each)]


@settings
@methods
def test_a_mean_over_tokens_is_one_over_the_whole_step(method, setting, tmp_path):
    model, host = language_model(), fit(tmp_path, method, language_model(), sentences(), **setting)
    by_hand(method, model, mean_of_tokens, paragraphs(), **setting)
    assert_same(host.model.state_dict(), model.state_dict())


@pytest.mark.parametrize(
    "setting",
    [*SETTINGS.values(), {**SETTINGS["all"], "bf16": True}, {**SETTINGS["all"], "label_smoothing_factor": 0.1}],
    ids=[*SETTINGS, "all in bfloat16", "all with label smoothing"],
)
def test_with_sgd_it_is_the_trainer_itself(setting, tmp_path):
    runs = [fit(tmp_path, m, language_model(), sentences(), **setting) for m in (lowland.SGD(), None)]
    ours, theirs = [host.model.state_dict() for host in runs]
    assert_same(ours, theirs)
    ours, theirs = [[(row["loss"], row["grad_norm"]) for row in host.state.log_history[:-1]] for host in runs]
    assert ours == theirs


def test_equals_a_loop_by_hand_with_label_smoothing(tmp_path):
    def smoothed(model, batch, group):
        labels = batch["labels"]
        count = tokens(group)
        return LabelSmoother(0.1)(model(batch["input_ids"]), labels, shift_labels=True, num_items_in_batch=count)

    model, setting = language_model(), SETTINGS["all"]
    host = fit(tmp_path, METHODS[0], language_model(), sentences(), label_smoothing_factor=0.1, **setting)
    by_hand(METHODS[0], model, smoothed, paragraphs(), **setting)
    assert_same(host.model.state_dict(), model.state_dict())


def test_equals_a_loop_by_hand_in_bfloat16(tmp_path):
    def cast(model, batch, group):
        with torch.autocast("cpu", torch.bfloat16):
            return mean_of_tokens(model, batch, group)

    model, setting = language_model(), SETTINGS["all"]
    host = fit(tmp_path, METHODS[0], language_model(), sentences(), bf16=True, **setting)
    by_hand(METHODS[0], model, cast, paragraphs(), **setting)
    assert_same(host.model.state_dict(), model.state_dict())


# PEFT 0.21.2 asks the models of Transformers 5.23 for something by its old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_below_an_adapter_nothing_moves(method, tmp_path):
    seen = []
    model, host = lora(), fit(tmp_path, method, watched(lora(), seen), sentences(), **SETTINGS["all"])
    by_hand(method, model, mean_of_tokens, paragraphs(), **SETTINGS["all"])
    assert_same(host.model.state_dict(), model.state_dict())
    base = frozen(lora())
    assert len(seen) == 2 * COUNT
    for pass_ in seen:
        assert_same(pass_, base)


def frozen(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}


def watched(model, seen):
    """Keeps the frozen weights of every pass."""
    model.register_forward_pre_hook(lambda *_: seen.append(frozen(model)))
    return model


class Weighing(MethodTrainer):
    """Has a loss of its own, and logs it."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        loss = 2 * model(**inputs, labels=labels)["loss"]
        self.log({"own": loss.item()})
        return loss


def test_a_loss_of_the_users_own_is_called_once_per_pass_and_heard_once(tmp_path):
    model, host = net(), fit(tmp_path, METHODS[0], net(), rows(), kind=Weighing)
    losses = by_hand(METHODS[0], model, lambda *given: 2 * mean_of_batches(*given), batches())
    assert_same(host.model.state_dict(), model.state_dict())
    assert host.model.calls == 2 * COUNT
    assert [row["own"] for row in host.state.log_history if "own" in row] == [loss.item() for loss in losses]


def test_evaluation_takes_no_passes(tmp_path):
    host = MethodTrainer(
        net(),
        arguments(tmp_path, eval_strategy="epoch", per_device_eval_batch_size=SIZE),
        method=METHODS[0],
        train_dataset=rows(),
        eval_dataset=rows(),
    )
    host.train()
    assert (host.model.calls, host.engine.passes) == (3 * COUNT, 2 * COUNT)


def test_a_resumed_run_is_the_same_run(tmp_path):
    how = {"seeds": False, "num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3, "accumulate": 2}
    straight = fit(tmp_path, Recalling(), net(), rows(), **how)
    resumed = fit(tmp_path, Recalling(), net(), rows(), resume=str(tmp_path / "checkpoint-3"), **how)
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    assert (resumed.model.calls, resumed.engine.passes) == (4 * COUNT - 12, 4 * COUNT)


def test_training_again_begins_anew(tmp_path):
    host = fit(tmp_path, METHODS[0], net(), rows())
    first = host.engine
    host.train()
    assert host.engine is not first
    assert host.engine.passes == 2 * COUNT


def test_mixes_with_trainers_derived_from_the_trainer(tmp_path):
    class Doubling(Trainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            taken = {"x": inputs.pop("x"), "labels": inputs.pop("labels")}
            return super().training_step(model, taken, num_items_in_batch)

        def compute_loss(self, model, inputs, **_):
            return 2 * model(**inputs)["loss"]

    class Ours(MethodTrainer, Doubling):
        pass

    model, host = net(), fit(tmp_path, METHODS[0], net(), rows(), kind=Ours)
    by_hand(METHODS[0], model, lambda *given: 2 * mean_of_batches(*given), batches())
    assert_same(host.model.state_dict(), model.state_dict())


class Silent(Trainer):
    def training_step(self, model, inputs, num_items_in_batch=None):
        return torch.zeros(())


def test_refuses_by_words(tmp_path):
    with pytest.raises(TypeError, match=r"method must be a method such as lowland.SAM\(rho=0.05\), got str"):
        MethodTrainer(net(), arguments(tmp_path), method="sam")
    with pytest.raises(TypeError, match=r"The options must be of .*, got wher"):
        MethodTrainer(net(), arguments(tmp_path), method=METHODS[0], method_options={"wher": "net.*"})
    with pytest.raises(RuntimeError, match=r"training_step must call accelerator.backward once, got 0 calls"):
        fit(tmp_path, METHODS[0], net(), rows(), kind=type("Ours", (MethodTrainer, Silent), {}))

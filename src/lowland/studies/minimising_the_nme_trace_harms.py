"""Is it the Hessian's trace that a penalty should make small, or its Gauss-Newton part alone?

Weight noise adds half its variance times the trace of the Hessian to the loss, to second order
(:func:`lowland.theory.noise_vs_penalty.noise_vs_penalty`). The Hessian H is the Gauss-Newton matrix G, whose trace
is not below 0, and the nonlinear modelling error N (NME), whose trace may have any sign. A network is trained with
three ways to make the trace small, at several variances: the noise itself; the trace as a penalty, estimated by a
random vector in each step; and the trace of G alone, estimated by labels drawn from the network. After training
are measured the test error and all three traces, on training images.

The paper reports that penalising the Hessian's trace drives it ever further below 0, through N, and that such
training is unstable, as is that with weight noise; that more random vectors do not help; and that the penalty on G
does no harm at any strength. No table of it is at hand to set beside ours. Only what comes of
the largest variance is judged. In trial runs on MNIST (one to three seeds) the Hessian's trace fell below 0 and
took the accuracy along, while weight noise did no harm.

Expect 4 minutes on 2 cores. ``--paper`` trains a ResNet-18 on CIFAR-10, in place of the paper's WideResNet-28-10,
and is meant for a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lowland.checks import ascending, whole
from lowland.data.batches import in_order
from lowland.data.dataset import Split
from lowland.estimate.trace import trace
from lowland.experiments.beginning import Beginning, begin
from lowland.experiments.columns import columns
from lowland.experiments.training import Training
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measuring.measure import measure
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import problem
from lowland.penalties.gauss_newton_trace import GaussNewtonTrace
from lowland.penalties.hessian_trace import HessianTrace
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.means import means
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import generator
from lowland.theory.noise_vs_penalty import noise_vs_penalty
from lowland.train.fit import fit
from lowland.train.parts import Parts
from lowland.types import Criterion, Row

__all__ = ["Config"]

QUESTION = "Should a penalty make the Hessian's trace small, or that of its Gauss-Newton part alone?"

PAPER_TITLE = "Dauphin, Agarwala, Mobahi, NeurIPS 2024"

SPARED = 0.5
"""Points of test error that a penalty may cost and still do no harm."""

Side = Literal["above", "below", "within"]

ARMS = {
    "gauss_newton": "Gauss-Newton trace",
    "hessian": "Hessian trace",
    "hessian_many": "Hessian trace, more vectors",
    "noise": "weight noise",
}

TRACES = {"trace_h": "trace of H", "trace_g": "trace of G", "trace_n": "trace of N"}


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        variances: Of the weight noise, or of what a penalty stands for, > 0, ascending; 0 is run as well.
        vectors: Random vectors in each step, where more than one is tried; at the largest variance only.
        examples: The most training images that traces are taken on.
        probes: Random vectors of a trace, at least 2.
        draws: Pairs of noise that the rise of the loss is averaged over.
        seeds: Runs of every setting, from different initialisations; a verdict needs 3.
    """

    model: str = "mlp:widths=(128,128),activation=gelu"
    epochs: int = 60
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    variances: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    vectors: int = 5
    examples: int = 1000
    probes: int = 20
    draws: int = 20
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("vectors", "examples", "draws", "seeds"):
            whole(name, getattr(self, name))
        whole("probes", self.probes, 2)
        ascending("variances", self.variances)


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64,activation=gelu",
    train=50_000,
    epochs=200,
    batch=128,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="cosine",
    variances=(1e-6, 1e-5, 1e-4, 1e-3),
    examples=2000,
    seeds=3,
)

TINY = Config(
    model="mlp:widths=(6,),activation=gelu",
    train=60,
    epochs=2,
    variances=(1e-3, 1e-2),
    vectors=2,
    examples=40,
    probes=2,
    draws=2,
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for every way, variance and seed, and plain ones; more vectors at the largest variance only."""
    grid = [("plain", 0.0)] + [(arm, v) for arm in ARMS for v in config.variances]
    kept = [(arm, v) for arm, v in grid if arm != "hessian_many" or v == config.variances[-1]]
    return [{"arm": arm, "variance": v, "seed": seed} for arm, v in kept for seed in range(config.seeds)]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    begin(config, 0, "cpu")


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network and measure it; of plain ones also the rise of the loss under noise."""
    arm, variance = str(cell["arm"]), float(str(cell["variance"]))
    start = begin(config, int(str(cell["seed"])), context.device)
    optimizer = torch.optim.SGD(
        start.model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    weights = sum(p.numel() for p in start.model.parameters())
    method = f"random_perturbation:rho={(variance * weights) ** 0.5}" if arm == "noise" else "sgd"
    parts = Parts(optimizer=optimizer, criterion=penalised(config, arm, variance, start, optimizer))
    history = fit(
        start.model,
        start.batches,
        config.recipe(method),
        parts=parts,
        hooks=[lambda model, moment: context.progress(moment.epoch / moment.epochs)],
        progress=False,
    )
    if history.last["diverged"]:
        return [{**cell, "diverged": True}]
    return [{**cell, "diverged": False, **look(config, start, arm == "plain")}]


def penalised(
    config: Config, arm: str, variance: float, start: Beginning, optimizer: torch.optim.Optimizer
) -> Criterion:
    """Cross-entropy with the way's penalty, if it has one."""
    loss = nn.functional.cross_entropy
    if arm == "gauss_newton":
        term = GaussNewtonTrace(sigma=variance**0.5).bind(start.model, optimizer)
        return lambda z, y: loss(z, y) + term(z)
    if arm in ("hessian", "hessian_many"):
        samples = config.vectors if arm == "hessian_many" else 1
        trace_of = HessianTrace(sigma=variance**0.5, samples=samples).bind(start.model, optimizer)
        return lambda z, y: (value := loss(z, y)) + trace_of(value)
    return loss


def look(config: Config, start: Beginning, plain: bool) -> Row:
    """Errors and losses, traces, and how much noise of each variance raises the loss."""
    some = start.train.take(min(config.examples, len(start.train)))
    splits = {"train": in_order(start.train), "test": in_order(start.test)}
    scores = columns(measure(start.model, None, splits, [Accuracy(), Calibration()]))
    p = problem(start.model, nn.functional.cross_entropy, in_order(some), check=False)
    found = trace([hessian(p), gauss_newton(p), nme(p)], probes=config.probes)
    traces = {name: estimate.value for name, estimate in zip(TRACES, found, strict=True)}
    rises = {f"rise/{v:g}": rise(start.model, some, v, config.draws) for v in config.variances} if plain else {}
    return {**scores, **traces, **rises}


@torch.no_grad()
def rise(model: nn.Module, split: Split, variance: float, draws: int) -> float:
    """How much normal noise on all weights raises the loss in the mean; it comes in pairs of opposite sign."""
    chance = generator(0, "noise", device=split.x.device)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(moved: Mapping[str, Tensor]) -> Tensor:
        z = torch.func.functional_call(model, dict(moved), (split.x,))
        return nn.functional.cross_entropy(z, split.y)

    model.eval()
    total = 0 * loss(weights)
    for _ in range(draws):
        e = {
            name: torch.randn(w.shape, generator=chance, dtype=w.dtype, device=w.device)
            for name, w in weights.items()
        }
        for sign in (1, -1):
            total += loss({name: w + sign * variance**0.5 * e[name] for name, w in weights.items()})
    return (total / (2 * draws) - loss(weights)).item()


def strongest(rows: Sequence[Row], arm: str, quantity: str) -> Grid:
    """A quantity without and with a way at the largest variance, seed by seed."""
    most = max(row["variance"] for row in rows)
    mine = [row for row in rows if row["arm"] == "plain" or (row["arm"] == arm and row["variance"] == most)]
    return Grid.of(mine, quantity, over="variance")


def ends(rows: Sequence[Row], arm: str, quantity: str, name: str, side: Side) -> Effect:
    """A quantity with a way at the largest variance, beside 0."""
    grid = strongest(rows, arm, quantity)
    most = grid.points[-1]
    found = grid.column(most)
    note = f"{name[:1].upper()}{name[1:]}: below 0 with {sum(value < 0 for value in found)} of {len(found)} seeds."
    return Effect.of(name, grid.contrast({most: 1}), side, note=note)


def changes(rows: Sequence[Row], arm: str, quantity: str, name: str, side: Side, bound: float = 0.0) -> Effect:
    """A quantity with a way at the largest variance less that without."""
    size = strongest(rows, arm, quantity).interval(lambda row: row[-1] - row[0])
    unit = "points" if quantity == "test_error" else ""
    return Effect.of(name, size, side, bound, unit=unit)


def below_zero(rows: Sequence[Row]) -> list[Effect]:
    """Traces of H and of N after the Hessian's was penalised."""
    return [ends(rows, "hessian", key, TRACES[key], "below") for key in ("trace_h", "trace_n")]


def spares_the_rest(rows: Sequence[Row]) -> list[Effect]:
    """After the trace of G was penalised: it is smaller than without, and that of H is above 0."""
    return [
        changes(rows, "gauss_newton", "trace_g", "trace of G less that without penalty", "below"),
        ends(rows, "gauss_newton", "trace_h", TRACES["trace_h"], "above"),
    ]


def against_noise(rows: Sequence[Row]) -> Effect:
    """Test error with noise less that with the penalty on G."""
    noise, other = (strongest(rows, arm, "test_error") for arm in ("noise", "gauss_newton"))
    size = noise.beside(other, lambda mine, its: mine[-1] - its[-1])
    return Effect.of("test error with noise less that with the penalty on G", size, "above", unit="points")


CLAIMS = (
    Claim(
        id="the_trace_falls_below_zero_through_the_nme",
        text="Penalising the Hessian's trace at the largest variance drives it below 0, and the NME's with it.",
        source=f"{PAPER_TITLE}: traces while the Hessian's is penalised",
        check=below_zero,
    ),
    Claim(
        id="more_vectors_do_not_help",
        text="With several random vectors in each step the penalised Hessian's trace falls below 0 all the same, "
        "at the largest variance.",
        source=f"{PAPER_TITLE}: five vectors in place of one",
        check=lambda rows: ends(rows, "hessian_many", "trace_h", TRACES["trace_h"], "below"),
    ),
    Claim(
        id="the_gauss_newton_penalty_leaves_the_nme_alone",
        text="Penalising the trace of G at the largest variance lowers it, while the Hessian's stays above 0.",
        source=f"{PAPER_TITLE}: exploitation alone",
        check=spares_the_rest,
    ),
    Claim(
        id="the_hessian_penalty_harms",
        text="Penalising the Hessian's trace at the largest variance raises the test error.",
        source=f"{PAPER_TITLE}: accuracy against the variance",
        check=lambda rows: changes(rows, "hessian", "test_error", "test error less that without", "above"),
    ),
    Claim(
        id="the_gauss_newton_penalty_does_not_harm",
        text="Penalising the trace of G at the largest variance costs at most half a point of test error.",
        source=f"{PAPER_TITLE}: at or above the baseline over a range of variances",
        check=lambda rows: changes(
            rows, "gauss_newton", "test_error", "test error less that without", "below", SPARED
        ),
    ),
    Claim(
        id="weight_noise_is_worse_than_the_gauss_newton_penalty",
        text="Weight noise of the largest variance gives a higher test error than the penalty on G.",
        source=f"{PAPER_TITLE}: noise also makes the trace of the NME small",
        check=against_noise,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Traces and errors against the variance, and the rise of the loss under noise beside the closed form."""
    return [
        Figure(
            title="Traces against the variance",
            panels=tuple(against_variance(rows, key, label) for key, label in TRACES.items()),
            caption="Of the Hessian H = G + N of the training loss, its Gauss-Newton part G and the nonlinear "
            "modelling error N, after training; variance 0 is plain SGD.",
        ),
        Figure(
            title="Test error against the variance",
            panels=(against_variance(rows, "test_error", "test error (%)"),),
            caption="After training; variance 0 is plain SGD.",
        ),
        Figure(
            title="What noise adds to the loss of plain networks",
            panels=(noise_panel(config, rows),),
            caption="Mean rise of the training loss when noise is put on the weights after training, beside half "
            "the variance times the trace of H, and of G alone, in which nothing is fitted. The closed form is "
            "exact where the loss is quadratic; wide noise leaves that region.",
        ),
    ]


def against_variance(rows: Sequence[Row], quantity: str, label: str) -> Panel:
    """A curve for every way that was tried at several variances, from none on."""
    arms = [arm for arm in ARMS if arm != "hessian_many"]
    mine = {arm: [row for row in rows if row["arm"] in ("plain", arm)] for arm in arms}
    curves = [Curve.of(mine[arm], ARMS[arm], x="variance", y=quantity) for arm in arms]
    title = label[:1].upper() + label[1:]
    return Panel(x_label="variance", y_label=label, curves=tuple(curves), title=title, x_scale="even")


def noise_panel(config: Config, rows: Sequence[Row]) -> Panel:
    """Measured rise, and the closed form of both parts and of one."""
    plain = [row for row in rows if row["arm"] == "plain" and not row["diverged"]]
    shown = [
        {
            "variance": v,
            "measured": row[f"rise/{v:g}"],
            "both": noise_vs_penalty(v**0.5, row["trace_g"], row["trace_n"]),
            "one": noise_vs_penalty(v**0.5, row["trace_g"]),
        }
        for row in plain
        for v in config.variances
    ]
    names = {"measured": "measured", "both": "with G + N", "one": "with G alone"}
    curves = tuple(Curve.of(shown, label, x="variance", y=key) for key, label in names.items())
    return Panel(x_label="variance", y_label="rise of the loss", curves=curves, x_scale="even", y_scale="log")


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every way and variance."""
    scores = {"test error (%)": "test_error", "train loss": "train_loss"}
    return [
        means(
            [{**row, "arm": ARMS.get(row["arm"], "none")} for row in rows],
            "Results by way and variance",
            by={"way": "arm", "variance": "variance"},
            of={**scores, **{label: name for name, label in TRACES.items()}},
            caption="Means over seeds, 95 % intervals. Traces of the loss on "
            f"{config.examples} training images at most.",
        )
    ]

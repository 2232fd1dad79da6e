"""Does sharpness-aware minimisation lower the curvature of the loss, and is it SAM that does it?

One network is trained from several seeds with SGD and with SAM of several radii. After training, on some of the
training images and in evaluation mode, are taken: the largest eigenvalue and the trace of the Hessian and of its
Gauss-Newton part, how large the rest is beside that part (the nonlinear modelling error, NME), and how much the
loss rises at the worst place of a ball, of a fixed radius and of one relative to each weight.

Three things could lower these without SAM's choice of direction, and each has its control. Weights may grow, and
curvature with respect to larger weights is lower: the relative ball does not see their size. With cross-entropy
curvature vanishes as the loss does, and another radius leaves another loss: SAM is compared with SGD at the moment
when SGD had the same training loss, between its looks along straight lines. Any noise on the weights may do: a
random step of the same length is the third control.

Expect 3 minutes on 2 cores for the digits, and more for ``--data fashion-mnist``. ``--paper`` trains a ResNet-18
on all of CIFAR-10 and is meant for a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from lowland.checks import ascending, at_least, whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset
from lowland.experiments.columns import columns
from lowland.experiments.images import look_epochs
from lowland.experiments.training import Training, check_training, training_run
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measurements.hessian_split import HessianSplit
from lowland.measurements.sharpness import Sharpness
from lowland.measuring.measure import measure
from lowland.report.at_same_loss import at_same_loss
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.excess import excess
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid, IncompleteError
from lowland.report.means import means
from lowland.report.panels import heading
from lowland.report.radii import guessing, left_out
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does SAM lower the curvature of the loss, and is it SAM's direction that does it?"

EIGENVALUES = ("hessian_lambda_max", "gauss_newton_lambda_max")
TRACES = ("hessian_trace", "gauss_newton_trace")
CONTROLLED = ("hessian_lambda_max", "hessian_trace", "sharpness", "adaptive_sharpness")

LABELS = {
    "hessian_lambda_max": "largest eigenvalue of the Hessian",
    "gauss_newton_lambda_max": "largest eigenvalue, Gauss-Newton",
    "hessian_trace": "trace of the Hessian",
    "gauss_newton_trace": "trace, Gauss-Newton",
    "sharpness": "sharpness",
    "adaptive_sharpness": "adaptive sharpness",
    "nme_ratio": "NME over Gauss-Newton",
}


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        rhos: Radii of SAM and of the random step, > 0, ascending, at least two; SGD is run as well.
        examples: The most training images that curvature is measured on.
        probes: Random vectors of a trace, at least 2.
        radius: Of the ball that sharpness is sought in, > 0.
        relative: Of the ball relative to each weight, > 0.
        ascent: Gradients of one search in a ball.
        looks: How often SGD is measured on the way, evenly in the logarithm of the epoch.
        seeds: Runs of every setting, from different initialisations; a verdict needs 3.
    """

    rhos: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    examples: int = 300
    probes: int = 10
    radius: float = 0.1
    relative: float = 0.5
    ascent: int = 10
    looks: int = 6
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("examples", "ascent", "looks", "seeds"):
            whole(name, getattr(self, name))
        whole("probes", self.probes, 2)
        ascending("rhos", self.rhos, least=2)
        for name in ("radius", "relative"):
            at_least(name, getattr(self, name), 0)
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=128,
    learning_rate=0.1,
    augment=True,
    examples=2000,
    probes=30,
    ascent=20,
    looks=12,
    seeds=3,
)

TINY = Config(
    train=120,
    epochs=2,
    model="conv:widths=(4,4)",
    rhos=(0.1, 0.4),
    examples=40,
    probes=2,
    ascent=2,
    looks=2,
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for every method, radius and seed."""
    arms = [("sgd", 0.0), *((method, rho) for method in ("sam", "random_perturbation") for rho in config.rhos)]
    return [{"method": method, "rho": rho, "seed": s} for method, rho in arms for s in range(config.seeds)]


def spec(cell: Cell) -> str:
    """How a run is trained.

    Example:
        >>> spec({"method": "sam", "rho": 0.1}), spec({"method": "sgd", "rho": 0.0})
        ('sam:rho=0.1', 'sgd')
    """
    return f"{cell['method']}:rho={cell['rho']:g}" if cell["rho"] else "sgd"


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, [spec(cell) for cell in cells(config) if cell["seed"] == 0])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train and measure one network; SGD is measured on the way as well, for the control."""
    recipe = config.recipe(spec(cell))
    due = look_epochs(recipe.epochs, config.looks) if cell["method"] == "sgd" else {recipe.epochs}
    return training_run(config, recipe, cell, context, partial(look, config), due)


def look(config: Config, model: nn.Module, data: Dataset, final: bool) -> Row:
    """Errors and losses on all images, curvature on some of the training images."""
    some = data.train.take(min(config.examples, len(data.train)))
    splits = {"train": in_order(data.train), "test": in_order(data.test), "some": in_order(some)}
    ball = Sharpness(on="some", rho=config.radius, steps=config.ascent)
    relative = Sharpness(on="some", rho=config.relative, steps=config.ascent, adaptive=True)
    found = [
        Accuracy(on=("train", "test")),
        Calibration(on=("train", "test")),
        HessianSplit(on="some", probes=config.probes, tol=1e-2),
        ball,
        relative,
    ]
    readings = measure(model, nn.functional.cross_entropy, splits, found)
    curvature = {
        ("adaptive_" if reading.settings.get("adaptive") else "") + reading.name: reading.value
        for reading in readings
        if reading.settings["split"] == "some" and not reading.site and reading.settings.get("along") != "top"
    }
    return {**columns(readings), **curvature}


def judged(rows: Sequence[Row], method: str) -> list[Row]:
    """The last row of SGD's and a method's runs, at radii at which networks learn.

    Raises:
        IncompleteError: If they learn at none.
    """
    last = [row for row in rows if row["final"] and row["method"] in ("sgd", method)]
    out = guessing(last)
    found = [row for row in last if row["rho"] not in out]
    if not found:
        raise IncompleteError("At no rho did networks learn; they diverged, or guess.")
    return found


def unjudged(rows: Sequence[Row]) -> str:
    """Which radii of SAM carry no verdict, as a sentence; empty if none."""
    radii = {row["rho"] for row in rows if row["method"] == "sam"}
    return left_out(sorted(radii - {row["rho"] for row in judged(rows, "sam")}))


def falls(quantities: Sequence[str], rows: Sequence[Row]) -> list[Effect]:
    """Spearman correlation of rho and each quantity, from SGD on."""
    last, note = judged(rows, "sam"), unjudged(rows)
    return [Effect.of(LABELS[name], trend(Grid.of(last, name)), "below", note=note) for name in quantities]


def at_equal_loss(rows: Sequence[Row], quantity: str) -> list[Row]:
    """For every run of SAM: its quantity, and SGD's from the same seed when it had SAM's training loss.

    Raises:
        IncompleteError: If a run diverged or is missing, or none can be compared.
    """
    last = judged(rows, "sam")
    if doubt := Grid.of(last, quantity).doubt:
        raise IncompleteError(doubt)
    plain = [row for row in rows if row["method"] == "sgd" and not row["diverged"]]
    found = at_same_loss([row for row in last if row["rho"]], plain, quantity)
    if not found:
        raise IncompleteError("No run of SAM had a training loss that SGD had at one of its looks.")
    return found


def beside_chance(rows: Sequence[Row], quantity: str) -> list[Row]:
    """For every run of SAM: its quantity, and that of the random step of the same radius and seed.

    Raises:
        IncompleteError: If a run diverged or is missing.
    """
    sam, chance = (judged(rows, method) for method in ("sam", "random_perturbation"))
    if doubt := Grid.of(sam, quantity).doubt or Grid.of(chance, quantity).doubt:
        raise IncompleteError(doubt)
    others = {(row["rho"], row["seed"]): row[quantity] for row in chance if row["rho"]}
    keyed = [((row["rho"], row["seed"]), row[quantity]) for row in sam]
    return [{"rho": k[0], "seed": k[1], "sam": mine, "other": others[k]} for k, mine in keyed if k in others]


def below_at_equal_loss(rows: Sequence[Row]) -> list[Effect]:
    """SAM's quantities less SGD's at equal training loss, in percent of them."""
    return [below(at_equal_loss(rows, name), name, unjudged(rows)) for name in CONTROLLED]


def below_chance(rows: Sequence[Row]) -> list[Effect]:
    """SAM's quantities less those of a random step as long, in percent of them."""
    return [below(beside_chance(rows, name), name, unjudged(rows)) for name in CONTROLLED]


def below(pairs: Sequence[Row], quantity: str, note: str) -> Effect:
    """By how many percent SAM's quantity is above the other's: of each seed the mean over the radii.

    Raises:
        IncompleteError: If there is nothing to compare, or the other's is not above 0, so has no percentage.
    """
    if not pairs:
        raise IncompleteError("No run of SAM has another of the same radius and seed to be compared with.")
    if any(pair["other"] <= 0 for pair in pairs):
        raise IncompleteError(f"The {LABELS[quantity]} that SAM's is compared with was not above 0 in every run.")
    return Effect.of(LABELS[quantity], excess(pairs, "sam", "other"), "below", unit="%", note=note)


CLAIMS = (
    Claim(
        id="largest_eigenvalue_falls_with_rho",
        text="The largest eigenvalue of the Hessian and of its Gauss-Newton part falls as rho grows.",
        source="Foret et al., ICLR 2021, section on Hessian spectra: SAM's are lower",
        check=partial(falls, EIGENVALUES),
    ),
    Claim(
        id="trace_falls_with_rho",
        text="The trace of the Hessian and of its Gauss-Newton part falls as rho grows.",
        source="Wen, Ma, Li, ICLR 2023: SAM with batches of one lowers the trace",
        check=partial(falls, TRACES),
    ),
    Claim(
        id="sharpness_falls_with_rho",
        text="The rise of the loss at the worst place of a fixed ball falls as rho grows.",
        source="Foret et al., ICLR 2021: what SAM minimises",
        check=partial(falls, ("sharpness",)),
    ),
    Claim(
        id="adaptive_sharpness_falls_with_rho",
        text="The rise at the worst place of a ball relative to each weight falls as rho grows.",
        source="Kwon et al., ICML 2021; control of this study: curvature falls where weights grow",
        check=partial(falls, ("adaptive_sharpness",)),
    ),
    Claim(
        id="lower_at_equal_training_loss",
        text="SAM's curvature is lower than SGD's at the moment when SGD had the same training loss.",
        source="Control of this study: curvature vanishes as cross-entropy does",
        check=below_at_equal_loss,
    ),
    Claim(
        id="lower_than_of_a_random_step_as_long",
        text="SAM's curvature is lower than where weights are perturbed as far in a random direction.",
        source="Control of this study: any noise on the weights may lower curvature",
        check=below_chance,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Curvature, its parts and sharpness against rho, and SGD's curvature at SAM's loss."""
    last = [row for row in rows if row["final"]]
    return [
        Figure(
            title="Curvature against rho",
            panels=tuple(against_rho(last, name) for name in ("hessian_lambda_max", "hessian_trace")),
            caption="Of the Hessian of the training loss, after training; rho 0 is SGD.",
        ),
        Figure(
            title="Sharpness against rho",
            panels=tuple(against_rho(last, name) for name in ("sharpness", "adaptive_sharpness")),
            caption=f"Rise of the training loss at the worst place found: in a ball of radius {config.radius:g}, "
            f"and in one of radius {config.relative:g} relative to each weight.",
        ),
        Figure(
            title="The Gauss-Newton part and the rest",
            panels=tuple(against_rho(last, name) for name in ("gauss_newton_lambda_max", "nme_ratio")),
            caption="Left: largest eigenvalue of the Gauss-Newton matrix. Right: length of the NME's product with "
            "a random vector over that of the Gauss-Newton matrix's.",
        ),
        *equal_loss_figures(rows),
    ]


def against_rho(rows: Sequence[Row], quantity: str) -> Panel:
    """SAM and the random step, both from SGD on."""
    names = {"sam": "SAM", "random_perturbation": "random step"}
    mine = {method: [row for row in rows if row["method"] in ("sgd", method)] for method in names}
    curves = [Curve.of(mine[method], label, x="rho", y=quantity) for method, label in names.items()]
    return panel(quantity, tuple(curves))


def equal_loss_figures(rows: Sequence[Row]) -> list[Figure]:
    """Curvature of SAM and of SGD at the same training loss; none where nothing can be compared."""
    try:
        pairs = {name: at_equal_loss(rows, name) for name in ("hessian_lambda_max", "hessian_trace")}
    except IncompleteError:
        return []
    names = {"sam": "SAM", "other": "SGD"}
    panels = [
        panel(name, tuple(Curve.of(mine, names[key], x="rho", y=key) for key in names))
        for name, mine in pairs.items()
    ]
    return [
        Figure(
            title="Curvature at equal training loss",
            panels=tuple(panels),
            caption="SAM after training, and SGD from the same seeds at the moment when it had the same loss.",
        )
    ]


def panel(quantity: str, curves: tuple[Curve, ...]) -> Panel:
    """A panel over the grid of radii."""
    label = LABELS[quantity]
    return Panel(x_label="rho", y_label=label, curves=curves, title=heading(label), x_scale="even")


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every method and radius: how well it does, how curved the loss is, and the parts of that."""
    last = [row for row in rows if row["final"]]
    scores = {"test error (%)": "test_error", "train loss": "train_loss"}
    curvature = {LABELS[name]: name for name in CONTROLLED}
    parts = {label: name for name, label in LABELS.items() if name not in CONTROLLED}
    some = f"Means over seeds, 95 % intervals; curvature after training, on {config.examples} training images."
    return [
        by_setting("Curvature by method and rho", last, {**scores, **curvature}, some),
        by_setting("The Gauss-Newton part and the rest", last, parts, some),
    ]


def by_setting(title: str, rows: Sequence[Row], names: Mapping[str, str], caption: str) -> Table:
    """A table of some columns, given under their headings."""
    return means(rows, title, by={"method": "method", "rho": "rho"}, of=names, caption=caption)

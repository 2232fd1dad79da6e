"""Which methods are as good as sharpness-aware minimisation, and what do they cost?

Every method trains the same small network on the same images, from several seeds; seed by seed, initialisation and
order of the batches are the same for all, so differences are paired. Cost is counted: forward-backward passes per
step, a forward pass alone as a third, over the passes of plain SGD's training. It is measured, too: seconds of
training beside SGD's of the same seed, the median over the seeds. Runs share the machine, so seconds are noisy,
and verdicts rest on the counts alone. SGD of twice the epochs, with its schedule stretched over them, costs what
SAM costs.

The rule for radii: SAM has 0.1, and every other method the multiple of SAM's radius that its authors publish,
or the same where they publish none; the table says how each was run. Nothing was tuned, so a method may do better
at another radius. With several ``--rhos`` each method is run at all of them, and each seed is scored at the radius
that did best over the other seeds.

A method keeps SAM's gain if it costs less than SAM, its test error is at most 0.5 points above SAM's, and it is
below SGD's: without the last, every method would be as good where SAM gains less than half a point. Errors are
those after the last epoch.

Expect 4 minutes on 2 cores for the digits, and 12 for ``--data fashion-mnist`` or ``--data cifar10``. ``--paper``
trains a ResNet-18 on all of CIFAR-10 with the cheap methods, SAM and SGD, and is meant for GPUs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

from lowland.checks import at_least, whole
from lowland.experiments.family import FAMILY, spec
from lowland.experiments.scores import score_run
from lowland.experiments.training import Training, check_training
from lowland.report.arms import best_radii, contrast, gap
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Scatter
from lowland.report.interval import Interval
from lowland.report.means import mean
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Which of SAM's relatives are as good as SAM, and what do they cost?"

MARGIN = 0.5
"""Points of test error that a method may lie above SAM and still count as as good."""

CHEAP = (
    *("sgd", "sgd_twice", "sam", "sam_every_5", "look_sam", "rst", "ae_sam"),
    *("esam", "k_sam", "momentum_sam", "lpf_sgd"),
)
"""SGD, SAM, and the methods that are said to be as good as SAM at lower cost."""


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        train: The most training images to take.
        epochs: Passes over the training images, of all methods but ``sgd_twice``.
        methods: Names from the study's list, by default all, or specs such as ``sam:rho=0.3``, taken as they are.
        rhos: Radii of SAM, > 0; the other methods' follow. With several, the best over the other seeds counts.
        seeds: Runs of every method and radius, from different initialisations; a verdict needs 3.
    """

    train: int = 3000
    epochs: int = 12
    methods: tuple[str, ...] = tuple(FAMILY)
    rhos: tuple[float, ...] = (0.1,)
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        for rho in self.rhos:
            at_least("rhos", rho, 0)
        if not self.rhos or 0 in self.rhos or len(set(self.rhos)) < len(self.rhos):
            raise ValueError(f"rhos must be above 0, different and at least one, got {self.rhos}.")
        if len(set(self.methods)) < len(self.methods) or not {"sgd", "sam"} <= set(self.methods):
            raise ValueError(
                f"methods must be different, with sgd and sam to compare with, got {' '.join(self.methods)}."
            )


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=128,
    learning_rate=0.1,
    augment=True,
    methods=CHEAP,
)

TINY = Config(
    train=120,
    epochs=2,
    seeds=3,
    methods=("sgd", "sgd_twice", "sam", "look_sam", "k_sam"),
    model="conv:widths=(4,4)",
)


def cells(config: Config) -> list[Cell]:
    """A run for every method, radius and seed; methods without a radius of the study's have ``rho`` 0."""
    return [
        {"method": method, "spec": spec(method, rho), "rho": rho, "seed": seed}
        for method in config.methods
        for rho in (config.rhos if FAMILY.get(method, ("", ()))[1] else (0.0,))
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, [str(cell["spec"]) for cell in cells(config) if cell["seed"] == 0])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train and measure one network; ``work`` is the training's cost, that of SGD's being 1."""
    times = 2 if cell["method"] == "sgd_twice" else 1
    plain = vars(config.recipe(str(cell["spec"])))
    rows = score_run(config, Recipe(**{**plain, "epochs": times * config.epochs}), cell, context)
    return [{**row, "work": times * row["cost"]} for row in rows]


def arms(rows: Sequence[Row]) -> list[Row]:
    """One row per method and seed, at the radius that the other seeds choose."""
    return best_radii(rows, "test_error")


def keeps_the_gain(method: str, rows: Sequence[Row]) -> list[Effect]:
    """Cost and error beside SAM's, and error beside SGD's."""
    mine = arms(rows)
    beside_sam = partial(contrast, mine, {method: 1, "sam": -1})
    error_less_sgd = contrast(mine, {method: 1, "sgd": -1}, "test_error")
    return [
        Effect.of(
            "cost of training less SAM's", beside_sam("work"), "below", unit="x SGD", note=radii(mine, method)
        ),
        Effect.of("test error less SAM's", beside_sam("test_error"), "below", MARGIN, unit="points"),
        Effect.of("test error less SGD's", error_less_sgd, "below", unit="points"),
    ]


def radii(rows: Sequence[Row], method: str) -> str:
    """A sentence about the radii that were chosen, where there were several."""
    chosen = sorted({row["rho"] for row in rows if row["method"] == method})
    if len(chosen) < 2:
        return ""
    return f"Radius, as SAM's, chosen for each seed by the others: {', '.join(f'{rho:g}' for rho in chosen)}."


def sam_beats(method: str, rows: Sequence[Row]) -> Effect:
    """How much lower SAM's error is."""
    mine = arms(rows)
    size = contrast(mine, {method: 1, "sam": -1}, "test_error")
    return Effect.of("its test error less SAM's", size, "above", unit="points", note=radii(mine, "sam"))


CLAIMS = (
    Claim(
        id="sam_beats_sgd",
        text="SAM has a lower test error than SGD.",
        source="Foret et al., ICLR 2021",
        check=partial(sam_beats, "sgd"),
    ),
    Claim(
        id="sam_beats_sgd_of_the_same_cost",
        text="SAM has a lower test error than SGD of twice the epochs, which costs as much.",
        source="Foret et al., ICLR 2021: more epochs do not make up for SAM",
        check=partial(sam_beats, "sgd_twice"),
    ),
    Claim(
        id="sam_every_5_keeps_the_gain",
        text="SAM on every 5th step is as good as SAM at lower cost.",
        source="Offered by Composer as an interval; Liu et al., CVPR 2022, find it worse than SAM",
        check=partial(keeps_the_gain, "sam_every_5"),
    ),
    Claim(
        id="look_sam_keeps_the_gain",
        text="LookSAM is as good as SAM at lower cost.",
        source="Liu et al., CVPR 2022: SAM's accuracy at a fraction of its cost",
        check=partial(keeps_the_gain, "look_sam"),
    ),
    Claim(
        id="rst_keeps_the_gain",
        text="RST, SAM on a random half of the steps, is as good as SAM at lower cost.",
        source="Zhao et al., 2022: as good as SAM or better",
        check=partial(keeps_the_gain, "rst"),
    ),
    Claim(
        id="ae_sam_keeps_the_gain",
        text="AE-SAM, SAM on the steps with a large gradient, is as good as SAM at lower cost.",
        source="Jiang et al., ICLR 2023: as good as SAM",
        check=partial(keeps_the_gain, "ae_sam"),
    ),
    Claim(
        id="esam_keeps_the_gain",
        text="ESAM is as good as SAM at lower cost.",
        source="Du et al., ICLR 2022: as good as SAM or better at 40 % more than SGD",
        check=partial(keeps_the_gain, "esam"),
    ),
    Claim(
        id="k_sam_keeps_the_gain",
        text="K-SAM on half of the batch is as good as SAM at lower cost.",
        source="Ni et al., 2022: SAM at the speed of SGD",
        check=partial(keeps_the_gain, "k_sam"),
    ),
    Claim(
        id="momentum_sam_keeps_the_gain",
        text="Momentum-SAM is as good as SAM at lower cost.",
        source="Becker et al., 2024: SAM without computational overhead",
        check=partial(keeps_the_gain, "momentum_sam"),
    ),
    Claim(
        id="lpf_sgd_keeps_the_gain",
        text="LPF-SGD is as good as SAM at lower cost.",
        source="Bisla et al., AISTATS 2022: as good as SAM or better, with random perturbations",
        check=partial(keeps_the_gain, "lpf_sgd"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error against the counted cost."""
    mine = arms(rows)
    points = tuple(point(config, mine, method, _mean_work(mine, method)) for method in config.methods)
    return [
        Figure(
            title="Test error against counted cost",
            panels=(
                Scatter(x_label="cost of training, passes, SGD = 1", y_label="test error (%)", curves=points),
            ),
            caption="Passes over the data, a forward pass alone as a third. Methods of the same cost stand side "
            f"by side. {_in_words(config)}",
        )
    ]


def timed_figures(config: Config, rows: Sequence[Row], timings: Sequence[Row]) -> list[Figure]:
    """Error against the measured cost."""
    mine = arms(rows)
    seconds = {(t["method"], t["rho"], t["seed"]): t.get("processor", t["training"]) for t in timings}
    points = tuple(point(config, mine, method, _mean_time(mine, seconds, method)) for method in config.methods)
    return [
        Figure(
            title="Test error against measured cost",
            panels=(Scatter(x_label="seconds of training, SGD = 1", y_label="test error (%)", curves=points),),
            caption="Seconds of training over those of SGD with the same seed, median over the seeds: of the "
            "processor on a CPU, of the clock on a GPU. Runs share caches and memory, so they are noisy; to quote "
            f"them, use --workers 1 on an idle machine. {_in_words(config)}",
        )
    ]


def point(config: Config, rows: Sequence[Row], method: str, x: float) -> Curve:
    """A method's test errors at its cost."""
    mine = [{**row, "x": x} for row in rows if row["method"] == method]
    return Curve.of(mine, method, x="x", y="test_error")


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every method: how it was run, cost, error, and differences to SAM and SGD."""
    mine = arms(rows)
    columns = (
        "method",
        "as run",
        "cost (SGD = 1)",
        "test error (%)",
        "less SAM's",
        "less SGD's",
        "train error (%)",
    )
    table = Table(
        title="Methods by cost and error",
        columns=columns,
        rows=tuple(line(mine, method) for method in config.methods),
        caption=f"Means over seeds, 95 % intervals; differences in points, paired by seed. {_in_words(config)}",
    )
    return [table.marked("test error (%)")]


def line(rows: Sequence[Row], method: str) -> tuple[str | float | Interval | None, ...]:
    """A method's line; differences are empty where a run diverged."""
    mine = [row for row in rows if row["method"] == method]
    specs = ", ".join(dict.fromkeys(str(row["spec"]) for row in mine))
    error, train = mean(mine, "test_error"), mean(mine, "train_error")
    gaps = [gap(rows, method, other, "test_error") for other in ("sam", "sgd")]
    twice = ", twice the epochs" if method == "sgd_twice" else ""
    return (method, specs + twice, _mean_work(rows, method), error, *gaps, train)


def _mean_work(rows: Sequence[Row], method: str) -> float:
    return fmean(row["work"] for row in rows if row["method"] == method)


def _mean_time(rows: Sequence[Row], seconds: Mapping[tuple[str, float, int], float], method: str) -> float:
    mine = [row for row in rows if row["method"] == method]
    return median(seconds[method, row["rho"], row["seed"]] / seconds["sgd", 0.0, row["seed"]] for row in mine)


def _in_words(config: Config) -> str:
    """Which radii, for captions."""
    given = ", ".join(f"{rho:g}" for rho in config.rhos)
    if len(config.rhos) == 1:
        return f"SAM's radius is {given}; the others' follow their authors' ratio to it and were not tuned."
    return f"SAM's radius is the best over the other seeds of {given}; the others' likewise, in their ratio to it."

"""Does how much a perturbation makes outputs forget predict test accuracy better than how flat the minimum is?

That is the central claim of perturbed forgetting: over many networks, forgetting under the perturbation that a
network was trained with correlates with its accuracy, and more than the largest eigenvalue of the Hessian does.
Here the networks are those of a grid of arms: SGD, which perturbs nothing and forgets nothing; SAM and output
bias forgetting (OBF, gamma 0 and 1), of several lengths rho, each chosen by the whole batch and by parts of it;
and a random step of the same lengths. A fifth of the training labels is wrong, so that arms differ by more than
seeds do; test labels are right.

Of every network are taken: the information about the input that outputs of test images lose under its own
perturbation, in all and beyond the label, mean over training; the largest eigenvalue of the training loss after
training; and the test error. The paper's estimator of forgetting was announced and never released, and its
numbers are not at hand; the estimator here is ours.

Kendall's tau is computed over the arms, for each seed; the interval is over seeds, so it speaks about new seeds
of the same arms and not about other arms. One control is ours: forgetting grows with rho, and so may accuracy,
whatever is forgotten. Forgetting is therefore set beside rho itself, and correlations are also taken among arms
of one rho, and averaged. In our trial on MNIST, OBF forgot more than SAM and was sharper and less accurate,
which speaks against the claim.

Expect 3 minutes on 2 cores. ``--paper`` trains ResNet-18s on all of CIFAR-10 and is meant for a GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from torch import nn

from lowland.checks import whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset, Split
from lowland.experiments.columns import columns
from lowland.experiments.perturbed import LABELS, Perturbed, forgotten, method_of, over_training, perturbed_run
from lowland.experiments.training import check_training
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.measuring.measure import measure
from lowland.report.arms import contrast
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.means import means
from lowland.report.panels import heading
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does forgetting predict test accuracy better than flatness does?"

CUT = ("sam", "obf_0", "obf_1")
"""Perturbations that parts of the batch may choose."""

FORGETTING = ("forgetting", "forgetting_given_label")

MEASURES: Mapping[str, str] = {
    "forgetting": "information forgotten",
    "forgetting_given_label": "forgotten beyond the label",
    "flatness": "flatness",
    "rho": "length rho",
}
"""What accuracy is compared with; flatness is the largest eigenvalue with its sign turned."""

UNITS = {
    "forgetting": "information forgotten (nats)",
    "forgetting_given_label": "forgotten beyond the label (nats)",
    "flatness": "flatness (largest eigenvalue, sign turned)",
}

Groups = Callable[[Sequence[Row]], list[Sequence[Row]]]
"""Cuts the runs of one seed into groups of arms."""


@dataclass(frozen=True, kw_only=True)
class Config(Perturbed):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        data: A data set, with its arguments.
        parts: Sizes of the parts that choose a perturbation, beside the whole batch, below it.
        images: Training images, cut into batches or parts, whose perturbations are looked at.
        held_out: The most test images that are looked at.
        examples: The most training images that the eigenvalue is measured on.
    """

    data: str = "digits:label_noise=0.2"
    parts: tuple[int, ...] = (16,)
    images: int = 128
    held_out: int = 1000
    examples: int = 600

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("images", "held_out", "examples"):
            whole(name, getattr(self, name))
        for m in self.parts:
            whole("parts", m)
        if len(set(self.parts)) < len(self.parts) or any(m >= self.batch for m in self.parts):
            raise ValueError(f"parts must be different and below the batch, {self.batch}, got {self.parts}.")


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=128,
    learning_rate=0.1,
    augment=True,
    rhos=(0.025, 0.05, 0.1, 0.2),
    parts=(64, 16),
    images=1024,
    held_out=10_000,
    examples=8192,
)

TINY = Config(
    train=120,
    epochs=1,
    looks=1,
    rhos=(0.1,),
    parts=(32,),
    seeds=3,
    images=20,
    held_out=40,
    examples=40,
    model="mlp:widths=(8,)",
)


def cells(config: Config) -> list[Cell]:
    """A run for every arm and seed; SGD's length is 0."""
    arms: list[Cell] = [{"method": "sgd", "m": config.batch, "rho": 0.0}]
    for rho in config.rhos:
        arms += [{"method": name, "m": m, "rho": rho} for name in CUT for m in (config.batch, *config.parts)]
        arms += [{"method": "random", "m": config.batch, "rho": rho}]
    return [{**arm, "seed": seed} for arm in arms for seed in range(config.seeds)]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, ["sgd"])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, look at it under its own perturbation on the way, and measure its flatness at the end."""
    name, rho, m = str(cell["method"]), float(str(cell["rho"])), int(str(cell["m"]))
    method = method_of(name, rho, None if m == config.batch else m)
    return perturbed_run(config, method, cell, context, partial(look, config, name, rho, m))


def look(config: Config, name: str, rho: float, m: int, model: nn.Module, data: Dataset, final: bool) -> Row:
    """Errors, what the network's own perturbation makes it forget, and in the end the largest eigenvalue."""
    splits = {"train": in_order(data.train), "test": in_order(data.test)}
    found = columns(measure(model, None, splits, [Accuracy(), Calibration()]))
    readings = dict.fromkeys(FORGETTING, 0.0)
    if rho:
        parts = [Split(x, y) for x, y in in_order(data.train.take(min(config.images, len(data.train))), m)]
        others = data.test.take(min(config.held_out, len(data.test)))
        readings = forgotten(model, parts, others, name, rho)
    found |= {f"{quantity}/own": readings[quantity] for quantity in FORGETTING}
    if final:
        some = in_order(data.train.take(min(config.examples, len(data.train))))
        (largest,) = measure(model, nn.functional.cross_entropy, some, TopEigenvalues(tol=1e-2))
        found["lambda_max"] = largest.value
    return found


def runs(rows: Sequence[Row]) -> list[Row]:
    """One row per run, with every measure under its name."""
    return [
        row
        if row["diverged"]
        else {**row, **{name: row[f"{name}/own"] for name in FORGETTING}, "flatness": -row["lambda_max"]}
        for row in over_training(rows, ("method", "m", "rho", "seed"))
    ]


def kendall(x: Sequence[float], y: Sequence[float]) -> float:
    """Kendall's tau-b, in [-1, 1], which allows for ties; 0 if either is constant.

    Example:
        >>> kendall([1, 2, 3], [7, 8, 9]), kendall([1, 1, 1], [1, 2, 3])
        (1.0, 0.0)
    """
    from scipy.stats import kendalltau

    if min(x) == max(x) or min(y) == max(y):
        return 0.0
    found: Any = kendalltau(x, y)  # SciPy's result has no type
    return round(float(found.statistic), 12)


def all_arms(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """The whole grid as one group."""
    return [rows]


def of_one_rho(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """A group for every length; SGD has none."""
    return [[row for row in rows if row["rho"] == rho] for rho in sorted({row["rho"] for row in rows} - {0.0})]


def correlations(rows: Sequence[Row], groups: Groups) -> list[Row]:
    """For each measure and seed its correlation with accuracy over the arms of a group, mean over the groups.

    A seed of which a run diverged or is missing leaves rows that say so.
    """
    mine, found = runs(rows), []
    arms = {(row["method"], row["m"], row["rho"]) for row in mine}
    for seed in sorted({row["seed"] for row in mine}):
        here = [row for row in mine if row["seed"] == seed]
        broken = len(here) < len(arms) or any(row["diverged"] for row in here)
        for name in MEASURES:
            tau = None if broken else fmean(_tau(group, name) for group in groups(here))
            found.append({"method": name, "seed": seed, "tau": tau})
    return found


def _tau(rows: Sequence[Row], name: str) -> float:
    return kendall([row[name] for row in rows], [-row["test_error"] for row in rows])


def above(pairs: Sequence[tuple[str, str]], groups: Groups, rows: Sequence[Row]) -> list[Effect]:
    """Correlations of measures with accuracy, each less that of another, or alone where that is empty."""
    found = correlations(rows, groups)
    return [
        Effect.of(
            f"{MEASURES[one]} less {MEASURES[other]}" if other else MEASURES[one],
            contrast(found, {one: 1, other: -1} if other else {one: 1}, "tau"),
            "above",
        )
        for one, other in pairs
    ]


VANI = "Vani, Tung, Oliveira, Sharifi, ICML 2024"

CLAIMS = (
    Claim(
        id="forgetting_goes_with_accuracy",
        text="The more information outputs forget under a network's own perturbation, the more accurate it is.",
        source=f"{VANI}; the measure is ours",
        check=partial(above, [(name, "") for name in FORGETTING], all_arms),
    ),
    Claim(
        id="flatness_goes_with_accuracy",
        text="The flatter the minimum, by the largest eigenvalue, the more accurate the network.",
        source="Foret et al., ICLR 2021, and much before it",
        check=partial(above, [("flatness", "")], all_arms),
    ),
    Claim(
        id="forgetting_predicts_better_than_flatness",
        text="Forgetting goes with accuracy more than flatness does.",
        source=f"{VANI}; the measure is ours",
        check=partial(above, [(name, "flatness") for name in FORGETTING], all_arms),
    ),
    Claim(
        id="forgetting_predicts_better_than_rho",
        text="Forgetting goes with accuracy more than the length of the perturbation does.",
        source="Control of this study: the further the weights are moved, the more is forgotten",
        check=partial(above, [(name, "rho") for name in FORGETTING], all_arms),
    ),
    Claim(
        id="forgetting_predicts_better_at_one_rho",
        text="Among arms of one length, forgetting goes with accuracy more than flatness does.",
        source="Control of this study: the further the weights are moved, the more is forgotten",
        check=partial(above, [(name, "flatness") for name in FORGETTING], of_one_rho),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error against forgetting and flatness, arms of one kind joined."""
    found = runs(rows)
    return [
        Figure(
            title="Test error against forgetting and flatness",
            panels=tuple(against(found, name) for name in ("forgetting", "flatness")),
            caption="A point for every arm, at its mean. Arms that differ by rho alone are joined.",
        )
    ]


def against(rows: Sequence[Row], name: str) -> Panel:
    """A curve for every method and size of the parts."""
    curves = []
    for method, m in dict.fromkeys((row["method"], row["m"]) for row in rows):
        mine = [row for row in rows if (row["method"], row["m"]) == (method, m) and not row["diverged"]]
        x = {rho: fmean(row[name] for row in mine if row["rho"] == rho) for rho in {row["rho"] for row in mine}}
        if mine:
            placed = [{**row, "x": x[row["rho"]]} for row in mine]
            curves.append(Curve.of(placed, label(method, m, rows), x="x", y="test_error"))
    return Panel(
        x_label=UNITS[name], y_label="test error (%)", curves=tuple(curves), title=heading(MEASURES[name])
    )


def label(method: str, m: int, rows: Sequence[Row]) -> str:
    """A kind of arm in words."""
    cut = m < max(row["m"] for row in rows)
    return f"{LABELS[method]}, m = {m}" if cut else LABELS[method]


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """Every measure's correlation with accuracy; and every arm."""
    scopes = zip(correlations(rows, all_arms), correlations(rows, of_one_rho), strict=True)
    return [
        means(
            [
                {"measure": MEASURES[row["method"]], "all": row["tau"], "one": other["tau"]}
                for row, other in scopes
            ],
            "Correlation with test accuracy",
            by={"measure": "measure"},
            of={"over all arms": "all", "among arms of one rho": "one"},
            caption="Kendall's tau, means over seeds, 95 % intervals.",
        ),
        means(
            [{**row, "method": LABELS[row["method"]]} for row in runs(rows)],
            "The arms",
            by={"method": "method", "m": "m", "rho": "rho"},
            of={
                "test error (%)": "test_error",
                **{UNITS[name]: name for name in FORGETTING},
                "largest eigenvalue": "lambda_max",
            },
            caption="Means over seeds, 95 % intervals; m images choose the perturbation.",
        ),
    ]

"""Does output bias forgetting end in sharper minima than SAM, and does it generalise better nevertheless?

If perturbations help because outputs forget, and not because minima are flat, then a perturbation that forgets
more should generalise better even where it is sharper. That is what the paper of output bias forgetting (OBF)
reports on ImageNet: networks that are sometimes sharper than SAM's, by the largest eigenvalue of the Hessian,
and more accurate. Here one network is trained with SGD, SAM, OBF (gamma 0, which the authors use for
convolutions, and 1, which they use for vision transformers), and a random step of the same length. The largest
eigenvalue is that of the training loss, by Lanczos' method in evaluation mode.

Curvature of cross-entropy vanishes as the loss does, so networks are also compared at the moment when both had
the same training loss; between looks the eigenvalue counts as a power of the loss. Errors are compared with
every method at the length that does best over the other seeds. Lengths go up to 0.8, because in a first run, up
to 0.2, the longest was the best for all; where networks do not learn there is no verdict.

No table of the paper is at hand to set beside it. In a trial of two seeds on MNIST, OBF's eigenvalue was two to
four times SAM's, and its gain in accuracy over SAM did not reproduce: 94.2 to 94.6 % against 94.7 to 95.3 %.

Expect 2 minutes on 2 cores. ``--paper`` trains a ResNet-18 on all of CIFAR-10 and is meant for a GPU; the paper
itself has ImageNet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log2, nan
from typing import Literal

from torch import nn

from lowland.checks import whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset
from lowland.experiments.columns import columns
from lowland.experiments.perturbed import LABELS, PERTURBATIONS, Perturbed, method_of, perturbed_run
from lowland.experiments.training import check_training
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.measuring.measure import measure
from lowland.report.arms import best_radii, contrast
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import IncompleteError
from lowland.report.means import means
from lowland.report.panels import heading
from lowland.report.radii import guessing, left_out
from lowland.report.shape import at_level
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does output bias forgetting end in sharper minima than SAM, and generalise better nevertheless?"

OBF = ("obf_0", "obf_1")

Side = Literal["above", "below"]

QUANTITIES = {
    "lambda_max": "largest eigenvalue of the Hessian",
    "test_error": "test error (%)",
    "train_loss": "training loss",
    "test_loss": "test loss",
}


@dataclass(frozen=True, kw_only=True)
class Config(Perturbed):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        rhos: Lengths of the perturbations, > 0, ascending.
        looks: How often a run is measured: after epochs evenly spread, the last included.
        examples: The most training images that the eigenvalue is measured on.
    """

    rhos: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    looks: int = 10
    examples: int = 600

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("examples", self.examples)


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=128,
    learning_rate=0.1,
    augment=True,
    examples=8192,
)

TINY = Config(train=120, epochs=2, looks=2, rhos=(0.1, 0.2), seeds=3, examples=40, model="mlp:widths=(8,)")


def cells(config: Config) -> list[Cell]:
    """A run for every method, length and seed; SGD has length 0."""
    arms = [("sgd", 0.0), *((method, rho) for method in PERTURBATIONS for rho in config.rhos)]
    return [{"method": method, "rho": rho, "seed": s} for method, rho in arms for s in range(config.seeds)]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, ["sgd"])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, and measure it on the way."""
    method = method_of(str(cell["method"]), float(str(cell["rho"])))
    return perturbed_run(config, method, cell, context, partial(look, config))


def look(config: Config, model: nn.Module, data: Dataset, final: bool) -> Row:
    """Errors, losses and the largest eigenvalue."""
    splits = {"train": in_order(data.train), "test": in_order(data.test)}
    scores = columns(measure(model, None, splits, [Accuracy(), Calibration()]))
    some = in_order(data.train.take(min(config.examples, len(data.train))))
    (largest,) = measure(model, nn.functional.cross_entropy, some, TopEigenvalues(tol=1e-2))
    return {**scores, "lambda_max": largest.value}


def ended(rows: Sequence[Row]) -> list[Row]:
    """Every run's last look, with the base-2 logarithm of its eigenvalue under ``doublings``."""
    return [{**row, "doublings": doublings(row)} for row in rows if row["final"]]


def doublings(row: Row) -> float | None:
    """Base-2 logarithm of the largest eigenvalue; None where it is not above 0, or the run diverged."""
    value = row.get("lambda_max") or 0.0
    return log2(value) if value > 0 else None


def learnt(rows: Sequence[Row], methods: Sequence[str]) -> tuple[list[Row], str]:
    """The rows at lengths at which networks of all these methods learn, and which were left out, as a sentence.

    Raises:
        IncompleteError: If they learn at none.
    """
    ends = [[row for row in rows if row["final"] and row["method"] == method] for method in methods]
    out = sorted({rho for last in ends for rho in guessing(last)})
    kept = [row for row in rows if row["method"] in methods and row["rho"] not in out]
    if not any(row["rho"] for row in kept):
        raise IncompleteError("At no rho did networks learn; they diverged, or guess.")
    return kept, left_out(out)


def sharper(
    how: Callable[[Sequence[Row]], list[Row]],
    methods: Sequence[str],
    other: str,
    expected: Side,
    rows: Sequence[Row],
) -> list[Effect]:
    """By how many doublings eigenvalues are above another's, at every length; ``how`` makes a row per run."""
    effects = []
    for method in methods:
        kept, note = learnt(rows, (method, other))
        runs = how(kept)
        for rho in sorted({row["rho"] for row in kept} - {0.0}):
            here = [row for row in runs if row["rho"] in (0.0, rho)]
            size = contrast(here, {method: 1, other: -1}, "doublings")
            name = f"{LABELS[method]} over {LABELS[other]}, rho {rho:g}"
            effects.append(Effect.of(name, size, expected, unit="doublings", note=note))
    return effects


def at_equal_loss(rows: Sequence[Row]) -> list[Row]:
    """Of two methods' runs a row each, at the higher of the losses that the two of one length and seed end with.

    Between two looks the eigenvalue counts as a power of the loss. A run that diverged leaves a row that says so.
    """
    runs: dict[tuple[float, int], dict[str, list[Row]]] = {}
    for row in rows:
        runs.setdefault((row["rho"], row["seed"]), {}).setdefault(row["method"], []).append(row)
    found = []
    for (rho, seed), pair in runs.items():
        level = max(track[-1].get("train_loss", nan) for track in pair.values())
        for method, track in pair.items():
            facts = {"method": method, "rho": rho, "seed": seed, "diverged": track[-1]["diverged"]}
            found.append({**facts, "doublings": _when(track, level)})
    return found


def _when(track: Sequence[Row], level: float) -> float | None:
    """The logarithm of a run's eigenvalue when its loss fell to a level; None if there is none."""
    seen = [(row["train_loss"], size) for row in track if (size := doublings(row)) is not None]
    if len(seen) < len(track) or not min(level, *(loss for loss, _ in seen)) > 0:
        return None
    return at_level([log2(loss) for loss, _ in seen], [size for _, size in seen], log2(level))


def lower_error(methods: Sequence[str], other: str, rows: Sequence[Row]) -> list[Effect]:
    """By how much another's test error is above those of methods, each at its best length."""
    return [at_their_best(rows, other, method, "test_error", "points") for method in methods]


def sharper_at_their_best(rows: Sequence[Row]) -> list[Effect]:
    """OBF's eigenvalue over SAM's, each at the length of its best error."""
    return [at_their_best(rows, method, "sam", "doublings", "doublings") for method in OBF]


def at_their_best(rows: Sequence[Row], one: str, two: str, outcome: str, unit: str) -> Effect:
    """One method's outcome less another's, each at the length with the lowest error over the other seeds."""
    best = best_radii(ended(rows), "test_error")
    lengths = {m: sorted({row["rho"] for row in best if row["method"] == m} - {0.0}) for m in (one, two)}
    words = "; ".join(f"{LABELS[m]} {', '.join(f'{r:g}' for r in rhos)}" for m, rhos in lengths.items() if rhos)
    return Effect.of(
        f"{LABELS[one]} less {LABELS[two]}, each at its best",
        contrast(best, {one: 1, two: -1}, outcome),
        "above",
        unit=unit,
        note=f"Lengths, chosen for each seed by the others: {words}.",
    )


VANI = "Vani, Tung, Oliveira, Sharifi, ICML 2024"

CLAIMS = (
    Claim(
        id="sam_is_flatter_than_sgd",
        text="SAM's largest eigenvalue is below SGD's.",
        source="Foret et al., ICLR 2021",
        check=partial(sharper, ended, ("sam",), "sgd", "below"),
    ),
    Claim(
        id="obf_is_sharper_than_sam",
        text="OBF's largest eigenvalue is above SAM's at the same length.",
        source=f"{VANI}: OBF's minima are sometimes sharper",
        check=partial(sharper, ended, OBF, "sam", "above"),
    ),
    Claim(
        id="obf_is_sharper_at_equal_training_loss",
        text="OBF's largest eigenvalue is above SAM's also when both had the same training loss.",
        source="Control of this study: curvature vanishes as cross-entropy does",
        check=partial(sharper, at_equal_loss, OBF, "sam", "above"),
    ),
    Claim(
        id="obf_is_sharper_where_each_is_best",
        text="OBF's largest eigenvalue is above SAM's also where each goes as far as is best for its test error.",
        source=f"{VANI}: lengths are tuned",
        check=sharper_at_their_best,
    ),
    Claim(
        id="obf_generalises_better_than_sam",
        text="OBF's test error is below SAM's, each at its best length.",
        source=f"{VANI}, ImageNet",
        check=partial(lower_error, OBF, "sam"),
    ),
    Claim(
        id="obf_generalises_better_than_sgd",
        text="OBF's test error at its best length is below SGD's.",
        source=f"{VANI}, ImageNet",
        check=partial(lower_error, OBF, "sgd"),
    ),
    Claim(
        id="sam_generalises_better_than_a_random_step",
        text="SAM's test error is below that of a random step, each at its best length.",
        source=f"{VANI} (random control)",
        check=partial(lower_error, ("sam",), "random"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Eigenvalue and error against rho, and the eigenvalue over training."""
    middle = config.rhos[len(config.rhos) // 2]
    here = [row for row in rows if row["rho"] in (0.0, middle)]
    return [
        Figure(
            title="Sharpness and error against rho",
            panels=tuple(against_rho(ended(rows), name) for name in ("lambda_max", "test_error")),
            caption="After training; rho 0 is SGD.",
        ),
        Figure(
            title="Sharpness and loss over training",
            panels=tuple(over_epochs(here, name) for name in ("lambda_max", "train_loss")),
            caption=f"With perturbations of length {middle:g}, and SGD.",
        ),
    ]


def against_rho(rows: Sequence[Row], quantity: str) -> Panel:
    """A curve for every perturbation, each from SGD on."""
    mine = {m: [row for row in rows if row["method"] in ("sgd", m)] for m in PERTURBATIONS}
    curves = [Curve.of(found, LABELS[m], x="rho", y=quantity) for m, found in mine.items()]
    label = QUANTITIES[quantity]
    return Panel(
        x_label="rho", y_label=label, curves=tuple(curves), title=heading(label), x_scale="even", y_scale="log"
    )


def over_epochs(rows: Sequence[Row], quantity: str) -> Panel:
    """A curve over training for every method."""
    methods = dict.fromkeys(row["method"] for row in rows)
    curves = [Curve.of(rows, LABELS[m], x="epoch", y=quantity, where={"method": m}) for m in methods]
    label = QUANTITIES[quantity]
    return Panel(
        x_label="epoch", y_label=label, curves=tuple(curves), title=heading(label), y_scale="log", spread="band"
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every method and length."""
    table = means(
        [{**row, "method": LABELS[row["method"]]} for row in ended(rows)],
        "Sharpness and error by method and rho",
        by={"method": "method", "rho": "rho"},
        of={label: quantity for quantity, label in QUANTITIES.items()},
        caption="Means over seeds after training, 95 % intervals.",
    )
    return [table.marked(QUANTITIES["test_error"])]

"""Does output bias forgetting drop a planted shortcut that SGD and SAM keep?

If output bias forgetting (OBF) makes networks forget biases, a bias put there on purpose should be the first to
go. Here every training image carries a patch that names a class by its place, in most images the image's own, in
the others another. On test images where the patch always misleads, the error tells how far a network went by the
patch; on those where it agrees, and on those without a patch, how well it does else. The seed decides which
training patches mislead.

OBF (gamma 0 and 1) stands beside SGD, SAM, ASAM and GSAM, and a random step of SAM's length. Its direction
resembles a penalty on confident outputs, so label smoothing and the confidence penalty stand beside it too.
Strengths are matched in three ways. Perturbations go as far as SAM's rho, ASAM's ten times that, as its authors
have it for CIFAR-10. Every one has three strengths, and is taken at that which does best where patches mislead,
over the other seeds: all are tuned alike, and by what a user without such images could not see. And the two
output regularisers are taken where their outputs are as sure as OBF's, between their strengths along straight
lines from SGD on; where OBF's are surer than SGD's, or less sure than at their largest strength, there is no
such strength and no verdict.

This is a study of our own, proposed because the published gain in accuracy did not reproduce on MNIST; the paper
plants nothing, and there is nothing published to set beside it. Wrong labels and few images are settings
(``--data digits:label_noise=0.2``, ``--train 200``); patches then go with the wrong labels. ``--kind shade``
lets the patch's brightness name the class. Expect 1 minute on 2 cores; ``--data fashion-mnist`` and ``cifar10``
work as well. ``--paper`` trains a ResNet-18 on 50,000 images and is meant for a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from lowland.checks import ascending, whole
from lowland.experiments.family import spec
from lowland.experiments.shortcut_run import Planted, shortcut_run
from lowland.experiments.training import check_training
from lowland.report.arms import best_radii, contrast
from lowland.report.claim import Claim
from lowland.report.effect import Effect, sentences
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.means import means
from lowland.report.shape import at_level
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does output bias forgetting drop a planted shortcut that SGD and SAM keep?"

TAKEN = 10.0
"""Points by which a misleading patch must raise SGD's error to count as a shortcut."""

HARM = 1.0
"""Points of error without a patch that OBF may lose to SGD."""

OBF = ("obf_0", "obf_1")

PERTURBED = ("sam", "asam", "gsam", *OBF, "random_perturbation")

REGULARISED = ("label_smoothing", "confidence_penalty")

LABELS = {
    "sgd": "SGD",
    "sam": "SAM",
    "asam": "ASAM",
    "gsam": "GSAM",
    "obf_0": "OBF, gamma 0",
    "obf_1": "OBF, gamma 1",
    "random_perturbation": "random step",
    "label_smoothing": "label smoothing",
    "confidence_penalty": "confidence penalty",
}

QUANTITIES = {
    "conflict_error": "error, misleading patch (%)",
    "agree_error": "error, agreeing patch (%)",
    "clean_error": "error, no patch (%)",
    "train_error": "training error (%)",
    "confidence": "confidence",
}


@dataclass(frozen=True, kw_only=True)
class Config(Planted):
    """Settings of the study; the others are those of planted shortcuts and of all image studies.

    Attributes:
        model: A network, with its arguments.
        train: The most training images to take.
        rhos: Lengths of SAM's perturbation, > 0, ascending.
        smoothings: Of the labels, in (0, 1], ascending.
        penalties: Factors on the entropy of the outputs that is taken off the loss, > 0, ascending.
        seeds: Runs of every arm, from different initialisations and patches; a verdict needs 3.
    """

    model: str = "mlp:widths=(128,128)"
    train: int = 600
    rhos: tuple[float, ...] = (0.1, 0.2, 0.4)
    smoothings: tuple[float, ...] = (0.05, 0.1, 0.2)
    penalties: tuple[float, ...] = (0.1, 0.3, 1.0)
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        for name in ("rhos", "smoothings", "penalties"):
            ascending(name, getattr(self, name))
        if self.smoothings[-1] > 1:
            raise ValueError(f"smoothings must be at most 1, got {self.smoothings}.")

    @property
    def strengths(self) -> Mapping[str, tuple[float, ...]]:
        """Those of every method."""
        return {
            "sgd": (0.0,),
            **dict.fromkeys(PERTURBED, self.rhos),
            "label_smoothing": self.smoothings,
            "confidence_penalty": self.penalties,
        }


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=128,
    learning_rate=0.1,
    agreement=0.99,
)

TINY = Config(
    train=120,
    epochs=2,
    model="mlp:widths=(8,)",
    rhos=(0.1,),
    smoothings=(0.1,),
    penalties=(0.3,),
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for every method, strength and seed."""
    return [
        {"method": method, "strength": strength, "seed": seed}
        for method, strengths in config.strengths.items()
        for strength in strengths
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    data = check_training(config, ["sgd"])
    config.planted(data.test, len(data.classes), 0.0)


def trained_with(config: Config, method: str, strength: float) -> tuple[Recipe, Parts]:
    """How an arm is trained; ASAM's length is ten times SAM's.

    Example:
        >>> trained_with(Config(), "asam", 0.1)[0].method, trained_with(Config(), "obf_0", 0.1)[0].method
        ('asam:rho=1', 'obf:gamma=0,method=sam:rho=0.1')
    """
    if method == "label_smoothing":
        return replace(config.recipe("sgd"), label_smoothing=strength), Parts()
    if method == "confidence_penalty":
        return config.recipe("sgd"), Parts(criterion=partial(less_entropy, strength))
    if method in OBF:
        return config.recipe(f"obf:gamma={method[-1]},method={spec('sam', strength)}"), Parts()
    return config.recipe(spec(method, strength)), Parts()


def less_entropy(beta: float, outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy less beta times the entropy of the outputs, mean over the images."""
    log_p = outputs.log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1)
    return nn.functional.nll_loss(log_p, labels) - beta * entropy.mean()


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network on images with patches, and look at what it goes by."""
    recipe, parts = trained_with(config, str(cell["method"]), float(str(cell["strength"])))
    return [{**cell, **shortcut_run(config, recipe, parts, int(str(cell["seed"])), context)}]


def best(rows: Sequence[Row]) -> list[Row]:
    """Of every arm and seed the run at the strength that does best where patches mislead, over the other seeds."""
    return best_radii([{**row, "rho": row["strength"]} for row in rows], "conflict_error")


def less(rows: Sequence[Row], others: Sequence[str], methods: Sequence[str]) -> list[Effect]:
    """By how much others' errors are above those of methods where patches mislead, from a row per arm and seed."""
    sizes = {
        f"{LABELS[other]} less {LABELS[method]}": contrast(rows, {other: 1, method: -1}, "conflict_error")
        for method in methods
        for other in others
    }
    return [Effect.of(name, size, "above", unit="points") for name, size in sizes.items()]


def shortcut_is_taken(rows: Sequence[Row]) -> Effect:
    """By how much misleading patches raise SGD's error above that without patches."""
    size = contrast(rows, {"sgd": 1}, "rise")
    return Effect.of("SGD: error with patches less without", size, "above", TAKEN, unit="points")


def better_at_their_best(others: Sequence[str], rows: Sequence[Row]) -> list[Effect]:
    """By how much others' errors are above OBF's where patches mislead, each at its best strength."""
    return less(best(rows), others, OBF)


def better_than_sam_at_every_rho(rows: Sequence[Row]) -> list[Effect]:
    """The same for SAM, at every length."""
    radii = sorted({row["strength"] for row in rows if row["method"] == "sam"})
    found = {rho: [row for row in rows if row["strength"] == rho] for rho in radii}
    return [
        replace(effect, name=f"rho {rho:g}: {effect.name}")
        for rho, here in found.items()
        for effect in less(here, ["sam"], OBF)
    ]


def better_at_equal_confidence(rows: Sequence[Row]) -> list[Effect]:
    """The same for the output regularisers where they are as sure as OBF at its best strength."""
    effects = []
    for method in OBF:
        mine = [row for row in best(rows) if row["method"] == method]
        for other in REGULARISED:
            theirs = as_sure(rows, mine, other)
            doubt = unmatched(theirs, method, other)
            found = less([*mine, *theirs], [other], [method])
            effects += [replace(effect, doubt=sentences(effect.doubt, doubt)) for effect in found]
    return effects


def unmatched(theirs: Sequence[Row], method: str, other: str) -> str:
    """A sentence if on some seeds an output regulariser is as sure as OBF at no strength above 0; else empty."""
    count = sum(not row["matched"] for row in theirs)
    words = f"{LABELS[other]} is at no strength above 0 as sure as {LABELS[method]}"
    return f"On {count} of {len(theirs)} seeds {words}." if count else ""


def as_sure(rows: Sequence[Row], wanted: Sequence[Row], method: str) -> list[Row]:
    """For each run that is wanted, a method's error at the strength where it is as sure, from SGD on.

    Where there is no such strength above 0 the row says that it is not ``matched``, and the nearest counts: SGD
    or the greatest. Where a run diverged there is no error.
    """
    found = []
    for row in wanted:
        track = [r for r in rows if r["method"] in ("sgd", method) and r["seed"] == row["seed"]]
        track.sort(key=lambda r: r["strength"])
        error = error_as_sure(row, track)
        matched = (
            error is None or min(r["confidence"] for r in track) <= row["confidence"] < track[0]["confidence"]
        )
        found.append({"method": method, "seed": row["seed"], "conflict_error": error, "matched": matched})
    return found


def error_as_sure(row: Row, track: Sequence[Row]) -> float | None:
    """The error where runs of growing strength are as sure as one; None where one diverged or there is none."""
    if not track or any(r["diverged"] for r in (row, *track)):
        return None
    errors = [r["conflict_error"] for r in track]
    level = at_level([r["confidence"] for r in track], errors, row["confidence"])
    return errors[-1] if level is None else level


def no_harm(rows: Sequence[Row]) -> list[Effect]:
    """By how much OBF's error without patches is above SGD's, at its best strength."""
    sizes = {method: contrast(best(rows), {method: 1, "sgd": -1}, "clean_error") for method in OBF}
    return [Effect.of(f"{LABELS[m]} less SGD", size, "below", HARM, unit="points") for m, size in sizes.items()]


PROPOSED = "Proposed here, after Vani, Tung, Oliveira, Sharifi, ICML 2024"

CLAIMS = (
    Claim(
        id="the_shortcut_is_taken",
        text="A planted patch that misleads raises SGD's error by more than 10 points.",
        source="Control of this study: else there is nothing to drop",
        check=shortcut_is_taken,
    ),
    Claim(
        id="obf_drops_it_more_than_sgd",
        text="Where planted patches mislead, OBF's error is below SGD's.",
        source=PROPOSED,
        check=partial(better_at_their_best, ("sgd",)),
    ),
    Claim(
        id="obf_drops_it_more_than_sam_of_the_same_length",
        text="Where planted patches mislead, OBF's error is below SAM's with the same rho.",
        source=PROPOSED,
        check=better_than_sam_at_every_rho,
    ),
    Claim(
        id="obf_drops_it_more_than_sams_family",
        text="Where planted patches mislead, OBF's error is below SAM's, ASAM's and GSAM's, each at its best "
        "length.",
        source=PROPOSED,
        check=partial(better_at_their_best, ("sam", "asam", "gsam")),
    ),
    Claim(
        id="obf_drops_it_more_than_a_random_step",
        text="Where planted patches mislead, OBF's error is below that of a random step, each at its best length.",
        source=PROPOSED,
        check=partial(better_at_their_best, ("random_perturbation",)),
    ),
    Claim(
        id="obf_drops_it_more_than_output_regularisers",
        text="Where planted patches mislead, OBF's error is below label smoothing's and the confidence penalty's "
        "at their best strength.",
        source="Control of this study: OBF's direction resembles a confidence penalty",
        check=partial(better_at_their_best, REGULARISED),
    ),
    Claim(
        id="obf_drops_it_more_at_equal_confidence",
        text="Where planted patches mislead, OBF's error is below label smoothing's and the confidence penalty's "
        "at the strength at which they are as sure of their answers as OBF.",
        source="Control of this study: OBF's direction resembles a confidence penalty",
        check=better_at_equal_confidence,
    ),
    Claim(
        id="obf_does_no_harm_without_patches",
        text="Without planted patches OBF's error is less than one point above SGD's.",
        source="Control of this study: a shortcut can be dropped with all else",
        check=no_harm,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Errors against rho, where patches mislead and without."""
    return [
        Figure(
            title="Errors against rho",
            panels=tuple(against_rho(rows, name) for name in ("conflict_error", "clean_error")),
            caption="At 0 is SGD. ASAM goes ten times as far.",
        )
    ]


def against_rho(rows: Sequence[Row], quantity: str) -> Panel:
    """A curve for every perturbation, each from SGD on."""
    mine = {m: [row for row in rows if row["method"] in ("sgd", m)] for m in PERTURBED}
    curves = [Curve.of(found, LABELS[m], x="strength", y=quantity) for m, found in mine.items()]
    label = QUANTITIES[quantity]
    title = label[:1].upper() + label[1:].removesuffix(" (%)")
    return Panel(x_label="rho of SAM", y_label=label, curves=tuple(curves), title=title, x_scale="even")


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every arm and strength."""
    table = means(
        [{**row, "method": LABELS[row["method"]]} for row in rows],
        "Errors by method and strength",
        by={"method": "method", "strength": "strength"},
        of={heading: column for column, heading in QUANTITIES.items()},
        caption="Means over seeds, 95 % intervals. Confidence: highest probability, mean over test images whose "
        "patch agrees.",
    )
    return [table.marked(QUANTITIES["conflict_error"])]

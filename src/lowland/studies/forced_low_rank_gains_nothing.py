"""Would a network generalise better for the low rank of its features alone, without sharpness-aware minimisation?

SAM lowers the rank of features and the test error. If low rank were the reason, forcing it should help as well.
Here networks are trained by SGD with a linear bottleneck in front of the head: two linear layers, from the
width of the features down to a few numbers and up again, which leave what the head sees at most so many
principal components and add nothing else. They are set beside SGD without a bottleneck, and beside SAM at its
best radius, which is chosen for each seed by the other seeds. Rank is that of what the head sees: components
that explain 99 % of the variance over training images.

A trained bottleneck does more than its width says: it leaves a classifier about as many components as there are
classes, however wide it is, and so comes nowhere near SAM's rank. For the comparison at equal rank there are
fixed ones as well, projections onto a random subspace, which are not trained (trained ones begin as such) and
leave a rank that follows their width. Errors at SAM's own rank lie on a line between the two projections around
it; none at all counts as the widest.

By default there are 300 training images: with all of the digits the error is near 1 %, and SAM's own gain too
small to compare anything with; on five other seeds that are not used here it was a few tenths of a point with
300 and none with all. SAM does not lower the rank in a plain ``mlp``, where it rises before it falls; use
``conv`` or a residual network. On Fashion-MNIST SAM's gain is too small for five seeds.

Expect 2 minutes on 2 cores, and 5 for ``--data fashion-mnist --train 2000 --seeds 5 --projections 128 256 512
768``. ``--paper`` puts bottlenecks into the residual network of the paper's image classifiers and is meant for
a GPU; the paper's own control was made on image-text pairs, and its numbers are in the last table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from torch import nn

from lowland import catalog
from lowland.checks import ascending, whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset
from lowland.experiments.columns import columns
from lowland.experiments.training import Training, check_training, training_run
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measurements.feature_rank import FeatureRank
from lowland.measuring.measure import measure
from lowland.observe.features import default_layers
from lowland.report.arms import best_radii, contrast
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import IncompleteError
from lowland.report.interval import interval
from lowland.report.means import means
from lowland.report.shape import at_level
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does forcing the features to a low rank give what SAM gives?"

SOURCE = "Andriushchenko, Bahri, Mobahi, Flammarion, NeurIPS 2023: bottleneck control on MS-COCO"

WIDEST = 16384
SHARE_OF_GAIN = 0.5
FORCED = {"bottleneck": "trained bottleneck", "projection": "fixed projection"}
PUBLISHED = (
    ("SAM, rho 0.1", 81.4, 80.5, 139),
    ("SAM, rho 0.2", 80.9, 80.5, 127),
    ("rho 0, no bottleneck", 76.7, 77.8, 142),
    ("bottleneck 500", 77.3, 76.3, 96),
    ("bottleneck 400", 75.8, 76.4, 97),
    ("bottleneck 300", 76.3, 77.1, 95),
    ("bottleneck 200", 77.1, 76.4, 83),
    ("bottleneck 100", 75.5, 76.8, 57),
)


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        rhos: SAM's radii, > 0, ascending.
        bottlenecks: Widths of the trained bottlenecks, ascending.
        projections: Widths of the fixed ones, ascending; all widths are at most that of the features.
        examples: The most training images that ranks are measured on; ranks compare at equal number.
        seeds: Runs of every setting, from different initialisations; a verdict needs 3.
    """

    train: int = 300
    rhos: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    bottlenecks: tuple[int, ...] = (4, 8, 16, 32)
    projections: tuple[int, ...] = (16, 32, 64, 128, 192)
    examples: int = 2000
    seeds: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("examples", "seeds"):
            whole(name, getattr(self, name))
        for name in ("bottlenecks", "projections"):
            for width in getattr(self, name):
                whole(name, width)
        for name in ("rhos", "bottlenecks", "projections"):
            ascending(name, getattr(self, name))


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=256,
    learning_rate=0.1,
    schedule="steps",
    augment=True,
    rhos=(0.1, 0.2, 0.4),
    bottlenecks=(4, 8, 16, 32, 64, 128),
    projections=(32, 64, 128, 256, 512),
    examples=10_240,
    seeds=3,
)

TINY = Config(
    train=120,
    epochs=2,
    model="conv:widths=(4,4)",
    rhos=(0.1, 0.4),
    bottlenecks=(4,),
    projections=(4, 12),
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for SGD, every radius, every bottleneck and every projection, with every seed."""
    arms: list[tuple[str, float, int]] = [("sgd", 0.0, 0), *(("sam", rho, 0) for rho in config.rhos)]
    arms += [("bottleneck", 0.0, width) for width in config.bottlenecks]
    arms += [("projection", 0.0, width) for width in config.projections]
    return [
        {"method": f"{kind} {width}" if width else kind, "kind": kind, "rho": rho, "width": width, "seed": seed}
        for kind, rho, width in arms
        for seed in range(config.seeds)
    ]


def settings(config: Config, cell: Cell) -> Config:
    """The study's settings with the network of one run.

    Example:
        >>> settings(Config(model="mlp"), {"kind": "projection", "width": 8}).model
        "bottleneck:rank=8,trained=False,model=('mlp')"
    """
    if not cell["width"]:
        return config
    trained = cell["kind"] == "bottleneck"
    return replace(config, model=f"bottleneck:rank={cell['width']},trained={trained},model=({config.model!r})")


def check(config: Config) -> None:
    """Refuse by words what would make every run fail, and a network whose head does not read its last layer.

    Raises:
        ValueError: If the head reads something else, such as one token of several.
    """
    data = check_training(config, ["sgd", "sam"])
    for cell in cells(config):
        if cell["seed"] == 0:
            check_training(settings(config, cell), ["sgd"])
    narrow = settings(config, {"kind": "bottleneck", "width": 1}).model
    model: nn.Module = catalog.build("models", narrow, shape=data.shape, classes=len(data.classes))
    rank = FeatureRank(layers=tuple(default_layers(model)[-2:]))
    found = measure(model, None, in_order(data.train.take(2)), rank)
    if len({reading.settings["width"] for reading in found}) > 1:
        raise ValueError(
            f"model must have a head that reads its last layer, got {config.model!r}. Use conv or mlp."
        )


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, and measure it after the last epoch."""
    recipe = config.recipe(f"sam:rho={cell['rho']:g}" if cell["rho"] else "sgd")
    return training_run(settings(config, cell), recipe, cell, context, partial(look, config), {recipe.epochs})


def look(config: Config, model: nn.Module, data: Dataset, final: bool) -> Row:
    """Errors, losses, and the rank of what the head sees."""
    some = data.train.take(min(config.examples, len(data.train)))
    splits = {"train": in_order(data.train), "test": in_order(data.test), "some": in_order(some)}
    seen = [Accuracy(on=("train", "test")), Calibration(on=("train", "test"))]
    rank = FeatureRank(on="some", layers=default_layers(model)[-1], limit=WIDEST)
    found = columns(measure(model, None, splits, [*seen, rank]))
    return {name.partition("/")[0]: value for name, value in found.items()}


def judged(rows: Sequence[Row]) -> list[Row]:
    """The rows that claims look at: of SAM, for each seed, the radius with the lowest error over the others."""
    return best_radii(rows, "test_error")


def arms(rows: Sequence[Row], *kinds: str) -> list[str]:
    """The arms of some kinds, in their order."""
    return list(dict.fromkeys(row["method"] for row in rows if row["kind"] in kinds))


def sam_gains(rows: Sequence[Row]) -> list[Effect]:
    """SGD's test error less SAM's; and SAM's rank less SGD's."""
    mine = judged(rows)
    gain, fall = contrast(mine, {"sgd": 1, "sam": -1}, "test_error"), contrast(mine, {"sam": 1, "sgd": -1}, "rank")
    return [
        Effect.of("SGD's error less SAM's", gain, "above", unit="points", note=radii(mine)),
        Effect.of("SAM's rank less SGD's", fall, "below", unit="components"),
    ]


def radii(rows: Sequence[Row]) -> str:
    """Which radii SAM was given, as a sentence."""
    chosen = sorted({row["rho"] for row in rows if row["method"] == "sam"})
    return f"SAM's best rho, chosen for each seed by the others: {', '.join(f'{rho:g}' for rho in chosen)}."


def bottlenecks_lower_the_rank(rows: Sequence[Row]) -> list[Effect]:
    """The rank with each bottleneck less that of SGD without one."""
    return [
        Effect.of(arm, contrast(rows, {arm: 1, "sgd": -1}, "rank"), "below", unit="components")
        for arm in arms(rows, "bottleneck", "projection")
    ]


def gain_less_than_half(kind: str, rows: Sequence[Row]) -> list[Effect]:
    """What each bottleneck of a kind gains over SGD, less half of what SAM gains."""
    mine, half = judged(rows), SHARE_OF_GAIN
    weights = {arm: {"sgd": 1 - half, "sam": half, arm: -1.0} for arm in arms(rows, kind)}
    return [
        Effect.of(arm, contrast(mine, each, "test_error"), "below", unit="points") for arm, each in weights.items()
    ]


def worse_at_equal_rank(rows: Sequence[Row]) -> Effect:
    """The error of SGD with a projection that gives SAM's rank, less SAM's error.

    Raises:
        IncompleteError: If a run diverged or is missing.
    """
    mine = judged(rows)
    everything = contrast(mine, dict.fromkeys(arms(rows, "sam", "sgd", "projection"), 1), "test_error")
    if everything.doubt:
        raise IncompleteError(everything.doubt)
    size = interval([pair["forced"] - pair["sam"] for pair in at_equal_rank(mine)])
    ranks = {name: fmean(row["rank"] for row in mine if row["method"] == name) for name in ("sam", "sgd")}
    note = f"Mean rank: {ranks['sam']:.0f} with SAM, {ranks['sgd']:.0f} with SGD and no projection."
    return Effect.of("error with a projection of SAM's rank, less SAM's", size, "above", unit="points", note=note)


def at_equal_rank(rows: Sequence[Row]) -> list[Row]:
    """For every seed SAM's error, and that of SGD with the projection that gives SAM's rank.

    Between two projections errors lie on a line; none counts as the widest. Where every rank is above SAM's the
    lowest counts, where every rank is below it the highest.
    """
    found = []
    for row in rows:
        if row["kind"] != "sam":
            continue
        forced = [r for r in rows if r["kind"] in ("sgd", "projection") and r["seed"] == row["seed"]]
        forced.sort(key=lambda r: -r["rank"])
        ranks, errors = ([r[name] for r in forced] for name in ("rank", "test_error"))
        error = at_level(ranks, errors, row["rank"])
        same = errors[-1] if error is None else error
        found.append({"seed": row["seed"], "sam": row["test_error"], "forced": same, "rank": row["rank"]})
    return found


CLAIMS = (
    Claim(
        id="sam_gains_and_lowers_the_rank",
        text="SAM at its best radius has a lower test error than SGD, and features of a lower rank.",
        source=f"{SOURCE}; without it there is nothing to explain",
        check=sam_gains,
    ),
    Claim(
        id="bottlenecks_lower_the_rank",
        text="With every bottleneck, trained or fixed, what the head sees has a lower rank than without one.",
        source=SOURCE,
        check=bottlenecks_lower_the_rank,
    ),
    Claim(
        id="bottlenecks_gain_nothing",
        text="No trained bottleneck lowers the test error by as much as half of what SAM does.",
        source=f"{SOURCE}; half is the bound of this study",
        check=partial(gain_less_than_half, "bottleneck"),
    ),
    Claim(
        id="projections_gain_nothing",
        text="No fixed projection in front of the head lowers the test error by as much as half of what SAM does.",
        source="Control of this study: a rank that nothing is trained to fit",
        check=partial(gain_less_than_half, "projection"),
    ),
    Claim(
        id="worse_than_sam_at_equal_rank",
        text="At the rank of SAM's features a forced low rank has a higher test error than SAM.",
        source="Control of this study: compared at equal rank",
        check=worse_at_equal_rank,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error and rank against the width of the bottleneck, and error against rank."""
    return [
        Figure(
            title="Bottlenecks of every width",
            panels=(
                against_width(rows, "test_error", "test error (%)", "On test images"),
                against_width(rows, "rank", "feature rank (99 %)", "What the head sees"),
            ),
            caption="SGD with a bottleneck; as level lines SGD and SAM without one, SAM at the radius that is "
            "best for the other seeds.",
        ),
        Figure(
            title="Error against the rank of features",
            panels=(against_rank(rows),),
            caption="Each point is a bottleneck, a projection or a radius, at its mean rank; SGD without any is "
            "on every curve. Were low rank the reason of SAM's gain, the other curves would fall as SAM's does.",
        ),
    ]


def against_width(rows: Sequence[Row], quantity: str, label: str, title: str) -> Panel:
    """The bottlenecks, and what SGD and SAM have without one as level lines."""
    mine = judged(rows)
    curves = [Curve.of(mine, name, x="width", y=quantity, where={"kind": kind}) for kind, name in FORCED.items()]
    widths = sorted({row["width"] for row in mine if row["width"]})
    for kind, name in (("sgd", "SGD"), ("sam", "SAM")):
        level = [{**row, "width": width} for width in widths for row in mine if row["kind"] == kind]
        curves.append(Curve.of(level, name, x="width", y=quantity))
    return Panel(x_label="width", y_label=label, curves=tuple(curves), title=title, x_scale="even")


def against_rank(rows: Sequence[Row]) -> Panel:
    """Error at the mean rank of each bottleneck, projection and radius."""
    plain = [row for row in rows if row["kind"] == "sgd"]
    found = []
    for kind, by, name in (*((kind, "width", name) for kind, name in FORCED.items()), ("sam", "rho", "SAM")):
        found.append(by_rank([*plain, *(row for row in rows if row["kind"] == kind)], by, name))
    return Panel(x_label="feature rank (99 %)", y_label="test error (%)", curves=tuple(found), x_scale="log")


def by_rank(rows: Sequence[Row], by: str, label: str) -> Curve:
    """Errors of all seeds of each setting, at the mean of their ranks."""
    ranks, errors = (Curve.of(rows, label, x=by, y=name) for name in ("rank", "test_error"))
    points = {rank.value: seeds for rank, seeds in zip(ranks.intervals, errors.values, strict=True) if rank}
    return Curve(label=label, x=tuple(sorted(points)), values=tuple(points[rank] for rank in sorted(points)))


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every arm; and the published control."""
    columns = {"test error (%)": "test_error", "train loss": "train_loss", "rank": "rank"}
    caption = f"Means over seeds, 95 % intervals. Rank on at most {config.examples} training images."
    table = means(rows, "Results by arm", by={"method": "method", "rho": "rho"}, of=columns, caption=caption)
    return [table.marked("test error (%)"), published()]


def published() -> Table:
    """What the paper's authors found."""
    return Table(
        title="Published: bottlenecks in contrastive training on MS-COCO",
        columns=("arm", "image-wise accuracy (%)", "text-wise accuracy (%)", "rank, image head"),
        rows=PUBLISHED,
        caption="Trained bottlenecks, 768 to so many and back, in both heads, at rho 0; one seed. Retrieval among "
        "128 pairs; rank (99 %) on 1,280 pairs. From the notebook published with the paper.",
    )

"""Does sharpness-aware minimisation lower the rank of a network's features, and is that why it helps?

One network is trained from several seeds for every radius of a grid, radius 0 being plain SGD. After training, and
a few times on the way, the rank of every layer's features is taken on training images: the number of principal
components that explain 99 % of their variance. The paper finds that the rank falls monotonically with the radius
while the error is lowest at a moderate one, so that low rank comes along with SAM but is not what makes it
generalise. A larger radius also leaves a larger training loss; the control therefore compares SAM's rank with
that of SGD at the moment when SGD had the same training loss.

Expect 2 minutes on 2 cores for the digits, and 10 for ``--data fashion-mnist``. ``--paper`` trains the
paper's network on CIFAR-10 in both settings of its table and is meant for a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.checks import ascending, one_of, whole
from lowland.experiments.images import Images, check_images, image_run
from lowland.report.at_same_loss import at_same_loss
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.excess import excess
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid, IncompleteError
from lowland.report.interval import Interval
from lowland.report.means import means
from lowland.report.panels import against_rho, by_layer, rank_over_training
from lowland.report.radii import (
    best_less,
    effect,
    falls_with_rho,
    final,
    judged,
    layers,
    recipes,
    u_shaped,
    unlearnt,
)
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does SAM lower the rank of features, and is low rank why it generalises better?"

PAPER_TITLE = "Andriushchenko, Bahri, Mobahi, Flammarion, NeurIPS 2023"

RECIPES: Mapping[str, Mapping[str, object]] = {
    "own": {},
    "minimal": {"learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"},
    "state-of-the-art": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "steps"},
}


@dataclass(frozen=True, kw_only=True)
class Config(Images):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        rhos: The radii, ascending from 0, at least three.
        seeds: Runs for every radius, from different initialisations; a verdict needs 3.
        recipes: ``own``, trained as the fields say; ``minimal`` and ``state-of-the-art`` are the paper's two.
    """

    rhos: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
    seeds: int = 5
    recipes: tuple[str, ...] = ("own",)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        ascending("rhos", self.rhos, first=0, least=3)
        for recipe in self.recipes:
            one_of("recipes", recipe, RECIPES)


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=256,
    augment=True,
    examples=10_240,
    looks=12,
    rhos=(0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
    seeds=3,
    recipes=("minimal", "state-of-the-art"),
)

TINY = Config(train=120, epochs=3, examples=60, looks=2, rhos=(0.0, 0.1, 0.4), seeds=3, model="conv:widths=(4,4)")


def cells(config: Config) -> list[Cell]:
    """A run for every recipe, radius and seed."""
    return [
        {"recipe": recipe, "method": f"sam:rho={rho:g}" if rho else "sgd", "rho": rho, "seed": seed}
        for recipe in config.recipes
        for rho in config.rhos
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_images(config, ["sgd", "sam"])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train and measure one network; plain SGD is looked at after every epoch, for the control."""
    method = str(cell["method"])
    recipe = Recipe(**{**vars(config.recipe(method)), **RECIPES[str(cell["recipe"])]})
    return image_run(config, recipe, cell, context, often=method == "sgd")


def rank_falls_beyond_the_best(rows: Sequence[Row]) -> list[Effect]:
    """Rank at the radius with the best error less rank at the largest, for every layer."""
    effects = []
    for recipe in recipes(rows):
        last = judged(rows, recipe)
        most = max(row["rho"] for row in last)
        sizes = {layer: best_less(last, f"rank/{layer}", most) for layer in layers(rows)}
        effects += [effect(rows, recipe, layer, size, "above") for layer, size in sizes.items()]
    return effects


def matched(rows: Sequence[Row], recipe: str, layer: str) -> list[Row]:
    """For every run of SAM: its rank, and SGD's from the same seed when it had SAM's training loss."""
    sound = [row for row in rows if row["recipe"] == recipe and not row["diverged"]]
    plain = [row for row in sound if row["rho"] == 0]
    out = {0.0, *unlearnt(rows, recipe)}
    sam = [row for row in sound if row["final"] and row["rho"] not in out]
    return at_same_loss(sam, plain, f"rank/{layer}")


def lower_at_equal_loss(rows: Sequence[Row]) -> list[Effect]:
    """SAM's rank relative to SGD's at equal training loss, mean over the radii, for every layer.

    Raises:
        IncompleteError: If a run diverged or is missing, or none can be compared.
    """
    effects = []
    for recipe in recipes(rows):
        if doubt := Grid.of(judged(rows, recipe), "train_loss").doubt:
            raise IncompleteError(doubt)
        sizes = {layer: beyond_fitting(rows, recipe, layer) for layer in layers(rows)}
        effects += [effect(rows, recipe, layer, size, "below", "%") for layer, size in sizes.items()]
    return effects


def beyond_fitting(rows: Sequence[Row], recipe: str, layer: str) -> Interval:
    """SAM's rank of one layer relative to SGD's at equal training loss.

    Raises:
        IncompleteError: If none can be compared.
    """
    pairs = matched(rows, recipe, layer)
    if not pairs:
        raise IncompleteError("No run of SAM had a training loss that SGD had at one of its looks.")
    return excess(pairs, "sam", "other")


def knn_u_shaped(rows: Sequence[Row]) -> list[Effect]:
    """The U-shape of the nearest-neighbour error on the last layer's features."""
    return u_shaped(rows, f"knn_error/{layers(rows)[-1]}")


CLAIMS = (
    Claim(
        id="rank_falls_with_rho",
        text="The feature rank of every layer falls as rho grows.",
        source=f"{PAPER_TITLE}: falls in all six grids of the classification experiments",
        check=lambda rows: falls_with_rho(rows, "rank"),
    ),
    Claim(
        id="density_falls_with_rho",
        text="In every layer a smaller share of the units is active as rho grows.",
        source=f"{PAPER_TITLE}: SAM switches ReLU units off",
        check=lambda rows: falls_with_rho(rows, "density"),
    ),
    Claim(
        id="error_is_u_shaped",
        text="Test error is lowest at a moderate rho: it falls from rho = 0 and rises again.",
        source=f"{PAPER_TITLE}: error against rho in the classification experiments",
        check=lambda rows: u_shaped(rows, "test_error"),
    ),
    Claim(
        id="knn_error_is_u_shaped",
        text="The error of nearest neighbours on other data, in the last layer's features, is U-shaped too.",
        source=f"{PAPER_TITLE}: kNN probe on another data set",
        check=knn_u_shaped,
    ),
    Claim(
        id="rank_falls_beyond_the_best_rho",
        text="Rank keeps falling where the error already rises: low rank is a by-product, not the cause.",
        source=f"{PAPER_TITLE}: rank falls on after the best rho",
        check=rank_falls_beyond_the_best,
    ),
    Claim(
        id="rank_is_lower_at_equal_training_loss",
        text="SAM's features have a lower rank than SGD's at the moment when SGD had the same training loss.",
        source="Control of this study: a larger rho also leaves a larger training loss",
        check=lower_at_equal_loss,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error, rank and density against rho, rank over training, and the control."""
    return [figure for recipe in recipes(rows) for figure in recipe_figures(rows, recipe) if figure.panels]


def recipe_figures(rows: Sequence[Row], recipe: str) -> list[Figure]:
    """The figures of one recipe."""
    found = layers(rows)
    of = "" if len(recipes(rows)) == 1 else f", {recipe}"
    return [
        error_figure(rows, recipe, of),
        layer_figure(final(rows, recipe), of),
        Figure(
            title=f"Rank over training{of}",
            panels=tuple(rank_over_training(rows, recipe, layer) for layer in found),
            caption="Feature rank of each layer as training goes on, for every rho.",
        ),
        Figure(
            title=f"Rank at equal training loss{of}",
            panels=tuple(
                at_equal_loss(pairs, layer) for layer in found if (pairs := matched(rows, recipe, layer))
            ),
            caption="SAM's rank after training, and that of SGD from the same seeds at the moment when it had the "
            "same training loss. A gap says that SAM lowers the rank beyond fitting less.",
        ),
    ]


def error_figure(rows: Sequence[Row], recipe: str, of: str) -> Figure:
    """Test error and nearest-neighbour error against rho, without radii at which networks did not learn."""
    out = unlearnt(rows, recipe)
    last = final(rows, recipe)
    shown = [row for row in last if row["rho"] not in out] or last
    left = f" Without rho {', '.join(f'{rho:g}' for rho in out)}, where networks did not learn." if out else ""
    test = Curve.of(shown, "test", x="rho", y="test_error")
    knn = Curve.of(shown, "kNN", x="rho", y=f"knn_error/{layers(rows)[-1]}")
    return Figure(
        title=f"Error against rho, after training{of}",
        panels=(
            against_rho("test error (%)", [test], "On test images"),
            against_rho("kNN error (%)", [knn], "Nearest neighbours, other data"),
        ),
        caption="Left: test error. Right: error of 10 nearest neighbours in the last layer's features on data "
        f"that the network was not trained on.{left}",
    )


def layer_figure(last: Sequence[Row], of: str) -> Figure:
    """Rank and density of every layer against rho."""
    return Figure(
        title=f"Rank and density of every layer, after training{of}",
        panels=(
            against_rho("feature rank (99 %)", by_layer(last, "rank"), "Rank"),
            against_rho("share of active units", by_layer(last, "density"), "Density"),
        ),
        caption="Left: components that explain 99 % of the variance. Right: share of features above 0.",
    )


def at_equal_loss(pairs: Sequence[Row], layer: str) -> Panel:
    """Rank of one layer for SAM, and for SGD at the same training loss."""
    names = {"sam": "SAM", "other": "SGD"}
    return against_rho("feature rank", [Curve.of(pairs, names[key], x="rho", y=key) for key in names], layer)


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every radius: errors, losses, and every layer's rank and density; and the paper's."""
    return [*(results(rows, recipe) for recipe in recipes(rows)), PUBLISHED]


def results(rows: Sequence[Row], recipe: str) -> Table:
    """The table of one recipe."""
    last, found = final(rows, recipe), layers(rows)
    columns = {
        "test error (%)": "test_error",
        "train loss": "train_loss",
        "kNN error (%)": f"knn_error/{found[-1]}",
        **{f"rank {layer}": f"rank/{layer}" for layer in found},
        **{f"density {layer}": f"density/{layer}" for layer in found},
    }
    title = "Results by rho" if len(recipes(rows)) == 1 else f"Results by rho, {recipe}"
    table = means(last, title, by={"rho": "rho"}, of=columns, caption="Means over seeds, 95 % intervals.")
    return table.marked("test error (%)")


PUBLISHED = Table(
    title="Published: pre-activation ResNet-18",
    columns=("data and setting", "rho", "test error (%)", "rank, stage 3 of 4", "kNN error (%)"),
    rows=(
        ("CIFAR-10, minimal", 0, 10.43, 5162, 64.4),
        ("CIFAR-10, minimal", 0.1, 7.8, 4544, 63.3),
        ("CIFAR-10, minimal", 0.2, 7.92, 4161, 62.4),
        ("CIFAR-10, minimal", 0.4, 9.89, 3219, 65.2),
        ("CIFAR-10, minimal", 0.6, 12.39, 2616, 67.1),
        ("CIFAR-10, tuned", 0, 5.22, 3720, 64.8),
        ("CIFAR-10, tuned", 0.1, 4.16, 3138, 63.7),
        ("CIFAR-10, tuned", 0.4, 4.65, 2989, 60.3),
        ("CIFAR-10, tuned", 0.6, 5.74, 2153, 62.3),
        ("CIFAR-10, tuned", 0.8, 6.48, 1673, 63.2),
        ("CIFAR-100, minimal", 0, 34.1, 4218, 26.6),
        ("CIFAR-100, minimal", 0.1, 30.48, 3534, 25.9),
        ("CIFAR-100, minimal", 0.2, 29.31, 3435, 24.8),
        ("CIFAR-100, minimal", 0.4, 28.59, 3082, 25.5),
        ("CIFAR-100, minimal", 0.6, 32.63, 2639, 26.5),
        ("CIFAR-100, tuned", 0, 23.07, 3374, 24.6),
        ("CIFAR-100, tuned", 0.2, 20.61, 2836, 24.2),
        ("CIFAR-100, tuned", 0.6, 21.32, 2434, 23.6),
        ("CIFAR-100, tuned", 0.9, 22.13, 1999, 24.4),
        ("CIFAR-100, tuned", 1.2, 26.91, 1462, 26.7),
        ("Tiny-ImageNet, minimal", 0, 46.85, 6260, 30.9),
        ("Tiny-ImageNet, minimal", 0.1, 43.25, 5632, 29.1),
        ("Tiny-ImageNet, minimal", 0.4, 40.15, 5405, 29.1),
        ("Tiny-ImageNet, minimal", 0.5, 40.81, 4873, 29.6),
        ("Tiny-ImageNet, minimal", 0.6, 43.8, 3490, 30.7),
        ("Tiny-ImageNet, tuned", 0, 35.09, 5979, 28.3),
        ("Tiny-ImageNet, tuned", 0.1, 33.07, 5474, 28.7),
        ("Tiny-ImageNet, tuned", 0.4, 31.16, 5192, 28.2),
        ("Tiny-ImageNet, tuned", 0.6, 33.36, 4957, 29.5),
        ("Tiny-ImageNet, tuned", 0.7, 35.86, 3173, 36.8),
    ),
    caption="As printed in the authors' notebooks, one seed: rank at 99 % of the variance over 10,240 training "
    "images (16,384 features, each example's own mean taken off), neighbours on another data set. Minimal: a "
    "constant step without momentum or decay; tuned: momentum, weight decay and steps that fall.",
)

"""Do small batches take the weights off pixels that say nothing about the class?

Images get a border of Gaussian noise, drawn anew whenever an image is shown, so that nothing can be learnt from
it. Networks of two layers, linear and with ReLU, are trained with small and with large batches for the same number
of equal steps, on the squared distance to the one-hot target and, with ReLU, on cross-entropy. Of the first layer
are followed the norm of the weights on the border over that at the start, and the length of its columns by ring,
from the edge of the picture inwards: the paper's focus map, averaged around the centre. Pixels are centred, in
units of their range; at the start weights are as large on every pixel.

Two things have to be there. The network must keep residuals: in theory the effect is proportional to their
variance (see ``small_batches_find_the_support``). And the noise must be new each time, which the negative control
shows: there every image keeps one border, and one label in five is wrong. The border then serves to remember
single images, and small batches have no reason to let go of it. The support they find is that of what is shown.

Seen on the digits: in a linear network the border goes with small batches and stays with large ones, as theory
has it. With ReLU most of what goes, goes with either, while the target is fitted; small batches take a few percent
more at most, and with cross-entropy, whose residuals vanish, the border keeps most of its weight.

Tried before: a border drawn 15 times for each image, and 60,000 steps of batch 8. Its norm fell to 0.09 with
linear layers and to 0.23 with ReLU, against 0.95 and 0.71 with batch 2,000 after 4,000 steps; in the negative
control it stayed at 0.99, and grew to 2.1 with cross-entropy.

Seeds change initialisation, order and noise of the border; the images are the same. Expect 3 minutes on 2 cores.
For Fashion-MNIST take ``--data fashion-mnist --border 4 --learning-rate 0.01 --large 128``, about 10 minutes: with
steps of 0.05 linear networks diverge, and with smaller ones the effect is slower by their square. ``--paper``
takes MNIST and the paper's batches of 32 and 2,000.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from lowland import catalog
from lowland.checks import fraction, whole
from lowland.experiments.bordered_images import BorderedImages
from lowland.experiments.bordered_run import BorderedTask, bordered_run
from lowland.report.arms import contrast
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Figure, Panel
from lowland.report.means import means
from lowland.report.panels import curves_by
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do small batches take the weights off pixels that say nothing about the class?"

HALF = 0.5
"""Share of its first norm below which a border counts as forgotten."""

KEPT = 0.9
"""Share of its first norm above which a border counts as kept."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A network and what it learns."""

    relu: bool = True
    entropy: bool = False
    memorising: bool = False


ARMS: Mapping[str, Arm] = {
    "linear": Arm(relu=False),
    "ReLU": Arm(),
    "ReLU, cross-entropy": Arm(entropy=True),
    "ReLU, memorising": Arm(memorising=True),
    "ReLU, cross-entropy, memorising": Arm(entropy=True, memorising=True),
}
FRESH = tuple(name for name, arm in ARMS.items() if not arm.memorising)
MEMORISING = tuple(name for name, arm in ARMS.items() if arm.memorising)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        data: A data set of one channel, with its arguments.
        train: The most training images to take.
        border: Pixels of noise on each side.
        noise: Standard deviation of that noise, in units of the range of a pixel, > 0.
        wrong: Share of the labels that are wrong where networks memorise, in (0, 1).
        hidden: Units of the hidden layer.
        learning_rate: Size of a step.
        small: Images in a small batch.
        large: Images in a large one, more.
        steps: Of every run.
        looks: How often weights are looked at, evenly spread.
        seeds: Runs of every setting; a verdict needs 3.
    """

    data: str = "digits"
    train: int = 6000
    border: int = 2
    noise: float = 0.5
    wrong: float = 0.2
    hidden: int = 64
    learning_rate: float = 0.05
    small: int = 8
    large: int = 256
    steps: int = 20_000
    looks: int = 20
    seeds: int = 5

    def __post_init__(self) -> None:
        for name in ("small", "looks", "seeds"):
            whole(name, getattr(self, name))
        whole("large", self.large, self.small + 1)
        whole("steps", self.steps, self.looks)
        fraction("wrong", self.wrong, zero=False, one=False)
        self.task(Arm())
        catalog.module("data.sets", catalog.parse(self.data)[0])

    def task(self, arm: Arm) -> BorderedTask:
        """What an arm is shown, and how it learns."""
        images = BorderedImages(
            data=self.data,
            train=self.train,
            border=self.border,
            noise=self.noise,
            wrong=self.wrong if arm.memorising else 0.0,
            kept=arm.memorising,
        )
        return BorderedTask(
            images=images,
            hidden=self.hidden,
            relu=arm.relu,
            entropy=arm.entropy,
            learning_rate=self.learning_rate,
            steps=self.steps,
        )


PAPER = Config(data="mnist", train=60_000, border=7, learning_rate=0.01, small=32, large=2000, steps=100_000)

TINY = Config(train=60, border=1, hidden=4, small=4, large=20, steps=6, looks=2, seeds=3)


def cells(config: Config) -> list[Cell]:
    """A run for every arm and batch size, with all seeds side by side; where networks memorise, small batches."""
    return [
        {"arm": name, "batch": batch}
        for name, arm in ARMS.items()
        for batch in ((config.small,) if arm.memorising else (config.small, config.large))
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    config.task(Arm()).images.check()


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train all seeds side by side; a row per look and seed."""
    task, batch = config.task(ARMS[str(cell["arm"])]), int(str(cell["batch"]))
    seeds = [derive(seed, "pixels") for seed in range(config.seeds)]
    rows = bordered_run(task, batch, seeds, context, looks=config.looks)
    return [{**cell, **row} for row in rows]


def last(rows: Sequence[Row]) -> list[Row]:
    """The last row of every run, with ``method`` for its arm and the size of its batch."""
    sizes = {row["batch"] for row in rows}
    return [
        {**row, "method": f"{row['arm']}, {'large' if row['batch'] == max(sizes) else 'small'} batches"}
        for row in rows
        if row["final"]
    ]


def over_start(
    arms: Sequence[str], side: Literal["above", "below"], bound: float, rows: Sequence[Row]
) -> list[Effect]:
    """Norm on the border after training with small batches, over that at the start."""
    found = last(rows)
    sizes = {arm: contrast(found, {f"{arm}, small batches": 1}, "border") for arm in arms}
    return [Effect.of(f"{arm}: border over start", size, side, bound) for arm, size in sizes.items()]


def more_with_small_batches(rows: Sequence[Row]) -> list[Effect]:
    """Logarithm of that with large batches less that with small ones."""
    found = last(rows)
    sizes = {
        arm: contrast(found, {f"{arm}, large batches": 1, f"{arm}, small batches": -1}, "log") for arm in FRESH
    }
    return [Effect.of(f"{arm}: ln border, large less small", size, "above") for arm, size in sizes.items()]


PAPER_OF = "Beneventano, Pinto, Poggio 2024"

CLAIMS = (
    Claim(
        id="linear_networks_forget_the_border",
        text="With small batches a linear network's weights on the border fall below half of what they were.",
        source=f"{PAPER_OF}, theory for linear networks",
        check=partial(over_start, ("linear",), "below", HALF),
    ),
    Claim(
        id="relu_networks_forget_the_border",
        text="With small batches a ReLU network's weights on the border fall below half too, with either loss.",
        source=f"{PAPER_OF}, focus maps on MNIST",
        check=partial(over_start, ("ReLU", "ReLU, cross-entropy"), "below", HALF),
    ),
    Claim(
        id="small_batches_forget_more",
        text="After the same number of steps small batches have taken more off the border than large ones.",
        source=f"{PAPER_OF}, focus maps on MNIST: batch 32 against 2,000",
        check=more_with_small_batches,
    ),
    Claim(
        id="memorising_keeps_the_border",
        text="Where it serves to remember wrong labels, the border keeps nine tenths of its weight or more.",
        source="Control of this study: the support is that of the data that are shown",
        check=partial(over_start, MEMORISING, "above", KEPT),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The border over training, and the focus by ring."""
    return [
        Figure(
            title="Weights on the border over training",
            panels=tuple(over_training(rows, name) for name in FRESH),
            caption="Norm of the first layer's weights on the border, over that at the start.",
        ),
        Figure(
            title="Where the first layer looks",
            panels=tuple(by_ring(rows, name) for name in FRESH),
            caption="Length of the columns, what the layer spends on a pixel, over that at the start: "
            f"mean of each ring of pixels, of which the first {config.border} are noise.",
        ),
        Figure(
            title="A border that serves to memorise",
            panels=tuple(over_training(rows, name) for name in MEMORISING),
            caption=f"Every image keeps one border, and {100 * config.wrong:g} % of the labels are wrong.",
        ),
    ]


def over_training(rows: Sequence[Row], arm: str) -> Panel:
    """A curve for every batch size."""
    mine = [row for row in rows if row["arm"] == arm]
    curves = curves_by(mine, "batch", x="step", y="border", label="batch {}")
    return Panel(x_label="step", y_label="border over start", curves=curves, title=arm, spread="band")


def by_ring(rows: Sequence[Row], arm: str) -> Panel:
    """Lengths of columns after training, a curve for every batch size."""
    mine = [row for row in rows if row["arm"] == arm and row["final"] and not row["diverged"]]
    flat = [{**row, "ring": ring, "length": length} for row in mine for ring, length in enumerate(row["rings"], 1)]
    curves = curves_by(flat, "batch", x="ring", y="length", label="batch {}")
    return Panel(x_label="ring, from the edge", y_label="column length over start", curves=curves, title=arm)


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every arm and batch size, and what the paper's figures show."""
    mine = means(
        last(rows),
        "First layer after training",
        by={"network": "arm", "batch": "batch"},
        of={
            "border over start": "border",
            "image over start": "image",
            "AUROC of the image": "auroc",
            "largest eigenvalue over start": "top",
            "train loss": "train_loss",
            "test error (%)": "test_error",
        },
        caption="Means over seeds, 95 % intervals. AUROC: the chance that a pixel of the image has a longer "
        "column than one of the border. Eigenvalue: of W'W of the first layer.",
    )
    return [mine, PUBLISHED]


PUBLISHED = Table(
    title="Published spectrum of the first layer on MNIST",
    columns=("", "start", "batch 2,000", "batch 32"),
    rows=(
        ("largest eigenvalue of W'W", 0.35, 0.35, 2.5),
        ("the others", "as drawn", "as drawn", "collapsed"),
        ("focus map", "even", "noisy everywhere", "border near 0, centre like a digit"),
    ),
    caption="As read off the figures of the authors' repository, without network and learning rate; one run.",
)

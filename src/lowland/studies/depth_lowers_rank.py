"""Do deeper networks prefer lower rank, before training and after it, whatever the optimiser?

Networks of 1 to 16 weight matrices are drawn at random, linear ones and ReLU ones, and given Gaussian inputs. The
rank is the spectral entropy of the kernel matrix of their outputs, K = F F^T for the n x d outputs F of n inputs,
uncentred as in the paper: 0 for a single direction, ln d for d equal ones. The paper reports that the deeper the
network, the lower and the more spread these ranks are, and conjectures that depth gives a larger share of
parameter space to maps of low rank. Here the spread of ReLU networks grows up to depth 8 and falls at 16, where
their mean rank is down to 0.35. For linear networks of any widths the mean has a closed form without anything to
fit (:func:`lowland.theory.rank_vs_depth.rank_vs_depth`), drawn over the measurements. With 64 inputs and hidden
units, 10 outputs and 128 examples, sizes that are a guess, it is near the peaks that the paper shows.

Two controls. Orthogonal matrices have equal singular values, and so have their products: in linear networks of
them depth lowers nothing, and the bias is one of random products, not of depth alone. And ReLU outputs have a mean
that dominates K; its centred form says whether there is more to the fall than that.

Then small networks are trained until they explain 95 % of a linear target of rank 2, from fewer examples than
inputs, by gradient descent, with momentum, by Adam, L-BFGS and a random search that sees no gradient. Many
solutions fit; the rank of the one that is found is taken on fresh inputs. A start from which the target is not
reached is drawn anew, four times at most.

Expect 2 minutes on 2 cores. ``--paper`` takes more draws and seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean, stdev

import torch

from lowland.checks import ascending, fraction, one_of, whole
from lowland.experiments.descend_to import OPTIMIZERS
from lowland.experiments.random_ranks import STARTS, random_ranks
from lowland.experiments.trained_rank import trained_rank
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.means import means
from lowland.report.panels import curves_by
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import generator
from lowland.theory.rank_vs_depth import rank_vs_depth
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do deeper networks prefer lower rank, before training and after it, whatever the optimiser?"

PAPER_TITLE = "Huh, Mobahi, Zhang, Cheung, Agrawal, Isola, TMLR 2023"

NEAR = 0.05
"""Nats within which the closed form is met; what it states for itself."""

BINS = 40

NETS = {"linear": "linear", "relu": "ReLU"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        depths: Weight matrices of the random networks, ascending from 1.
        width: Inputs and hidden units of the random networks.
        outputs: Of the random networks.
        examples: Inputs that the kernel matrix is taken on.
        draws: Random networks for each depth and seed, at least 2.
        trained_depths: Weight matrices of the trained networks, ascending from 1.
        optimizers: Of those that :func:`lowland.experiments.descend_to.descend_to` knows.
        level: Share of the target's variance that may be left, in (0, 1).
        steps: At most, of every training; the random search takes ten times as many.
        seeds: Repetitions of everything; a verdict needs 3.
    """

    depths: tuple[int, ...] = (1, 2, 4, 8, 16)
    width: int = 64
    outputs: int = 10
    examples: int = 128
    draws: int = 200
    trained_depths: tuple[int, ...] = (1, 2, 4, 8)
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    level: float = 0.05
    steps: int = 3000
    seeds: int = 5

    def __post_init__(self) -> None:
        for name in ("width", "outputs", "examples", "steps", "seeds"):
            whole(name, getattr(self, name))
        whole("draws", self.draws, 2)
        fraction("level", self.level, zero=False, one=False)
        for optimizer in self.optimizers:
            one_of("optimizers", optimizer, OPTIMIZERS)
        for name in ("depths", "trained_depths"):
            ascending(name, getattr(self, name), first=1, least=2)

    def sizes(self, depth: int) -> list[int]:
        """Examples, inputs, hidden units and outputs of a random network."""
        return [self.examples, *[self.width] * depth, self.outputs]


PAPER = Config(draws=2000, seeds=10)

TINY = Config(
    depths=(1, 2, 4),
    width=32,
    outputs=8,
    draws=20,
    trained_depths=(1, 2),
    optimizers=("momentum", "lbfgs"),
    steps=300,
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """Random networks for every kind and start, trained ones for every kind and optimiser."""
    runs = [("random", net, start) for net in NETS for start in STARTS]
    runs += [("trained", net, optimizer) for net in NETS for optimizer in config.optimizers]
    return [
        {"part": part, "net": net, "how": how, "seed": seed}
        for part, net, how in runs
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse sizes for which there is no closed form."""
    for depth in config.depths:
        rank_vs_depth(config.sizes(depth))


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """A row for every depth."""
    rows, depths = [], config.depths if cell["part"] == "random" else config.trained_depths
    for at, depth in enumerate(depths):
        context.progress(at / len(depths))
        measure = random_networks if cell["part"] == "random" else trained_network
        rows.append({**cell, "depth": depth, **measure(config, cell, depth)})
    return rows


def random_networks(config: Config, cell: Cell, depth: int) -> Row:
    """Ranks of many draws: their mean and spread, and how often each occurs."""
    net, start, sizes = str(cell["net"]), str(cell["how"]), config.sizes(depth)
    rng = generator(int(str(cell["seed"])), "random", net, start, depth)
    ranks, centred = random_ranks(sizes, start, net == "relu", config.draws, rng)
    counts = torch.histc(torch.tensor(ranks, dtype=torch.float64), BINS, 0.0, math.log(config.outputs))
    return {
        "rank": fmean(ranks),
        "centred": fmean(centred),
        "spread": stdev(ranks),
        "density": (counts / config.draws * BINS / math.log(config.outputs)).tolist(),
        "closed_form": rank_vs_depth(sizes),
        "diverged": False,
    }


def trained_network(config: Config, cell: Cell, depth: int) -> Row:
    """What one network has learnt of the target."""
    net, how, seed = str(cell["net"]), str(cell["how"]), int(str(cell["seed"]))
    steps = config.steps * (10 if how == "random search" else 1)
    return trained_rank(net, depth, how, seed, level=config.level, steps=steps)


def of(rows: Sequence[Row], part: str, **where: object) -> list[Row]:
    """The rows of one part, of one kind of network or way."""
    wanted = {"part": part, **where}
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def ways(rows: Sequence[Row], net: str) -> list[str]:
    """The optimisers that trained a kind of network."""
    return list(dict.fromkeys(row["how"] for row in of(rows, "trained", net=net)))


def over_depth(rows: Sequence[Row], quantity: str, part: str, net: str, how: str) -> Grid:
    """A quantity against depth."""
    return Grid.of(of(rows, part, net=net, how=how), quantity, over="depth")


def meets_closed_form(rows: Sequence[Row]) -> list[Effect]:
    """Measured mean less the closed form, for every depth."""
    off = [{**row, "off": row["rank"] - row["closed_form"]} for row in of(rows, "random")]
    grid = over_depth(off, "off", "random", "linear", "normal")
    sizes = {f"depth {depth:g}: mean less closed form": grid.contrast({depth: 1}) for depth in grid.points}
    return [Effect.of(name, size, "within", NEAR, unit="nats") for name, size in sizes.items()]


def falls_at_every_step(rows: Sequence[Row], quantity: str, net: str, starts: Sequence[str]) -> list[Effect]:
    """The least fall from one depth to the next, for every start."""
    grids = {start: over_depth(rows, quantity, "random", net, start) for start in starts}
    sizes = {
        start: grid.interval(lambda ranks: max(after - before for before, after in pairwise(ranks)))
        for start, grid in grids.items()
    }
    return [
        Effect.of(f"{net}, {start}: least change with depth", size, "below", unit="nats")
        for start, size in sizes.items()
    ]


def falls_in_both(rows: Sequence[Row]) -> list[Effect]:
    """The fall of linear and of ReLU networks with independent entries."""
    return [effect for net in NETS for effect in falls_at_every_step(rows, "rank", net, ("normal", "uniform"))]


def spread_grows(rows: Sequence[Row]) -> list[Effect]:
    """The least rise of the spread over draws from one depth to the next."""
    sizes = {
        net: over_depth(rows, "spread", "random", net, "normal").interval(
            lambda spreads: min(after - before for before, after in pairwise(spreads))
        )
        for net in NETS
    }
    return [
        Effect.of(f"{net}: least change of the spread with depth", size, "above", unit="nats")
        for net, size in sizes.items()
    ]


def orthogonal_keeps(rows: Sequence[Row]) -> Effect:
    """Rank of the deepest less that of the shallowest, with orthogonal matrices."""
    size = over_depth(rows, "rank", "random", "linear", "orthogonal").interval(lambda ranks: ranks[-1] - ranks[0])
    return Effect.of("deepest less shallowest", size, "within", NEAR, unit="nats")


def falls_after_training(rows: Sequence[Row], net: str) -> list[Effect]:
    """Rank correlation of the solution's rank with depth, for every optimiser."""
    grids = {how: over_depth(rows, "rank", "trained", net, how) for how in ways(rows, net)}
    return [
        Effect.of(f"{how}: correlation of rank and depth", trend(grid), "below") for how, grid in grids.items()
    ]


CLAIMS = (
    Claim(
        id="random_linear_networks_follow_the_closed_form",
        text="The mean rank of random linear networks is within 0.05 nats of the closed form at every depth.",
        source="Limit of large sizes: Penson, Zyczkowski 2011, here for any widths",
        check=meets_closed_form,
    ),
    Claim(
        id="rank_falls_with_depth_at_random",
        text="The mean rank of random networks falls with every step in depth: linear, ReLU, normal, uniform.",
        source=f"{PAPER_TITLE}: distribution of ranks of random networks",
        check=falls_in_both,
    ),
    Claim(
        id="spread_grows_with_depth",
        text="The rank of random networks differs more from draw to draw with every step in depth: linear, ReLU.",
        source=f"{PAPER_TITLE}: distribution of ranks of random networks",
        check=spread_grows,
    ),
    Claim(
        id="centred_rank_falls_too",
        text="The rank of random ReLU networks falls with every step in depth also when the mean of their outputs "
        "is taken off.",
        source="Control of this study: the mean dominates the uncentred kernel matrix",
        check=lambda rows: falls_at_every_step(rows, "centred", "relu", ("normal",)),
    ),
    Claim(
        id="orthogonal_networks_keep_their_rank",
        text="Of random orthogonal matrices, the deepest linear network has the rank of the shallowest, within "
        "0.05 nats.",
        source="Control of this study: the singular values of orthogonal products are equal",
        check=orthogonal_keeps,
    ),
    Claim(
        id="deeper_linear_solutions_have_lower_rank",
        text="Trained to the same loss, deeper linear networks end at a lower rank, with every optimiser.",
        source=f"{PAPER_TITLE}: the bias survives training and does not depend on the optimiser",
        check=partial(falls_after_training, net="linear"),
    ),
    Claim(
        id="deeper_relu_solutions_have_lower_rank",
        text="Trained to the same loss, deeper ReLU networks end at a lower rank, with every optimiser.",
        source=f"{PAPER_TITLE}: the bias survives training and does not depend on the optimiser",
        check=partial(falls_after_training, net="relu"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """How ranks are distributed, their mean against depth, and those of solutions."""
    return [
        Figure(
            title="Distribution of the rank of random networks",
            panels=tuple(distribution(config, rows, net) for net in NETS),
            caption="Share of draws with this rank, per nat: normal entries, by the number of weight matrices.",
        ),
        Figure(
            title="Mean rank of random networks",
            panels=(
                against_depth([*starts(rows, "linear"), closed_form(rows)], NETS["linear"]),
                against_depth([*starts(rows, "relu"), centred(rows)], NETS["relu"]),
            ),
            caption="Nothing is fitted in the closed form. Centred: normal entries, the mean of the outputs off.",
        ),
        Figure(
            title="Rank of trained networks",
            panels=tuple(against_depth(solutions(rows, net), NETS[net]) for net in NETS),
            caption="Rank on fresh inputs, once training explains 95 % of a linear target of rank 2 or what the "
            "settings say. At the start: the same networks untrained.",
        ),
    ]


def distribution(config: Config, rows: Sequence[Row], net: str) -> Panel:
    """A curve for each depth."""
    mine, width = of(rows, "random", net=net, how="normal"), math.log(config.outputs) / BINS
    points = [
        {**row, "at": (at + 0.5) * width, "share": share}
        for row in mine
        for at, share in enumerate(row["density"])
    ]
    return Panel(
        x_label="rank (nats)",
        y_label="draws per nat",
        curves=curves_by(points, "depth", x="at", y="share", label="depth {}"),
        title=NETS[net],
        palette="ordered",
        spread="band",
    )


def against_depth(curves: Sequence[Curve], title: str) -> Panel:
    """Rank against the number of weight matrices."""
    return Panel(x_label="depth", y_label="rank (nats)", curves=tuple(curves), title=title, x_scale="even")


def starts(rows: Sequence[Row], net: str) -> list[Curve]:
    """A curve for each way to draw the weights."""
    return [Curve.of(of(rows, "random", net=net, how=how), how, x="depth", y="rank") for how in STARTS]


def closed_form(rows: Sequence[Row]) -> Curve:
    """The prediction, once."""
    mine = of(rows, "random", net="linear", how="normal")
    first = [row for row in mine if row["seed"] == mine[0]["seed"]]
    return Curve.of(first, "closed form", x="depth", y="closed_form")


def centred(rows: Sequence[Row]) -> Curve:
    """ReLU networks without the mean of their outputs."""
    return Curve.of(of(rows, "random", net="relu", how="normal"), "normal, centred", x="depth", y="centred")


def solutions(rows: Sequence[Row], net: str) -> list[Curve]:
    """A curve for each optimiser, and the start."""
    mine = of(rows, "trained", net=net)
    first = [row for row in mine if row["how"] == mine[0]["how"]]
    start = Curve.of(first, "at the start", x="depth", y="rank_before")
    return [*curves_by(mine, "how", x="depth", y="rank"), start]


PUBLISHED = {1: 2.15, 2: 2.07, 4: 1.90, 8: 1.68, 16: 1.46}
"""Peaks of the paper's distributions of linear networks, read off its figure."""


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """Random networks beside the paper's, and what was trained."""
    ours = Curve.of(of(rows, "random", net="linear", how="normal"), "", x="depth", y="rank")
    beside = [
        (int(depth), PUBLISHED.get(int(depth)), size, predicted[0])
        for depth, size, predicted in zip(ours.x, ours.intervals, closed_form(rows).values, strict=True)
    ]
    published = Table(
        title="Published peaks and ours, random linear networks",
        columns=("depth", "published peak", "mean rank here", "closed form"),
        rows=tuple(beside),
        caption="Nats. The paper's values are read off a figure that does not state its sizes.",
    )
    trained = means(
        [{**row, "net": NETS[row["net"]]} for row in of(rows, "trained")],
        "Trained networks",
        by={"network": "net", "optimiser": "how", "depth": "depth"},
        of={
            "rank": "rank",
            "at the start": "rank_before",
            "of the target": "rank_of_target",
            "loss left": "loss",
            "starts": "tries",
        },
        caption="Means over seeds, 95 % intervals; loss as a share of the target's variance; starts until one "
        "got there.",
    )
    return [published, trained]

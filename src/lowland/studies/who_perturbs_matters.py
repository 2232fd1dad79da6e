"""Does it matter which examples choose the perturbation of sharpness-aware minimisation?

SAM ascends along the gradient of some examples and descends along the gradient that the batch has there. Here the
ascent is chosen by each part of the batch for itself, of m examples, m from the whole batch down (m-sharpness); by
the batch before, other data of the same kind; and by chance. All go as far, the radius rho, start from the same
initialisations and see the same batches, so differences are paired by seed.

Where the batch is cut into parts, batch norm sees m examples at a time, and that alone changes training. The
control trains on the same parts without perturbation: what m gains beyond it is the ascent's.

Effects are given for each radius, and a claim about them holds only if it does at all of them; two claims
compare everyone at the radius that did best over the other seeds.

Expect 2 minutes on 2 cores for the digits, and 12 for ``--data fashion-mnist``. ``--paper``
trains a ResNet-18 on all of CIFAR-10 and is meant for a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log2
from statistics import fmean

from lowland.checks import ascending, whole
from lowland.experiments.scores import score_run
from lowland.experiments.training import Training, check_training
from lowland.report.arms import best_radii, contrast, gap
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import IncompleteError
from lowland.report.interval import Interval
from lowland.report.means import mean
from lowland.report.panels import curves_by
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does it matter which examples choose SAM's perturbation?"

NOTHING = 0.25
"""Points of test error that count as no gain."""

OTHERS: Mapping[str, str] = {"stale_sam": "the batch before", "random_perturbation": "chance"}
"""Methods whose perturbation the batch itself does not choose, and who does."""


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        epochs: Passes over the training images.
        batch: Images per step, and the largest m.
        parts: Sizes m of the parts that ascend by themselves, below the batch's, descending.
        rhos: Radii, > 0, ascending.
        seeds: Runs of every perturbation, from different initialisations; a verdict needs 3.
    """

    epochs: int = 12
    batch: int = 128
    parts: tuple[int, ...] = (64, 16)
    rhos: tuple[float, ...] = (0.05, 0.1, 0.2)
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        ascending("rhos", self.rhos)
        for m in self.parts:
            whole("parts", m)
        if not self.parts or list(self.sizes) != sorted(set(self.sizes), reverse=True):
            raise ValueError(
                f"parts must descend from below the batch, {self.batch}, and be at least one, got {self.parts}."
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """All values of m, the whole batch first."""
        return (self.batch, *self.parts)


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    learning_rate=0.1,
    augment=True,
)

TINY = Config(train=120, epochs=2, batch=32, parts=(8,), rhos=(0.1, 0.2), seeds=3, model="conv:widths=(4,4)")


def cells(config: Config) -> list[Cell]:
    """A run for every perturbation, radius and seed; ``m`` is the examples that batch norm and the ascent see."""
    arms: list[Cell] = [{"method": "sgd", "m": m, "rho": 0.0} for m in config.sizes]
    for rho in config.rhos:
        arms += [{"method": "sam", "m": m, "rho": rho} for m in config.sizes]
        arms += [{"method": method, "m": config.batch, "rho": rho} for method in OTHERS]
    return [{**arm, "seed": seed} for arm in arms for seed in range(config.seeds)]


def spec(cell: Cell, batch: int) -> str:
    """How a run is trained; SGD on parts is SAM on parts with radius 0, whose second pass is for nothing.

    Example:
        >>> spec({"method": "sam", "m": 16, "rho": 0.1}, 128), spec({"method": "sgd", "m": 128, "rho": 0.0}, 128)
        ('msam:m=16,rho=0.1', 'sgd')
    """
    method, m, rho = cell["method"], cell["m"], cell["rho"]
    if m != batch:
        return f"msam:m={m},rho={rho:g}"
    return "sgd" if method == "sgd" else f"{method}:rho={rho:g}"


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, [spec(cell, config.batch) for cell in cells(config) if cell["seed"] == 0])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train and measure one network."""
    chosen = spec(cell, config.batch)
    return [{**row, "spec": chosen} for row in score_run(config, config.recipe(chosen), cell, context)]


def named(rows: Sequence[Row]) -> list[Row]:
    """The runs, with the size of the parts in the method's name where the batch is cut."""
    whole_batch = max(row["m"] for row in rows)
    return [row if row["m"] == whole_batch else {**row, "method": f"{row['method']} {row['m']}"} for row in rows]


def each_rho(rows: Sequence[Row], weights: Mapping[str, float], name: str) -> list[Effect]:
    """A contrast of test errors at every radius, above 0 if the claim is right; SGD has none."""
    radii = sorted({row["rho"] for row in rows} - {0.0})
    here = {rho: [row for row in named(rows) if row["rho"] in (0.0, rho)] for rho in radii}
    sizes = {rho: contrast(here[rho], weights, "test_error") for rho in radii}
    return [Effect.of(f"rho {rho:g}: {name}", size, "above", unit="points") for rho, size in sizes.items()]


def at_the_best(rows: Sequence[Row], weights: Mapping[str, float], name: str) -> Effect:
    """A contrast of test errors, each at the radius that is best over the other seeds."""
    mine = best_radii(named(rows), "test_error")
    chosen = {
        arm: sorted({row["rho"] for row in mine if row["method"] == arm}) for arm in weights if "sgd" not in arm
    }
    words = "; ".join(f"{arm} {', '.join(f'{rho:g}' for rho in radii)}" for arm, radii in chosen.items())
    size = contrast(mine, weights, "test_error")
    return Effect.of(
        name, size, "above", unit="points", note=f"Radii, chosen for each seed by the others: {words}."
    )


def slope(rows: Sequence[Row], method: str) -> dict[str, float]:
    """Weights whose contrast is the rise of the error per doubling of m, by least squares over log m.

    Raises:
        IncompleteError: If there is a single m.
    """
    sizes = sorted({row["m"] for row in rows if row["method"] == method})
    if len(sizes) < 2:
        raise IncompleteError(f"A slope over m needs at least 2 sizes of the parts, got {len(sizes)}.")
    middle = fmean(map(log2, sizes))
    total = sum((log2(m) - middle) ** 2 for m in sizes)
    names = {row["m"]: row["method"] for row in named([row for row in rows if row["method"] == method])}
    return {names[m]: (log2(m) - middle) / total for m in sizes}


def smaller_is_better(rows: Sequence[Row]) -> list[Effect]:
    """Rise of SAM's error per doubling of m, at every radius."""
    return each_rho(rows, slope(rows, "sam"), "rise of the error per doubling of m")


def beyond_batch_norm(rows: Sequence[Row]) -> list[Effect]:
    """The same less the rise where nothing is perturbed."""
    return each_rho(rows, beyond(rows), "the rise less that without perturbation")


def beyond(rows: Sequence[Row]) -> dict[str, float]:
    """Weights whose contrast is the rise with perturbation less that without."""
    return {**slope(rows, "sam"), **{arm: -weight for arm, weight in slope(rows, "sgd").items()}}


def smaller_is_better_at_its_best(rows: Sequence[Row]) -> list[Effect]:
    """Both with every m at its best radius."""
    return [
        at_the_best(rows, slope(rows, "sam"), "rise of the error per doubling of m"),
        at_the_best(rows, beyond(rows), "the rise less that without perturbation"),
    ]


def own_beats(method: str, rows: Sequence[Row]) -> list[Effect]:
    """How much lower the error is where the batch itself chooses."""
    return each_rho(rows, {method: 1, "sam": -1}, f"error of {OTHERS[method]} less that of the batch")


def own_beats_at_its_best(method: str, rows: Sequence[Row]) -> Effect:
    """The same with both at their best radius."""
    return at_the_best(rows, {method: 1, "sam": -1}, f"error of {OTHERS[method]} less that of the batch")


def other_data_gains(rows: Sequence[Row]) -> list[Effect]:
    """How much lower the error is than SGD's where the batch before chooses."""
    found = each_rho(rows, {"sgd": 1, "stale_sam": -1}, "SGD's error less that of the batch before")
    return [replace(effect, expected="below", bound=NOTHING) for effect in found]


UNDERSTANDING = "Andriushchenko, Flammarion, ICML 2022"

CLAIMS = (
    Claim(
        id="smaller_m_is_better",
        text="The fewer examples share an ascent, the lower SAM's test error.",
        source=f"Foret et al., ICLR 2021, section 4.1 (m-sharpness); {UNDERSTANDING}, figure 1",
        check=smaller_is_better,
    ),
    Claim(
        id="smaller_m_is_better_at_its_best_radius",
        text="The fewer examples share an ascent, the lower SAM's test error, each m at its own best radius.",
        source="Foret et al., ICLR 2021, section 4.1: radii are tuned",
        check=smaller_is_better_at_its_best,
    ),
    Claim(
        id="smaller_m_is_better_beyond_batch_norm",
        text="It is the ascent that gains from fewer examples, not batch norm that sees fewer at a time.",
        source="Control of this study: the same parts without perturbation",
        check=beyond_batch_norm,
    ),
    Claim(
        id="own_data_beats_other_data",
        text="An ascent along the batch's own gradient gives a lower error than one along the batch before's.",
        source=f"{UNDERSTANDING}, section 3: the perturbation must come from the same examples",
        check=partial(own_beats, "stale_sam"),
    ),
    Claim(
        id="own_data_beats_other_data_at_their_best_radii",
        text="An ascent along the batch's own gradient is better also where each ascent has its own best radius.",
        source=f"{UNDERSTANDING}, section 3: radii are tuned",
        check=partial(own_beats_at_its_best, "stale_sam"),
    ),
    Claim(
        id="other_data_gains_nothing",
        text="An ascent along the batch before's gradient gains less than a quarter of a point over SGD.",
        source=f"{UNDERSTANDING}, section 3: SAM with other data's perturbation is no better than plain training",
        check=other_data_gains,
    ),
    Claim(
        id="own_data_beats_chance",
        text="An ascent along the batch's own gradient gives a lower error than a random step as long.",
        source="Foret et al., ICLR 2021; Vani et al., ICML 2024 (random control)",
        check=partial(own_beats, "random_perturbation"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error against m, with and without perturbation; and error against rho by who chooses."""
    return [
        Figure(
            title="Test error against m",
            panels=(over_m(rows),),
            caption="SAM whose ascent is shared by m examples, and training on the same parts without ascent, "
            "where only batch norm sees fewer examples at a time.",
        ),
        Figure(
            title="Test error by who chooses the perturbation",
            panels=(over_rho(config, rows),),
            caption="All perturbations are as long, rho; rho 0 is plain SGD.",
        ),
    ]


def over_m(rows: Sequence[Row]) -> Panel:
    """A curve over m for every radius, and without ascent."""
    plain = Curve.of(rows, "no ascent", x="m", y="test_error", where={"method": "sgd"})
    sam = [row for row in rows if row["method"] == "sam"]
    return Panel(
        x_label="m, examples that share an ascent",
        y_label="test error (%)",
        curves=(plain, *curves_by(sam, "rho", x="m", y="test_error", label="rho {:g}")),
        x_scale="even",
    )


def over_rho(config: Config, rows: Sequence[Row]) -> Panel:
    """A curve over the radii for everyone who chooses, from plain SGD."""
    base = [row for row in rows if row["method"] == "sgd" and row["m"] == config.batch]
    curves = []
    for method, m in [*((name, config.batch) for name in OTHERS), *(("sam", m) for m in config.sizes)]:
        mine = [row for row in rows if row["method"] == method and row["m"] == m]
        name = OTHERS.get(method, f"the batch, m = {m}" if m == config.batch else f"parts, m = {m}")
        curves.append(Curve.of([*base, *mine], name, x="rho", y="test_error"))
    return Panel(x_label="rho", y_label="test error (%)", curves=tuple(curves), x_scale="even")


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every perturbation and radius: errors, and the difference to SGD."""
    columns = ("who chooses", "m", "rho", "test error (%)", "less SGD's", "train error (%)")
    settings = dict.fromkeys((row["method"], row["m"], row["rho"]) for row in rows)
    table = Table(
        title="Results by perturbation",
        columns=columns,
        rows=tuple(line(rows, *setting) for setting in settings),
        caption="Means over seeds, 95 % intervals; differences in points, paired by seed. Without ascent, m is "
        "what batch norm sees at a time.",
    )
    return [table.marked("test error (%)")]


def line(rows: Sequence[Row], method: str, m: int, rho: float) -> tuple[str | float | Interval | None, ...]:
    """One line; the difference is empty where a run diverged."""
    mine = [row for row in rows if (row["method"], row["m"], row["rho"]) == (method, m, rho)]
    plain = [row for row in named(rows) if row["method"] == "sgd"]
    pair = [*({**row, "method": "it"} for row in mine), *plain]
    less = None if mine == plain else gap(pair, "it", "sgd", "test_error")
    who = OTHERS.get(method, "no ascent" if method == "sgd" else "the examples themselves")
    return (who, m, rho, mean(mine, "test_error"), less, mean(mine, "train_error"))

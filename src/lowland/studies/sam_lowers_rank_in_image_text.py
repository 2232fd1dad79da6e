"""Does sharpness-aware minimisation lower the rank of features where images and texts are learnt together?

An image tower and a text tower are trained so that a picture and its words agree more than a picture and the
words of others: InfoNCE at temperature 0.05. Pictures are emoji, each concept drawn by up to three teams; two
teams' drawings are trained on, and the third's are what is retrieved, so the words have been seen and the
pictures have not. Ranks are components that explain 99 % of the variance over those unseen pairs, at the linear
heads of both towers and inside the image tower: residual stream, attention, before and after the GELU, and what
the MLP writes, at the class token.

The paper fine-tunes two large pretrained towers on photographs with captions. There both heads' ranks fall with
the radius, so does the residual stream, and the share of active GELUs hardly moves, so that unlike in networks
of ReLUs units that are switched off are not the reason. Here both towers are small, learn from nothing, and
1,000 concepts are soon learnt by heart: expect other radii, and gains that a few seeds may not tell from none.
SAM acts on Adam, as there, whose released code forgets Adam's state at every step, though; ours does not.

Radii are compared after equally long training and not at one training loss, which rises with the radius (the
table has it): some of a fall in rank may be that less was fitted.

Expect 4 minutes on 2 cores. The emoji are read from the folder that LOWLAND_DATA names; ``--data shapes`` is a
drawn stand-in for trying things out, which needs no files. ``--paper`` trains larger towers on all of the emoji
and is meant for a GPU: photographs with captions are not among our data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lowland.experiments.image_text import ImageTexts, check_image_texts, image_text_cells, image_text_run
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure
from lowland.report.grid import Grid
from lowland.report.interval import interval
from lowland.report.means import means
from lowland.report.panels import against_rho
from lowland.report.radii import effect, final, judged, u_shaped, unlearnt
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does SAM lower the rank of features in contrastive image-text training?"

SOURCE = "Andriushchenko, Bahri, Mobahi, Flammarion, NeurIPS 2023: contrastive training on MS-COCO"

RECIPE = "own"
HEADS = ("image head", "text head", "text, pooled")
INSIDE = ("attention", "pre-GELU", "MLP")
FLAT = 10.0
PUBLISHED = (
    (0.0, 76.7, 77.8, 142, 87, 196),
    (0.1, 81.4, 80.5, 139, 81, 131),
    (0.2, 80.9, 80.5, 127, 69, 87),
    (0.25, 80.1, 80.8, 118, 62, 75),
    (0.3, 74.1, 74.8, 68, 32, 36),
)
PUBLISHED_INSIDE = (
    (0.0, 161, 102, 122, 112, 421),
    (0.1, 153, 99, 117, 111, 437),
    (0.2, 145, 97, 108, 113, 433),
    (0.25, 140, 93, 103, 112, 433),
    (0.3, 110, 73, 71, 93, 403),
)


@dataclass(frozen=True, kw_only=True)
class Config(ImageTexts):
    """Settings of the study: those of all studies of image-text pairs."""


PAPER = Config(
    data="emoji:side=32,length=16",
    stem=(64, 128),
    depth=12,
    text_depth=6,
    width=192,
    outputs=192,
    epochs=200,
    rhos=(0.0, 0.02, 0.05, 0.1, 0.2),
)

TINY = Config(
    data="shapes:side=8,length=4",
    stem=(8,),
    depth=1,
    width=16,
    outputs=16,
    epochs=2,
    batch=48,
    gallery=32,
    rhos=(0.0, 0.01, 0.02),
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for every radius and seed."""
    return image_text_cells(config)


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_image_texts(config)


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train and measure two towers."""
    return image_text_run(config, cell, context)


def falls(rows: Sequence[Row], names: Sequence[str]) -> list[Effect]:
    """Spearman correlation of rho and rank, for every site."""
    last = judged(rows, RECIPE)
    return [effect(rows, RECIPE, name, trend(Grid.of(last, f"rank/{name}")), "below") for name in names]


def inside(rows: Sequence[Row]) -> tuple[str, ...]:
    """The sites inside the blocks that the claim is about: the residual stream after every block, and others."""
    residual = (key.removeprefix("rank/") for row in rows for key in row if key.startswith("rank/residual"))
    return (*dict.fromkeys(residual), *INSIDE)


def retrieval_is_u_shaped(rows: Sequence[Row]) -> list[Effect]:
    """The U-shape of the error, of finding texts and of finding images."""
    kinds = {"image-wise": "image_error", "text-wise": "text_error"}
    return [
        Effect.of(f"{kind}: {found.name}", found.interval, "above", unit="points", note=found.note)
        for kind, error in kinds.items()
        for found in u_shaped(rows, error)
    ]


def density_is_flat(rows: Sequence[Row]) -> Effect:
    """By how many percent the share of active GELUs is higher at the largest radius than without SAM."""
    grid = Grid.of(judged(rows, RECIPE), "density/GELU")
    change = replace(interval([100 * (row[-1] / row[0] - 1) for row in grid.values]), doubt=grid.doubt)
    return Effect.of(f"density at rho {grid.points[-1]:g} over that at 0", change, "within", FLAT, unit="%")


CLAIMS = (
    Claim(
        id="rank_of_the_heads_falls",
        text="The rank of both heads, and of the text tower's mean over words, falls as rho grows.",
        source=f"{SOURCE}: 142 to 68, 87 to 32 and 196 to 36 over rho 0 to 0.3",
        check=lambda rows: falls(rows, HEADS),
    ),
    Claim(
        id="rank_inside_the_blocks_falls",
        text="Inside the image tower the residual stream, attention, pre-GELU and MLP outputs fall in rank too.",
        source=f"{SOURCE}: in block 12 the first three fall, the last at the largest rho only",
        check=lambda rows: falls(rows, inside(rows)),
    ),
    Claim(
        id="retrieval_error_is_u_shaped",
        text="Retrieval, of texts and of images, is best at a moderate rho.",
        source=f"{SOURCE}: best at rho 0.1 to 0.25, below plain training at 0.3",
        check=retrieval_is_u_shaped,
    ),
    Claim(
        id="gelu_density_is_flat",
        text=f"The share of active GELUs changes by less than {FLAT:g} % of itself up to the largest rho.",
        source=f"{SOURCE}: roughly flat; the bound is this study's",
        check=density_is_flat,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Retrieval, and ranks of heads and inside blocks, against rho."""
    last = final(rows, RECIPE)
    retrieval = {"of texts, for an image": "image_error", "of images, for a text": "text_error"}
    curves = [Curve.of(last, name, x="rho", y=error) for name, error in retrieval.items()]
    active = Curve.of(last, "GELU", x="rho", y="density/GELU")
    return [
        Figure(
            title="Retrieval against rho",
            panels=(against_rho("error (%)", curves, "Among the pairs of a gallery"),),
            caption="Share of test pictures whose words, and of words whose picture, do not come first among "
            f"{rows[0]['classes']}.{left_out(rows)}",
        ),
        Figure(
            title="Rank of the heads against rho",
            panels=(against_rho("feature rank (99 %)", by_site(last, HEADS), "Both towers"),),
            caption="What both heads give back, before it is normalised, and the text tower's mean over words.",
        ),
        Figure(
            title="Inside the image tower",
            panels=(
                against_rho("feature rank (99 %)", by_site(last, inside(rows)), "Rank"),
                against_rho("feature rank (99 %)", by_site(last, ["GELU"]), "Rank after the GELU"),
                against_rho("share of active GELUs", [active], "Density"),
            ),
            caption="At the class token: the residual stream after every block, and parts of the last block. A "
            "GELU is active above a tenth of the largest.",
        ),
    ]


def left_out(rows: Sequence[Row]) -> str:
    """Which radii carry no verdict, as a sentence; empty if none."""
    out = ", ".join(f"{rho:g}" for rho in unlearnt(rows, RECIPE))
    return f" At rho {out} training pairs are not learnt; no verdict rests on it." if out else ""


def by_site(rows: Sequence[Row], names: Sequence[str]) -> list[Curve]:
    """A curve for every site."""
    return [Curve.of(rows, name, x="rho", y=f"rank/{name}") for name in names]


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every radius; and the published numbers."""
    last = final(rows, RECIPE)
    scores = {"image-wise error (%)": "image_error", "text-wise error (%)": "text_error", "train loss": "loss"}
    heads = {f"rank {name}": f"rank/{name}" for name in HEADS}
    parts = {f"rank {name}": f"rank/{name}" for name in (*inside(rows), "GELU")}
    return [
        means(last, "Results by rho", by={"rho": "rho"}, of=scores | heads).marked("image-wise error (%)"),
        means(
            last, "Inside the image tower by rho", by={"rho": "rho"}, of=parts | {"density GELU": "density/GELU"}
        ),
        *published(),
    ]


def published() -> list[Table]:
    """What the paper's authors found."""
    heads = ("image-wise accuracy (%)", "text-wise accuracy (%)", *(f"rank {site}" for site in HEADS))
    inside = tuple(f"rank {site}" for site in ("residual", "attention", "pre-GELU", "MLP", "GELU"))
    return [
        Table(
            title="Published: contrastive training on MS-COCO",
            columns=("rho", *heads),
            rows=PUBLISHED,
            caption="Hybrid ViT-Ti and BERT, pretrained, one seed; retrieval among 128 pairs; rank (99 %) on "
            "1,280 pairs. From the notebook published with the paper, whose code takes off each example's own "
            "mean instead of each feature's.",
        ),
        Table(
            title="Published: inside the image tower, block 12",
            columns=("rho", *inside),
            rows=PUBLISHED_INSIDE,
            caption="From the same runs.",
        ),
    ]

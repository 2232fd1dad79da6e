"""One run of a study of image-text pairs: two towers trained by a contrastive loss, and a look at both."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from time import perf_counter

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from lowland import catalog
from lowland.checks import at_least, whole
from lowland.data.pairs import PairBatches, Pairs, galleries
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.weight_rank import WeightRank
from lowland.measuring.measure import measure
from lowland.models._towers.hybrid import Hybrid
from lowland.models._towers.image_text import ImageText
from lowland.models._towers.text import Text
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.train.fit import fit
from lowland.train.hooks import Moment
from lowland.train.keep import Keep
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from lowland.types import Batches, Row

__all__ = ["ImageTexts", "check_image_texts", "image_text_cells", "image_text_run", "info_nce", "sites"]

BLOCKS = "image.blocks"
INSIDE = {"attention": "attention", "pre-GELU": "expand", "GELU": "activation", "MLP": "contract"}
HEADS = {"image head": "image.head", "text head": "text.head", "text, pooled": "text.pool"}
ACTIVE = 0.1


@dataclass(frozen=True, kw_only=True)
class ImageTexts:
    """What a study trains its image and text towers on, and how.

    Attributes:
        data: A set of pairs, with its arguments: ``emoji:concepts=1000``, or ``shapes``, which needs no files.
        stem: Channels of the image tower's first convolutions.
        depth: Transformer blocks of the image tower.
        text_depth: Those of the text tower.
        width: Features of a token in both.
        outputs: Width of what both towers give back, to be compared.
        temperature: That similarities are divided by.
        epochs: Passes over the concepts.
        batch: Pairs in a batch, at least 2.
        learning_rate: The highest of Adam's cosine schedule.
        gallery: Pairs among which the right one is sought, at least 2.
        rhos: SAM's radii, ascending from 0, at least three.
        seeds: Runs of every radius, from different initialisations; a verdict needs 3.
    """

    data: str = "emoji:concepts=1000"
    stem: tuple[int, ...] = (32, 64)
    depth: int = 2
    text_depth: int = 1
    width: int = 64
    outputs: int = 64
    temperature: float = 0.05
    epochs: int = 40
    batch: int = 128
    learning_rate: float = 1e-3
    gallery: int = 128
    rhos: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1)
    seeds: int = 5

    def __post_init__(self) -> None:
        for name in ("depth", "epochs", "seeds"):
            whole(name, getattr(self, name))
        for name in ("batch", "gallery"):
            whole(name, getattr(self, name), 2)
        for rho in self.rhos:
            at_least("rhos", rho, 0)
        if len(self.rhos) < 3 or self.rhos[0] != 0 or list(self.rhos) != sorted(set(self.rhos)):
            raise ValueError(f"rhos must ascend from 0 and be at least three, got {self.rhos}.")
        catalog.module("data.pair_sets", catalog.parse(self.data)[0])

    def recipe(self, rho: float) -> Recipe:
        """How to train with SAM, or with plain Adam at radius 0."""
        return Recipe(
            method=f"sam:rho={rho:g}" if rho else "sgd",
            epochs=self.epochs,
            optimizer="adam",
            learning_rate=self.learning_rate,
        )

    def towers(self, pairs: Pairs) -> ImageText:
        """Both towers, with fresh weights."""
        image = Hybrid(pairs.shape, self.outputs, stem=self.stem, depth=self.depth, width=self.width)
        words, length = len(pairs.words) + 1, pairs.tokens.shape[1]
        text = Text(words, length, self.outputs, depth=self.text_depth, width=self.width)
        return ImageText(image, text, self.temperature)


def info_nce(outputs: Tensor, targets: Tensor) -> Tensor:
    r"""The contrastive loss: cross-entropy of finding the own text for an image, and the own image for a text.

    :math:`\frac12 (\mathrm{CE}(z, i) + \mathrm{CE}(z^\top, i))` with the own one on the diagonal.

    Args:
        outputs: Agreement z of every image with every text, ``(n, n)``.
        targets: Not looked at: the own one is the one in the same place of the batch, or of a part of it.

    Returns:
        The mean over the batch, a scalar.

    Example:
        >>> round(info_nce(torch.zeros(4, 4), torch.arange(4)).exp().item(), 4)
        4.0

    References:
        van den Oord, Li, Vinyals, Representation learning with contrastive predictive coding, 2018.
    """
    own = torch.arange(len(outputs), device=outputs.device)
    return (F.cross_entropy(outputs, own) + F.cross_entropy(outputs.T, own)) / 2


def image_text_cells(settings: ImageTexts) -> list[Cell]:
    """A run for every radius and seed."""
    return [{"rho": rho, "seed": seed} for rho in settings.rhos for seed in range(settings.seeds)]


def check_image_texts(settings: ImageTexts) -> None:
    """Refuse what would make every run fail: missing data, wrong arguments of a spec, widths that do not fit.

    Raises:
        FileNotFoundError: If the data is not on this machine.
        LookupError: If there is no such set.
        TypeError: If a spec has an argument that there is not.
        ValueError: If an argument is out of its range.
    """
    settings.towers(_pairs(settings.data))
    settings.recipe(settings.rhos[-1])


def sites(settings: ImageTexts) -> dict[str, str]:
    """The layers that are looked at, by what they are called: both heads, and inside the image tower's blocks.

    Example:
        >>> list(sites(ImageTexts(depth=2)))[3:]
        ['residual 1', 'residual 2', 'attention', 'pre-GELU', 'GELU', 'MLP']
    """
    residual = {f"residual {at + 1}": f"{BLOCKS}.{at}" for at in range(settings.depth)}
    inside = {name: f"{BLOCKS}.{settings.depth - 1}.{layer}" for name, layer in INSIDE.items()}
    return {**HEADS, **residual, **inside}


def image_text_run(settings: ImageTexts, cell: Cell, context: Context) -> list[Row]:
    """Train both towers, and measure them after the last epoch.

    The seed decides initialisation, order of the concepts and the style of each; the data is the same for all.

    Args:
        settings: What to train on and how.
        cell: The radius ``rho`` and the ``seed``; joins the row.
        context: Where to compute, and who is told the seconds.

    Returns:
        One row, ``diverged`` or measured on the galleries: ``image_error`` and ``text_error``, the share of test
        images whose text, and of texts whose image, is not found, in percent; ``train_error`` in percent, mean of
        both; ``classes``, the size of a gallery; ``rank/NAME`` for every one of :func:`sites`; ``density/GELU``;
        ``weight_rank`` and ``weight_stable_rank``, means over the matrices of both towers' blocks and heads, and
        what they were ``_before`` training.
    """
    seed = derive(int(str(cell["seed"])), "run")
    pairs = _pairs(settings.data).to(context.device)
    torch.manual_seed(derive(seed, "model"))
    model = settings.towers(pairs).to(context.device)
    before = {f"{name}_before": value for name, value in _weights(model).items()}
    batches = PairBatches(pairs, settings.batch, seed=derive(seed, "data"))

    def hook(model: nn.Module, moment: Moment) -> Row | None:
        context.progress(moment.epoch / moment.epochs)
        if moment.epoch < moment.epochs:
            return None
        started = perf_counter()
        found = _look(settings, model, pairs)
        context.timing("measuring", perf_counter() - started)
        return found

    parts, keep = Parts(criterion=info_nce), Keep(folder=context.folder / "checkpoint")
    recipe = settings.recipe(float(str(cell["rho"])))
    history = fit(model, batches, recipe, parts=parts, keep=keep, hooks=[hook], progress=False)
    context.timing("training", sum(history.seconds))
    facts = {**cell, **before, "recipe": "own", "classes": min(settings.gallery, len(pairs.test_tokens))}
    return [{**facts, **history.last, "final": True}]


@lru_cache(maxsize=2)
def _pairs(spec: str) -> Pairs:
    return catalog.build("data.pair_sets", spec).load()


class _Swapped(nn.Module):
    """The agreement of every text with every image."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        return self.model(images, tokens).T


def _look(settings: ImageTexts, model: nn.Module, pairs: Pairs) -> Row:
    splits = {name: galleries(pairs, settings.gallery, name) for name in ("train", "test")}
    image, text = (_errors(one, splits) for one in (model, _Swapped(model)))
    return {
        "image_error": image["test"],
        "text_error": text["test"],
        "train_error": (image["train"] + text["train"]) / 2,
        **_inside(settings, model, splits["test"]),
        **_weights(model),
    }


def _errors(model: nn.Module, splits: Mapping[str, Batches]) -> dict[str, float]:
    """Share of rows whose own column is not the highest, in percent, by split."""
    found = measure(model, None, splits, Accuracy())
    return {reading.settings["split"]: 100 * (1 - reading.value) for reading in found}


def _inside(settings: ImageTexts, model: nn.Module, batches: Batches) -> Row:
    """Ranks of every site, token 0 standing for an image inside the blocks; and how many GELUs are active."""
    layers = sites(settings)
    blocks = tuple(layer for name, layer in layers.items() if name not in HEADS)
    active = ActivationSparsity(
        definition="share_of_max", threshold=ACTIVE, duplicates=None, layers=layers["GELU"], pool="first"
    )
    ranks = [FeatureRank(layers=tuple(HEADS.values())), FeatureRank(layers=blocks, pool="first")]
    names = {layer: name for name, layer in layers.items()}
    kept = {"feature_rank": "rank", "density": "density"}
    found = measure(model, None, batches, [*ranks, active])
    return {f"{kept[r.name]}/{names[r.site]}": r.value for r in found if r.name in kept}


def _weights(model: nn.Module) -> dict[str, float]:
    """Mean ranks of the matrices of blocks and heads: components that make up 99 %, and stable rank."""
    layers = ("image.blocks", "image.head", "text.blocks", "text.head")
    found = measure(model, None, [], WeightRank(layers=layers))
    names = {"weight_rank": "weight_rank", "stable_rank": "weight_stable_rank"}
    return {kept: fmean(r.value for r in found if r.name == name) for name, kept in names.items()}

"""One run of a study of image-text pairs: train two towers by a contrastive loss, and look at both."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lowland import catalog
from lowland.checks import at_least, whole
from lowland.data.pairs import PairBatches, Pairs, galleries
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.weight_rank import WeightRank
from lowland.measuring.measure import measure
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
from lowland.types import Row


def info_nce(outputs: Tensor, targets: Tensor) -> Tensor:
    own = torch.arange(len(outputs), device=outputs.device)
    return (F.cross_entropy(outputs, own) + F.cross_entropy(outputs.T, own)) / 2

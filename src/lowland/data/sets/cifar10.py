"""CIFAR-10, with the labels its makers gave or the labels that people gave later."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lowland.checks import one_of
from lowland.data.cifar import CifarFiles, Pickles, Sheets
from lowland.data.fetch import Download
from lowland.data.human import HumanLabels
from lowland.data.image_set import ImageSet
from lowland.data.pixels import Raw

__all__ = ["CIFAR10"]

FILES = CifarFiles(
    name="cifar10",
    sheets=Sheets(
        folder="cifar10",
        train={
            "cifar10_train_0.webp": "fc115a3de050d667b88cbd5b0b9612ebf996c54230fe7758f3a14bb5af9a1c27",
            "cifar10_train_1.webp": "89e609b642f687bc796fa3bfa4211005582a0e8131d463d996d11ddb297d312e",
            "cifar10_train_2.webp": "93a365823e61729490a8801d80864ccd0ab1e8c98f19d71af65644d1c5f1486e",
            "cifar10_train_3.webp": "809eb95ecd057a36516318f5023ea619009dd70dd38193db9da43125a928e6fa",
            "cifar10_train_4.webp": "d05b7d66d216d6df882cc760cdc0ff2f1f0437abf699ed16005c021ef0add9cb",
        },
        test={"cifar10_test.webp": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04"},
        labels="cifar10_labels.npz",
        digests={
            "train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
            "test": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        },
    ),
    pickles=Pickles(
        folder="cifar-10-batches-py",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    ),
)
HUMAN = HumanLabels(
    name="cifar10",
    files=(
        "cifar10/cifar10_human_labels.npz",
        "cifar-10-100n/data/CIFAR-10_human.pt",
        "cifar-10-100n/data/CIFAR-10_human.npy",
        "CIFAR-10_human.pt",
        "CIFAR-10_human.npy",
    ),
    arrays={
        "aggre": ("aggre_label",),
        "worse": ("worse_label",),
        "random1": ("random_label1",),
        "random2": ("random_label2",),
        "random3": ("random_label3",),
    },
    digests={
        "aggre": "2bd5e02e39c9c79772cf4c794f7b74630ac1aaeeac4b807a63c11e9a375f8404",
        "worse": "11a306ed336e3bc81aaac36322ddf12de379d0df1883aa43e10ba562a98f6b2a",
        "random1": "8d01b5a5af048e84bf6e964c86e1133e95d5b22c07763e23705b714ad0f32d8b",
        "random2": "7ea04c887750912f49669282a75e78df380077766b361fb6cb5200999ad6dcda",
        "random3": "cdbfad7e15bfc8fc83bc7c6e30b692e2aa1186660d82738b7543a6012d6ca46f",
    },
)
VOTES = HumanLabels(
    name="cifar10",
    files=("cifar10/cifar10_human_labels.npz", "cifar-10h/data/cifar10h-counts.npy", "cifar10h-counts.npy"),
    arrays={"votes": ("test_counts_cifar10h",)},
    digests={"votes": "6291dd382f84434ac7233c1d3c1bba7010b614ca8391b848fff4b036b9794f8a"},
)


@dataclass(frozen=True, kw_only=True)
class CIFAR10(ImageSet):
    """50,000 + 10,000 colour images of 32 x 32 pixels, 10 classes.

    Read from packed sheets (folder ``cifar10``) or the official pickles (``cifar-10-batches-py``).
    See :class:`ImageSet` for the other fields.

    Args:
        labels: Whose training labels. ``clean``: the makers'. CIFAR-10N: ``aggre`` (majority of three people;
            9.0 % differ), ``worse`` (a wrong one wherever any of the three was; 40.2 %), ``random1``, ``random2``,
            ``random3`` (one person each; 17.2, 18.1 and 17.6 %).
        test_labels: Whose test labels. ``clean``, or ``votes``: the class that most of about 50 people chose
            (CIFAR-10H; 0.8 % differ; the smallest label where votes tie).

    Raises:
        ValueError: If ``labels`` or ``test_labels`` is none of these; and as :class:`ImageSet` does.

    References:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009. No licence stated.
        Wei et al., Learning with noisy labels revisited, 2022. https://arxiv.org/abs/2110.12088. CC BY-NC 4.0.
        Peterson et al., Human uncertainty makes classification more robust, 2019. https://arxiv.org/abs/1908.07086.
        CC BY-NC-SA 4.0.
    """

    NAME: ClassVar[str] = "cifar10"
    SHAPE: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    SIZES: ClassVar[tuple[int, int]] = (50_000, 10_000)
    DOWNLOADS: ClassVar[tuple[Download, ...]] = (
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            folder="",
            digest="c58f30108f718f92721af3b95e74349a",
            gives="cifar-10-batches-py/test_batch",
        ),
        Download(
            url="https://github.com/UCSC-REAL/cifar-10-100n/raw/main/data/CIFAR-10_human.pt",
            folder="cifar-10-100n/data",
        ),
        Download(
            url="https://github.com/jcpeterson/cifar-10h/raw/master/data/cifar10h-counts.npy",
            folder="cifar-10h/data",
        ),
    )

    labels: Literal["clean", "aggre", "worse", "random1", "random2", "random3"] = "clean"
    test_labels: Literal["clean", "votes"] = "clean"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("labels", self.labels, ("clean", *HUMAN.arrays))
        one_of("test_labels", self.test_labels, ("clean", "votes"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Animals and vehicles."""
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    @classmethod
    def where(cls) -> Path | None:
        """The folder that holds at least the first 10,000 training images and the test images."""
        return FILES.where()

    @classmethod
    def held(cls) -> int:
        """How many training images, from the first on, are on this machine."""
        return FILES.held()

    def read(self) -> Raw:
        """The stored images, with the labels that were chosen."""
        raw = FILES.read(self.train, "", "labels")
        train = raw.train if self.labels == "clean" else raw.train.labelled(HUMAN.read(self.labels))
        test = raw.test if self.test_labels == "clean" else raw.test.labelled(VOTES.read("votes").argmax(1))
        labels = "" if self.labels == "clean" else f"; CIFAR-10N labels, {self.labels}"
        votes = "" if self.test_labels == "clean" else "; CIFAR-10H test labels"
        return Raw(train=train, test=test, source=raw.source + labels + votes)

    def votes(self) -> Tensor:
        """How many people chose each class for each test image (CIFAR-10H), int64, of shape ``(10000, 10)``.

        Raises:
            FileNotFoundError: If no file with them was found.
            ValueError: If the file is damaged.
        """
        return torch.from_numpy(VOTES.read("votes")).long()

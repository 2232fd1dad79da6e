"""CIFAR-100: a hundred classes in twenty groups, with its makers' labels or those that people gave later."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from lowland.checks import one_of
from lowland.data.cifar import CifarFiles, Pickles, Sheets
from lowland.data.fetch import Download
from lowland.data.human import HumanLabels
from lowland.data.image_set import ImageSet
from lowland.data.pixels import Raw

__all__ = ["CIFAR100"]

FILES = CifarFiles(
    name="cifar100",
    sheets=Sheets(
        folder="cifar100",
        train={"cifar100_train_0.webp": "e3d00008de8e2a99d759a9786d9a8c739270f7b739a0b853ee4b865d6e05cb03"},
        test={"cifar100_test.webp": "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19"},
        labels="cifar100_labels.npz",
        digests={
            "train_fine": "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3",
            "test_fine": "4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
            "train_coarse": "1804078d4e89b6b90bd5da6ffead1404596f6eecba15ceb8d95b6a09dfbba4c0",
            "test_coarse": "48df17fb3bf299f43dd7e131db11ca0ea8b07d750be8b6dcf7ad6ff1b4cc721d",
        },
    ),
    pickles=Pickles(
        folder="cifar-100-python",
        train={"train": "16019d7e3df5f24257cddd939b257f8d"},
        test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    ),
)
HUMAN = HumanLabels(
    name="cifar100",
    files=(
        "cifar100/cifar100_human_labels.npz",
        "cifar-10-100n/data/CIFAR-100_human.pt",
        "cifar-10-100n/data/CIFAR-100_human.npy",
        "CIFAR-100_human.pt",
        "CIFAR-100_human.npy",
    ),
    arrays={"fine": ("noisy_label", "noise_label"), "coarse": ("noisy_coarse_label", "noise_coarse_label")},
    digests={
        "fine": "54050bc3f9441adc78f204c68915d49a7f86bfa72b8fba04751b961d5be4aa62",
        "coarse": "72a87757e6d246ae0dd4cafd3f06505150fe09364d244e4cce2745153b5fad68",
    },
)
CLASSES = {
    "fine": """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
        butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
        crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
        keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
        mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
        plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
        television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""",
    "coarse": """
        aquatic_mammals fish flowers food_containers fruit_and_vegetables
        household_electrical_devices household_furniture insects large_carnivores
        large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
        medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1
        vehicles_2""",
}


@dataclass(frozen=True, kw_only=True)
class CIFAR100(ImageSet):
    """50,000 + 10,000 colour images of 32 x 32 pixels, 100 classes in 20 groups.

    Read from packed sheets (folder ``cifar100``; they hold the first 10,000 training images: ask for
    ``train=10000``) or the official pickles (``cifar-100-python``). See :class:`ImageSet` for the other fields.

    Args:
        level: ``fine`` for the 100 classes, ``coarse`` for the 20 groups.
        labels: Whose training labels. ``clean``: the makers'. ``noisy``: one person's (CIFAR-100N; 40.2 % of the
            fine and 26.4 % of the coarse labels differ).

    Raises:
        ValueError: If ``level`` or ``labels`` is none of these; and as :class:`ImageSet` does.

    References:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009. No licence stated.
        Wei et al., Learning with noisy labels revisited, 2022. https://arxiv.org/abs/2110.12088. CC BY-NC 4.0.
    """

    NAME: ClassVar[str] = "cifar100"
    SHAPE: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    SIZES: ClassVar[tuple[int, int]] = (50_000, 10_000)
    DOWNLOADS: ClassVar[tuple[Download, ...]] = (
        Download(
            url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            folder="",
            digest="eb9058c3a382ffc7106e4002c42a8d85",
            gives="cifar-100-python/test",
        ),
        Download(
            url="https://github.com/UCSC-REAL/cifar-10-100n/raw/main/data/CIFAR-100_human.pt",
            folder="cifar-10-100n/data",
        ),
    )

    level: Literal["fine", "coarse"] = "fine"
    labels: Literal["clean", "noisy"] = "clean"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("level", self.level, CLASSES)
        one_of("labels", self.labels, ("clean", "noisy"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Things, plants, animals and people; or their groups."""
        return tuple(CLASSES[self.level].split())

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
        raw = FILES.read(self.train, f"_{self.level}", f"{self.level}_labels")
        if self.labels == "clean":
            return raw
        train = raw.train.labelled(HUMAN.read(self.level))
        return Raw(train=train, test=raw.test, source=f"{raw.source}; CIFAR-100N labels")

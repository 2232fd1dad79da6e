"""Fashion-MNIST: photographs of clothes, a harder stand-in for MNIST."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lowland.data.fetch import Download
from lowland.data.idx import IdxFiles, idx_downloads
from lowland.data.image_set import ImageSet
from lowland.data.pixels import Raw

__all__ = ["FashionMNIST"]


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(ImageSet):
    """60,000 + 10,000 grey images of 28 x 28 pixels, 10 classes. See :class:`ImageSet` for the fields.

    Read from the official idx files, plain, ``.gz`` or ``.xz``, in a folder ``fashion-mnist`` or
    ``FashionMNIST/raw``.

    References:
        Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017. https://arxiv.org/abs/1708.07747. Licence MIT.
    """

    NAME: ClassVar[str] = "fashion-mnist"
    SHAPE: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    SIZES: ClassVar[tuple[int, int]] = (60_000, 10_000)
    FILES: ClassVar[IdxFiles] = IdxFiles(
        name="fashion-mnist",
        folders=("fashion-mnist", "FashionMNIST/raw", "fashion-mnist/raw"),
        digests={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    )
    DOWNLOADS: ClassVar[tuple[Download, ...]] = idx_downloads(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "FashionMNIST/raw",
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """Kinds of clothes."""
        clothes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker")
        return (*clothes, "Bag", "Ankle boot")

    @classmethod
    def where(cls) -> Path | None:
        """The folder that holds the four files."""
        return cls.FILES.where()

    def read(self) -> Raw:
        """All images and labels, checked."""
        return self.FILES.read()

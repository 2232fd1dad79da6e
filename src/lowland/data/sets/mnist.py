"""MNIST: handwritten digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lowland.data.fetch import Download
from lowland.data.idx import IdxFiles, idx_downloads
from lowland.data.image_set import ImageSet
from lowland.data.pixels import Raw

__all__ = ["MNIST"]


@dataclass(frozen=True, kw_only=True)
class MNIST(ImageSet):
    """60,000 + 10,000 grey images of 28 x 28 pixels, 10 classes. See :class:`ImageSet` for the fields.

    Read from the official idx files, plain, ``.gz`` or ``.xz``, in a folder ``mnist`` or ``MNIST/raw``.

    References:
        LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998.
        Licence CC BY-SA 3.0.
    """

    NAME: ClassVar[str] = "mnist"
    SHAPE: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    SIZES: ClassVar[tuple[int, int]] = (60_000, 10_000)
    FILES: ClassVar[IdxFiles] = IdxFiles(
        name="mnist",
        folders=("mnist", "MNIST/raw", "mnist/raw"),
        digests={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    )
    DOWNLOADS: ClassVar[tuple[Download, ...]] = idx_downloads(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "MNIST/raw",
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """The digits as text."""
        return tuple("0123456789")

    @classmethod
    def where(cls) -> Path | None:
        """The folder that holds the four files."""
        return cls.FILES.where()

    def read(self) -> Raw:
        """All images and labels, checked."""
        return self.FILES.read()

"""MNIST and Fashion-MNIST from their IDX files."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from needle.errors import DataError
from needle_nn.data.dataset import ImageDataset, Transform
from needle_nn.data.idx import read_idx

FASHION_MNIST_FOLDERS = (Path("data/fashion-mnist"), Path("/usr/share/datasets/fashion-mnist"))
_REMEDY = (
    "on Debian and Ubuntu, apt install dataset-fashion-mnist; elsewhere, put the four .gz files of "
    "https://github.com/zalandoresearch/fashion-mnist into a folder and name it"
)


class MNISTDataset(ImageDataset):
    """Images and labels from two IDX files, plain or gzipped."""

    def __init__(
        self,
        image_filename: str | PathLike[str],
        label_filename: str | PathLike[str],
        transforms: Sequence[Transform] | None = None,
    ) -> None:
        images, labels = read_idx(image_filename), read_idx(label_filename)
        for path, array, what, rank in ((image_filename, images, "images", 3), (label_filename, labels, "labels", 1)):
            if array.ndim != rank or array.dtype != "uint8":
                found = f"bytes on {rank} axes, but {array.dtype} of shape {array.shape} found"
                raise DataError(f"{path}: {what} expected, {found}; check the order of the files")
        if len(images) != len(labels):
            counts = f"{len(images):,} images, but {len(labels):,} labels in {label_filename}"
            raise DataError(f"{image_filename}: {counts}; take both files from one set")
        super().__init__(images, labels, transforms=transforms)


class FashionMNISTDataset(MNISTDataset):
    """Fashion-MNIST: 60,000 training and 10,000 test pictures of clothes in 10 classes, 28x28.

    `folder` holds the four IDX files; by default data/fashion-mnist, or the folder of Debian's package.
    """

    def __init__(
        self,
        folder: str | PathLike[str] | None = None,
        train: bool = True,
        transforms: Sequence[Transform] | None = None,
    ) -> None:
        folders = FASHION_MNIST_FOLDERS if folder is None else (Path(folder),)
        part = "train" if train else "t10k"
        images, labels = (_find(folders, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
        super().__init__(images, labels, transforms)


def _find(folders: Sequence[Path], name: str) -> Path:
    """The file, plain or gzipped, in the first folder that has it."""
    for path in (folder / (name + suffix) for folder in folders for suffix in (".gz", "")):
        if path.is_file():
            return path
    raise DataError(f"Fashion-MNIST: no {name}.gz in {' or '.join(map(str, folders))}; {_REMEDY}")

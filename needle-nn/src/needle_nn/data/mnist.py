"""MNIST and Fashion-MNIST from their IDX files."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from needle.errors import DataError
from needle_nn.data.dataset import ImageDataset, Transform
from needle_nn.data.download import Remote, download
from needle_nn.data.idx import read_idx

FASHION_MNIST_FOLDERS = (Path("data/fashion-mnist"), Path("/usr/share/datasets/fashion-mnist"))
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_FASHION = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
_NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def _remotes(place: str, *checksums: str) -> dict[str, Remote]:
    names = [f"{name}-ubyte.gz" for name in _NAMES]
    return {n: Remote(f"{place}/{n}", f"md5:{checksum}") for n, checksum in zip(names, checksums, strict=True)}


MNIST = _remotes(
    _MNIST,
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
FASHION_MNIST = _remotes(
    _FASHION,
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
_REMEDY = (
    "pass download=True; or, on Debian and Ubuntu, apt install dataset-fashion-mnist; or put the four .gz files of "
    "https://github.com/zalandoresearch/fashion-mnist into a folder and name it"
)


class MNISTDataset(ImageDataset):
    """Images and labels from two IDX files, plain or gzipped.

    With `download`, files of MNIST's own names, such as train-images-idx3-ubyte.gz, are fetched where they are missing.
    """

    def __init__(
        self,
        image_filename: str | PathLike[str],
        label_filename: str | PathLike[str],
        transforms: Sequence[Transform] | None = None,
        *,
        download: bool = False,
    ) -> None:
        if download:
            for name in (image_filename, label_filename):
                fetch(Path(name))
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

    `folder` holds the four IDX files; by default data/fashion-mnist, or the folder of Debian's package. With
    `download`, what is missing is fetched into it.
    """

    def __init__(
        self,
        folder: str | PathLike[str] | None = None,
        train: bool = True,
        transforms: Sequence[Transform] | None = None,
        *,
        download: bool = False,
    ) -> None:
        folders = FASHION_MNIST_FOLDERS if folder is None else (Path(folder),)
        part = "train" if train else "t10k"
        names = [f"{part}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
        images, labels = (_find(folders, name, download) for name in names)
        super().__init__(images, labels, transforms)


def fetch(path: Path) -> None:
    """Download one of MNIST's files to the path, whose name says which."""
    if not path.is_file():
        if path.name not in MNIST:
            raise DataError(f"{path}: cannot be downloaded: MNIST's files are {', '.join(MNIST)}")
        download(MNIST[path.name], path)


def _find(folders: Sequence[Path], name: str, fetch: bool) -> Path:
    """The file, plain or gzipped, in the first folder that has it; or fetched into the first folder."""
    for path in (folder / (name + suffix) for folder in folders for suffix in (".gz", "")):
        if path.is_file():
            return path
    if fetch:
        return download(FASHION_MNIST[f"{name}.gz"], folders[0] / f"{name}.gz")
    raise DataError(f"Fashion-MNIST: no {name}.gz in {' or '.join(map(str, folders))}; {_REMEDY}")

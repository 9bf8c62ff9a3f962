"""CIFAR-10 from its Python pickles."""

import hashlib
import tarfile
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import DataError
from needle_nn.data.dataset import Arrays, Dataset, Transform
from needle_nn.data.download import Remote, download
from needle_nn.data.pickles import read_pickle
from needle_nn.files import write_atomically

FOLDER = "cifar-10-batches-py"
ARCHIVE = Remote("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a")
TRAIN_FILES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_FILES = ("test_batch",)
FILES = {  # MD5 of each file in the archive
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SHAPE = (3, 32, 32)


class CIFAR10Dataset(Dataset):
    """CIFAR-10: 50,000 training and 10,000 test photographs in 10 classes. Item i is (image (3, 32, 32) in 0-1, label).

    `base_folder` is cifar-10-batches-py or the folder it is in. Transforms see and give images (32, 32, 3). `p` is in
    the course's signature and changes nothing: RandomFlipHorizontal(p) among the transforms does.
    """

    def __init__(
        self,
        base_folder: str | PathLike[str],
        train: bool,
        p: float = 0.5,
        transforms: Sequence[Transform] | None = None,
        *,
        download: bool = False,
    ) -> None:
        super().__init__(transforms)
        folder, names = _folder(Path(base_folder)), TRAIN_FILES if train else TEST_FILES
        if download:
            fetch(folder)
        images, labels = zip(*(_read(folder / name) for name in names), strict=True)
        self.images, self.y = np.concatenate(images), np.concatenate(labels)

    @property
    def X(self) -> NumpyArray[np.float32]:
        """All images, (n, 3, 32, 32) in 0-1; they are kept as bytes."""
        return _scaled(self.images)

    def __getitem__(self, index: Any) -> Any:
        images = _scaled(self.images[index])
        if self.transforms:
            images = self._transformed(images) if images.ndim == 3 else np.stack([self._transformed(x) for x in images])
        return images, self.y[index]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: NumpyArray[Any]) -> Arrays:
        images, labels = self[indices]
        return images, labels

    def _transformed(self, image: NumpyArray[Any]) -> NumpyArray[Any]:
        return np.transpose(np.asarray(self.apply_transforms(np.transpose(image, (1, 2, 0)))), (2, 0, 1))


def fetch(folder: Path) -> None:
    """Put the six files into the folder, from the archive, which is downloaded beside it; all are verified."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if not missing:
        return
    archive = download(ARCHIVE, folder.parent / ARCHIVE.url.rpartition("/")[2])
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in missing:
                _unpack(tar, name, folder)
    except (tarfile.TarError, zlib.error, OSError, EOFError, KeyError) as error:
        raise DataError(f"{archive}: damaged: {error}; delete it and download again") from error


def _unpack(tar: tarfile.TarFile, name: str, folder: Path) -> None:
    """One file of the archive, by its exact name and contents."""
    file = tar.extractfile(f"{FOLDER}/{name}")
    content = b"" if file is None else file.read()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != FILES[name]:
        raise DataError(
            f"{tar.name!s}: {name} has md5 {found}, not {FILES[name]}; delete the archive and download again"
        )
    write_atomically(folder / name, content)


def _folder(base: Path) -> Path:
    """The folder of the files: the one named, or the genuine one inside it."""
    named = base.name == FOLDER or any((base / name).is_file() for name in FILES)
    return base if named else base / FOLDER


def _read(path: Path) -> tuple[NumpyArray[np.uint8], NumpyArray[np.int32]]:
    """Images (n, 3, 32, 32) and labels in a batch file."""
    if not path.is_file():
        raise DataError(f"CIFAR-10: no {path.name} in {path.parent}; pass download=True, or unpack {ARCHIVE.url} there")
    batch = read_pickle(path)
    if not isinstance(batch, dict):
        raise DataError(f"{path}: not a CIFAR-10 batch: a dict expected, {type(batch).__name__} found")
    entries = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    images, labels = entries.get("data"), entries.get("labels")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (3072,):
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{path}: not a CIFAR-10 batch: 'data' must be bytes (n, 3072), not {found}")
    if not isinstance(labels, list) or len(labels) != len(images) or not all(_is_label(label) for label in labels):
        raise DataError(f"{path}: not a CIFAR-10 batch: 'labels' must be {len(images):,} numbers from 0 to 9")
    return images.reshape(-1, *_SHAPE), np.array(labels, np.int32)


def _is_label(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < len(CLASSES)


def _scaled(images: NumpyArray[np.uint8]) -> NumpyArray[np.float32]:
    return images.astype(np.float32) / np.float32(255)

"""Dataset: a length, an item, and how items become a batch."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import DataError

Arrays: TypeAlias = tuple[NumpyArray[Any], ...]
Transform: TypeAlias = Callable[[Any], Any]


class Dataset:
    """Items by number, on the host. Subclasses write `__getitem__` and `__len__`, and perhaps a quicker `batch`."""

    def __init__(self, transforms: Sequence[Transform] | None = None) -> None:
        self.transforms = transforms

    def __getitem__(self, index: Any) -> Any:
        """One item: an array, or a tuple of arrays and numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def batch(self, indices: NumpyArray[Any]) -> Arrays:
        """The items of these numbers, stacked."""
        return collate([self[int(i)] for i in indices])

    def apply_transforms(self, x: Any) -> Any:
        """One image after all transforms, in their order."""
        for transform in self.transforms or ():
            x = transform(x)
        return x


class NDArrayDataset(Dataset):
    """Item i is the tuple of element i of each array."""

    def __init__(self, *arrays: Any) -> None:
        super().__init__()
        self.arrays: Arrays = tuple(np.asarray(array) for array in arrays)
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) != 1:
            raise DataError(f"NDArrayDataset: arrays of one length are needed, not {lengths}")

    def __getitem__(self, index: Any) -> Arrays:
        return tuple(array[index] for array in self.arrays)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def batch(self, indices: NumpyArray[Any]) -> Arrays:
        return self[indices]


class ImageDataset(Dataset):
    """Grey images and labels. Item i is (image (h, w, 1) in 0-1, label); slices and arrays of numbers give many.

    The images are kept as the bytes (n, h, w) of their files; `white` is the value that becomes 1.
    """

    def __init__(
        self,
        images: NumpyArray[np.uint8],
        labels: NumpyArray[Any],
        white: int = 255,
        transforms: Sequence[Transform] | None = None,
    ) -> None:
        super().__init__(transforms)
        self.images, self.labels, self.white = images, labels.astype(np.int32), white

    def __getitem__(self, index: Any) -> Any:
        images = self.images[index][..., np.newaxis].astype(np.float32) / np.float32(self.white)
        if self.transforms:
            single = images.ndim == 3
            images = self.apply_transforms(images) if single else np.stack([self.apply_transforms(x) for x in images])
        return images, self.labels[index]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: NumpyArray[Any]) -> Arrays:
        images, labels = self[indices]
        return images, labels


def fetch(dataset: Dataset | Sequence[Any], indices: NumpyArray[Any]) -> Arrays:
    """The batch of these items, from any sequence."""
    if isinstance(dataset, Dataset):
        return dataset.batch(indices)
    return collate([dataset[int(i)] for i in indices])


def collate(items: Sequence[Any]) -> Arrays:
    """Stack items field by field: [(x, y), (x, y), ...] becomes (xs, ys)."""
    rows = [item if isinstance(item, tuple | list) else (item,) for item in items]
    counts = {len(row) for row in rows}
    if len(counts) != 1:
        raise DataError(f"batch: items have {' or '.join(map(str, sorted(counts)))} fields; give all the same number")
    return tuple(_stack(field, [np.asarray(row[field]) for row in rows]) for field in range(counts.pop()))


def _stack(field: int, values: list[NumpyArray[Any]]) -> NumpyArray[Any]:
    other = next((v.shape for v in values if v.shape != values[0].shape), None)
    if other is not None:
        raise DataError(
            f"batch: field {field} is {values[0].shape} in one item and {other} in another; "
            "make them equal in a transform, or use batch_size=1"
        )
    result = np.stack(values)
    if result.dtype.kind not in "biufV":  # V: NumPy's name for the like of bfloat16
        raise DataError(f"batch: field {field} holds {type(values[0].flat[0]).__name__}, not numbers")
    return result

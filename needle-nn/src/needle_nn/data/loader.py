"""DataLoader: the order of items, and batches of them as Tensors on a device."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle import Device, Tensor
from needle.errors import DataError
from needle_nn.data.dataset import Arrays, Dataset, collate


class DataLoader:
    """Iterating gives tuples of Tensors, `batch_size` items each; the last may be short, or is dropped.

    Each pass draws a new order if `shuffle` is set, from `generator` or else from NumPy's global one, when `iter` is
    called. Numbers of floating point become `dtype`; integers keep their type.
    """

    def __init__(
        self,
        dataset: Dataset | Sequence[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        device: Device | str | None = None,
        dtype: Any = "float32",
        generator: np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"DataLoader: batch_size is {batch_size}; it must be 1 or more")
        if len(dataset) == 0:
            raise DataError("DataLoader: the dataset is empty")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.device, self.dtype, self.generator = device, dtype, generator

    def __len__(self) -> int:
        """The number of batches in a pass."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """A pass, from batch number `start` on; those before are not fetched."""
        order, size = self._order(), self.batch_size
        return (self._tensors(order[i * size : (i + 1) * size]) for i in range(start, len(self)))

    def _order(self) -> NumpyArray[Any]:
        n = len(self.dataset)
        if not self.shuffle:
            return np.arange(n)
        return np.random.permutation(n) if self.generator is None else self.generator.permutation(n)

    def _tensors(self, indices: NumpyArray[Any]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(values, device=self.device, dtype=self.dtype if values.dtype.kind == "f" else None)
            for values in self._fetch(indices)
        )

    def _fetch(self, indices: NumpyArray[Any]) -> Arrays:
        if isinstance(self.dataset, Dataset):
            return self.dataset.batch(indices)
        return collate([self.dataset[int(i)] for i in indices])

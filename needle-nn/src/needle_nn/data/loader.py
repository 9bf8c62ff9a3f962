"""DataLoader: the order of items, and batches of them as Tensors on a device."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle import Device, Tensor
from needle.errors import DataError
from needle_nn.data import workers
from needle_nn.data.dataset import Arrays, Dataset, fetch


class DataLoader:
    """Iterating gives tuples of Tensors, `batch_size` items each; the last may be short, or is dropped.

    Each pass draws a new order if `shuffle` is set, from `generator` or else from NumPy's global one, when `iter` is
    called. Numbers of floating point become `dtype`; integers keep their type.

    `max_batches` ends a pass early: with a shuffle, it is then a sample of the dataset.

    With `num_workers`, so many processes make batches ahead of time. Order and contents are the same, except that
    random transforms draw from other numbers: those of a batch depend on the pass and its place in it alone. Processes
    are forked on Linux and spawned elsewhere, which needs a dataset that can be pickled.
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
        max_batches: int | None = None,
        num_workers: int = 0,
        start_method: str = workers.START_METHOD,
    ) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            found = type(dataset).__name__
            raise DataError(f"DataLoader: a {found} is no dataset; one has a length and items by number")
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise DataError(f"DataLoader: batch_size is {batch_size}; it must be an int, 1 or more")
        if num_workers < 0:
            raise DataError(f"DataLoader: num_workers is {num_workers}; it must be 0 or more")
        if len(dataset) == 0:
            raise DataError("DataLoader: the dataset is empty")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.device, self.dtype, self.generator = device, dtype, generator
        self.max_batches, self.num_workers, self.start_method = max_batches, num_workers, start_method

    def __len__(self) -> int:
        """The number of batches in a pass."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        batches = whole + (rest > 0 and not self.drop_last)
        return batches if self.max_batches is None else min(batches, self.max_batches)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """A pass, from batch number `start` on; those before are not fetched."""
        order, size = self._order(), self.batch_size
        parts = [order[i * size : (i + 1) * size] for i in range(start, len(self))]
        return (self._tensors(arrays) for arrays in self._fetched(parts, start))

    def _order(self) -> NumpyArray[Any]:
        n = len(self.dataset)
        if not self.shuffle:
            return np.arange(n)
        return np.random.permutation(n) if self.generator is None else self.generator.permutation(n)

    def _fetched(self, parts: list[NumpyArray[Any]], start: int) -> Iterable[Arrays]:
        if self.num_workers == 0:
            return (fetch(self.dataset, part) for part in parts)
        seed = self._seed()
        job = workers.Job(self.dataset, parts, [(seed, i) for i in range(start, len(self))])
        return workers.batches(job, self.num_workers, self.start_method)

    def _seed(self) -> int:
        """Of the random transforms of a pass. Where a shuffle drew numbers, none more are drawn, so that the orders
        of later passes do not depend on whether there are workers."""
        if self.generator is None:
            source = np.random.RandomState()
            source.set_state(np.random.get_state())
            return source.randint(1 << 31) if self.shuffle else np.random.randint(1 << 31)
        own = copy.deepcopy(self.generator) if self.shuffle else self.generator
        return int.from_bytes(own.bytes(4), "big")

    def _tensors(self, arrays: Arrays) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(values, device=self.device, dtype=self.dtype if values.dtype.kind == "f" else None)
            for values in arrays
        )

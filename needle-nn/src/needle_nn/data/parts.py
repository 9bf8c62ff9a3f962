"""Datasets made of others: some of the items, several datasets one behind another, and random parts."""

from collections.abc import Sequence
from itertools import pairwise
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import ArgumentError, DataError
from needle_nn.data.dataset import Arrays, Dataset, collate, fetch


class Subset(Dataset):
    """The items of a dataset that have these numbers, in this order."""

    def __init__(self, dataset: Dataset | Sequence[Any], indices: Sequence[int] | NumpyArray[Any]) -> None:
        super().__init__()
        self.dataset, self.indices = dataset, np.asarray(indices, dtype=np.int64).reshape(-1)
        n = len(dataset)
        outside = self.indices[(self.indices < 0) | (self.indices >= n)]
        if outside.size:
            raise DataError(f"Subset: item {outside[0]} of a dataset of {n}")

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[int(self.indices[index])]

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: NumpyArray[Any]) -> Arrays:
        return fetch(self.dataset, self.indices[indices])


class ConcatDataset(Dataset):
    """The items of several datasets, one dataset behind another."""

    def __init__(self, datasets: Sequence[Dataset | Sequence[Any]]) -> None:
        super().__init__()
        if not datasets:
            raise DataError("ConcatDataset: takes at least one dataset")
        self.datasets = list(datasets)
        self.ends = np.cumsum([len(dataset) for dataset in self.datasets])

    def __getitem__(self, index: Any) -> Any:
        at = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= at < len(self):
            raise IndexError(f"ConcatDataset: item {index} of {len(self)}")
        which = int(np.searchsorted(self.ends, at, side="right"))
        return self.datasets[which][at - (int(self.ends[which - 1]) if which else 0)]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def batch(self, indices: NumpyArray[Any]) -> Arrays:
        return collate([self[int(i)] for i in indices])


def random_split(
    dataset: Dataset | Sequence[Any],
    lengths: Sequence[float],
    generator: np.random.Generator | np.random.RandomState | None = None,
) -> list[Subset]:
    """The dataset in random parts of these lengths, or of these shares of it, which add up to 1. Draws from NumPy's
    global generator unless one is given."""
    n = len(dataset)
    counts = _counts(lengths, n)
    order = np.random.permutation(n) if generator is None else generator.permutation(n)
    return [Subset(dataset, order[a:b]) for a, b in pairwise([0, *np.cumsum(counts).tolist()])]


def _counts(lengths: Sequence[float], n: int) -> list[int]:
    """How many items each part has; what shares leave over goes to the first parts, one each."""
    if isclose(sum(lengths), 1) and n != 1 and all(0 <= share <= 1 for share in lengths):
        counts = [int(share * n) for share in lengths]
        return [count + (i < n - sum(counts)) for i, count in enumerate(counts)]
    if sum(lengths) != n or any(int(length) != length or length < 0 for length in lengths):
        raise ArgumentError(f"random_split: lengths add up to the dataset's {n}, or shares to 1, not {list(lengths)}")
    return [int(length) for length in lengths]

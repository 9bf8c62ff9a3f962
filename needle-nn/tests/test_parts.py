"""Datasets made of others."""

from typing import Any

import numpy as np
import pytest

from needle.data import ConcatDataset, DataLoader, NDArrayDataset, Subset, random_split
from needle.errors import ArgumentError, DataError

ITEMS = NDArrayDataset(np.arange(20.0).reshape(10, 2), np.arange(10))


def labels(dataset: Any, size: int = 3) -> list[int]:
    return [int(y) for _, batch in DataLoader(dataset, size) for y in batch.numpy()]


def test_some_items() -> None:
    some = Subset(ITEMS, [7, 2, 2, 9])
    assert labels(some) == [7, 2, 2, 9]
    assert labels(Subset(some, [3, 0])) == [9, 7]
    np.testing.assert_array_equal(some[1][0], [4, 5])
    assert labels(Subset([(np.ones(2), i) for i in range(5)], [4, 1])) == [4, 1]
    with pytest.raises(DataError, match=r"^Subset: item 10 of a dataset of 10$"):
        Subset(ITEMS, [0, 10])


def test_one_behind_another() -> None:
    both = ConcatDataset([Subset(ITEMS, [5, 6]), Subset(ITEMS, []), ITEMS])
    assert labels(both) == [5, 6, *range(10)]
    assert int(both[-1][1]) == 9
    assert [int(y) for _, y in both] == [5, 6, *range(10)]
    with pytest.raises(DataError, match="takes at least one"):
        ConcatDataset([])


@pytest.mark.parametrize(
    ("lengths", "counts"), [([7, 3], [7, 3]), ([0.8, 0.2], [8, 2]), ([0.34, 0.33, 0.33], [4, 3, 3]), ([1.0], [10])]
)
def test_random_parts(lengths: list[float], counts: list[int]) -> None:
    parts = random_split(ITEMS, lengths, np.random.default_rng(0))
    assert [len(part) for part in parts] == counts
    assert sorted(y for part in parts for y in labels(part)) == list(range(10))
    again = random_split(ITEMS, lengths, np.random.default_rng(0))
    assert [labels(part) for part in again] == [labels(part) for part in parts]


@pytest.mark.parametrize("lengths", [[7, 4], [0.5, 0.4], [-1, 11], [2.5, 7.5]])
def test_lengths_that_do_not_add_up(lengths: list[float]) -> None:
    with pytest.raises(ArgumentError, match="random_split: lengths add up to the dataset's 10, or shares to 1, not"):
        random_split(ITEMS, lengths)

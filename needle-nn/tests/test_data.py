"""Datasets and the loader: order, batches, types, and what is refused."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import data
from needle.errors import DataError


def orders(loader: data.DataLoader) -> list[list[float]]:
    return [batch[0].numpy().tolist() for batch in loader]


def test_batches_are_consecutive(device: needle.Device) -> None:
    dataset = data.NDArrayDataset(np.arange(7.0), np.arange(7) * 10)
    loader = data.DataLoader(dataset, 3, device=device)
    assert len(loader) == 3
    assert orders(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    x, y = next(iter(loader))
    assert x.dtype == "float32"
    assert y.dtype == "int64"
    assert x.device is y.device is device
    assert y.numpy().tolist() == [0, 10, 20]


def test_drop_last() -> None:
    loader = data.DataLoader(data.NDArrayDataset(np.arange(7.0)), 3, drop_last=True)
    assert len(loader) == 2
    assert orders(loader) == [[0, 1, 2], [3, 4, 5]]


def test_shuffles_are_numpys_permutations_drawn_when_iter_is_called() -> None:
    loader = data.DataLoader(data.NDArrayDataset(np.arange(7.0)), 7, shuffle=True)
    np.random.seed(1)
    expected = [np.random.permutation(7).tolist() for _ in range(2)]
    np.random.seed(1)
    first, second = iter(loader), iter(loader)
    found = [next(second)[0].numpy().tolist(), next(first)[0].numpy().tolist()]
    assert found == expected[::-1]


def test_a_generator_of_its_own() -> None:
    dataset = data.NDArrayDataset(np.arange(7.0))
    state = np.random.get_state()[1].tolist()
    a, b = (data.DataLoader(dataset, 7, shuffle=True, generator=np.random.default_rng(4)) for _ in range(2))
    assert orders(a) + orders(a) == orders(b) + orders(b)
    assert np.random.get_state()[1].tolist() == state


def test_a_pass_can_begin_later() -> None:
    loader = data.DataLoader(data.NDArrayDataset(np.arange(10.0)), 3, shuffle=True)
    np.random.seed(2)
    whole = orders(loader)
    np.random.seed(2)
    assert [batch[0].numpy().tolist() for batch in loader.batches(start=2)] == whole[2:]


def test_a_pass_can_end_early() -> None:
    dataset = data.NDArrayDataset(np.arange(7.0))
    loader = data.DataLoader(dataset, 2, shuffle=True, max_batches=2)
    np.random.seed(1)
    order = np.random.permutation(7).tolist()
    np.random.seed(1)
    assert len(loader) == 2
    assert orders(loader) == [order[:2], order[2:4]]
    assert len(data.DataLoader(dataset, 2, max_batches=9)) == 4


def test_any_sequence_is_a_dataset() -> None:
    (x, y), *_ = data.DataLoader([([1.0, 2.0], 3), ([4.0, 5.0], 6)], 2)
    assert x.numpy().tolist() == [[1, 2], [4, 5]]
    assert y.numpy().tolist() == [3, 6]


def test_a_dataset_of_items_only() -> None:
    class Squares(data.Dataset):
        def __getitem__(self, index: int) -> Any:
            return np.float32(index**2)

        def __len__(self) -> int:
            return 5

    assert orders(data.DataLoader(Squares(), 4)) == [[0, 1, 4, 9], [16]]


def test_dtype() -> None:
    dataset = data.NDArrayDataset(np.arange(3.0), np.arange(3, dtype=np.int32), np.ones(3, bool))
    (batch,) = data.DataLoader(dataset, 3, dtype="float64", device="numpy")
    assert [str(t.dtype) for t in batch] == ["float64", "int32", "bool"]


def test_ndarray_dataset() -> None:
    dataset = data.NDArrayDataset(np.arange(6).reshape(3, 2), [7, 8, 9])
    assert len(dataset) == 3
    assert dataset[1][0].tolist() == [2, 3]
    assert dataset[1:][1].tolist() == [8, 9]


def test_transforms_see_one_image_each() -> None:
    images, labels = np.zeros((4, 2, 3), np.uint8), np.arange(4)
    seen = []

    def brighten(x: Any) -> Any:
        seen.append(x.shape)
        return x + len(seen)

    dataset = data.ImageDataset(images, labels, transforms=[brighten, lambda x: x * 2])
    x, _ = next(iter(data.DataLoader(dataset, 3)))
    assert seen == [(2, 3, 1)] * 3
    assert x.numpy()[:, 0, 0, 0].tolist() == [2, 4, 6]
    assert dataset[0][0].shape == (2, 3, 1)


REFUSED = [
    (lambda: data.DataLoader([]), "DataLoader: the dataset is empty"),
    (lambda: data.DataLoader([1], 2.5), "DataLoader: batch_size is 2.5; it must be an int, 1 or more"),
    (lambda: data.DataLoader(5), "DataLoader: a int is no dataset; one has a length and items by number"),
    (
        lambda: data.DataLoader(x for x in [1]),
        "DataLoader: a generator is no dataset; one has a length and items by number",
    ),
    (lambda: list(data.DataLoader([("a", 1)])), "batch: field 0 holds str_, not numbers"),
    (lambda: list(data.DataLoader([(1, None)])), "batch: field 1 holds NoneType, not numbers"),
    (lambda: data.RandomCrop(-1), "RandomCrop: the padding is at least 0, not -1"),
    (lambda: data.RandomFlipHorizontal(1.5), "RandomFlipHorizontal: a probability is from 0 to 1, not 1.5"),
    (lambda: data.DataLoader([1], 0), "DataLoader: batch_size is 0; it must be an int, 1 or more"),
    (
        lambda: data.NDArrayDataset(np.ones(3), np.ones(4)),
        "NDArrayDataset: arrays of one length are needed, not [3, 4]",
    ),
    (lambda: data.NDArrayDataset(), "NDArrayDataset: arrays of one length are needed, not []"),
    (
        lambda: list(data.DataLoader([np.ones(3), np.ones(4)], 2)),
        "batch: field 0 is (3,) in one item and (4,) in another; make them equal in a transform, or use batch_size=1",
    ),
    (
        lambda: list(data.DataLoader([(1, 2), (3,)], 2)),
        "batch: items have 1 or 2 fields; give all the same number",
    ),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_what_is_refused(call: Any, text: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == text


def test_digits() -> None:
    train, test = data.DigitsDataset(train=True), data.DigitsDataset(train=False)
    assert (len(train), len(test)) == (1501, 296)
    image, label = train[0]
    assert image.shape == (8, 8, 1)
    assert image.dtype == np.float32
    assert label == 0
    images, labels = train[:]
    assert (images.min(), images.max()) == (0, 1)
    assert np.bincount(test[:][1]).min() == 29  # every digit has its sixth
    assert np.bincount(labels).min() == 145
    assert not {x.tobytes() for x in images} & {x.tobytes() for x in test[:][0]}


def test_digits_are_scikit_learns() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    source = datasets.load_digits()

    def rows(images: Any, labels: Any) -> list[Any]:
        return sorted(np.c_[images.reshape(-1, 64), labels].astype(int).tolist())

    (x, y), (x_test, y_test) = (data.DigitsDataset(train=train)[:] for train in (True, False))
    assert rows(np.concatenate([x, x_test]) * 16, np.concatenate([y, y_test])) == rows(source.images, source.target)

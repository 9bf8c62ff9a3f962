"""CIFAR-10 from small files in its genuine format."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle
from needle import data
from needle.errors import DataError

NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def test_items(cifar_folder: Path) -> None:
    train, test = (data.CIFAR10Dataset(str(cifar_folder), train=train) for train in (True, False))
    assert (len(train), len(test)) == (40, 8)
    with (cifar_folder / "data_batch_2").open("rb") as file:
        genuine = pickle.load(file, encoding="bytes")
    image, label = train[11]
    assert (image.shape, image.dtype, label) == ((3, 32, 32), np.float32, genuine[b"labels"][3])
    np.testing.assert_allclose(image, genuine[b"data"][3].reshape(3, 32, 32) / 255, rtol=1e-6)
    assert train.X.shape == (40, 3, 32, 32)
    np.testing.assert_array_equal(train.X[11], image)
    assert train.y.tolist()[8:16] == genuine[b"labels"]


def test_batches(cifar_folder: Path, device: needle.Device) -> None:
    loader = data.DataLoader(data.CIFAR10Dataset(cifar_folder, train=True), 16, device=device)
    x, y = next(iter(loader))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((16, 3, 32, 32), "float32", (16,), "int32")


def test_the_folder_above(cifar_folder: Path) -> None:
    assert len(data.CIFAR10Dataset(cifar_folder.parent, train=False)) == 8


def test_transforms_see_height_width_channels(cifar_folder: Path) -> None:
    seen = []

    def record(image: Any) -> Any:
        seen.append(image.shape)
        return image

    plain = data.CIFAR10Dataset(cifar_folder, train=True)
    flipped = data.CIFAR10Dataset(cifar_folder, train=True, transforms=[record, data.RandomFlipHorizontal(p=1)])
    np.testing.assert_array_equal(flipped[5][0], plain[5][0][:, :, ::-1])
    np.testing.assert_array_equal(flipped[5:7][0], plain[5:7][0][..., ::-1])
    assert seen == [(32, 32, 3)] * 3


def batch(**changes: Any) -> bytes:
    entries = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 9]} | changes
    return pickle.dumps({key.encode(): value for key, value in entries.items() if value is not None}, 2)


BROKEN = {
    "no dict": (pickle.dumps([1]), "not a CIFAR-10 batch: a dict expected, list found"),
    "no data": (batch(data=None), "not a CIFAR-10 batch: 'data' must be bytes (n, 3072), not NoneType"),
    "floats": (
        batch(data=np.zeros((2, 3072))),
        "not a CIFAR-10 batch: 'data' must be bytes (n, 3072), not float64 (2, 3072)",
    ),
    "grey": (
        batch(data=np.zeros((2, 1024), np.uint8)),
        "not a CIFAR-10 batch: 'data' must be bytes (n, 3072), not uint8 (2, 1024)",
    ),
    "one label": (batch(labels=[1]), "not a CIFAR-10 batch: 'labels' must be 2 numbers from 0 to 9"),
    "a label of 10": (batch(labels=[1, 10]), "not a CIFAR-10 batch: 'labels' must be 2 numbers from 0 to 9"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(case: str, cifar_folder: Path) -> None:
    content, text = BROKEN[case]
    (cifar_folder / "data_batch_4").write_bytes(content)
    assert len(data.CIFAR10Dataset(cifar_folder, train=False)) == 8
    with pytest.raises(DataError) as caught:
        data.CIFAR10Dataset(cifar_folder, train=True)
    assert str(caught.value) == f"{cifar_folder / 'data_batch_4'}: {text}"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        data.CIFAR10Dataset(tmp_path, train=True)
    assert str(caught.value) == (
        f"CIFAR-10: no data_batch_1 in {tmp_path}/cifar-10-batches-py; pass download=True, or unpack "
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz there"
    )

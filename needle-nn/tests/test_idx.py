"""IDX files and the datasets over them: whole, compressed, and broken in every way."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from needle import data
from needle.errors import DataError

Build = Callable[..., bytes]
IMAGES = np.arange(3 * 4 * 5).reshape(3, 4, 5)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_read(compress: Any, tmp_path: Path, idx_bytes: Build) -> None:
    path = tmp_path / "images"
    path.write_bytes(compress(idx_bytes(IMAGES)))
    found = data.read_idx(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IMAGES)


def test_other_types(tmp_path: Path) -> None:
    for code, dtype in ((0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")):
        values = np.array([-1, 2, 3], dtype)
        (tmp_path / "x").write_bytes(bytes([0, 0, code, 1, 0, 0, 0, 3]) + values.tobytes())
        found = data.read_idx(tmp_path / "x")
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, values)


def test_mnist(tmp_path: Path, idx_bytes: Build) -> None:
    (tmp_path / "x").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "y").write_bytes(idx_bytes(np.array([7, 8, 9])))
    dataset = data.MNISTDataset(tmp_path / "x", str(tmp_path / "y"), transforms=[lambda x: x * 2])
    image, label = dataset[1]
    assert label == 8
    np.testing.assert_allclose(image, 2 * IMAGES[1][..., None] / np.float32(255), rtol=1e-6)
    images, labels = dataset[1:]
    assert images.shape == (2, 4, 5, 1)
    assert images.dtype == np.float32
    assert labels.tolist() == [8, 9]


def test_fashion_mnist(fashion_folder: Path) -> None:
    train, test = (data.FashionMNISTDataset(fashion_folder, train=train) for train in (True, False))
    assert (len(train), len(test)) == (60, 20)
    plain = fashion_folder / "train-labels-idx1-ubyte"
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert data.FashionMNISTDataset(fashion_folder)[3][1] == 3


def test_fashion_mnist_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        data.FashionMNISTDataset(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"Fashion-MNIST: no train-images-idx3-ubyte.gz in {tmp_path}; ")
    assert "apt install dataset-fashion-mnist" in text
    assert "\n" not in text


def broken(idx: bytes) -> dict[str, tuple[bytes, str]]:
    zipped = gzip.compress(idx)
    return {
        "empty": (b"", "not an IDX file: it begins with nothing, not 00 00 08; download the file again"),
        "html": (b"<html>", "not an IDX file: it begins with 3c 68 74 6d, not 00 00 08; download the file again"),
        "type": (b"\0\0\x07\x01", "not an IDX file: it begins with 00 00 07 01, not 00 00 08; download the file again"),
        "header": (idx[:9], "truncated: a header of 16 bytes expected, 9 found; download the file again"),
        "short": (idx[:-7], "truncated: 60 bytes of data expected for (3, 4, 5), 53 found; download the file again"),
        "long": (idx + b"!", "too long: 60 bytes of data expected for (3, 4, 5), 61 found; download the file again"),
        "short gzip": (
            zipped[:-12],
            f"truncated or damaged: a whole gzip file expected, {len(zipped) - 12} bytes found that are not "
            "(Compressed file ended before the end-of-stream marker was reached); download the file again",
        ),
    }


@pytest.mark.parametrize("case", list(broken(b"")))
def test_broken_files(case: str, tmp_path: Path, idx_bytes: Build) -> None:
    content, text = broken(idx_bytes(IMAGES))[case]
    path = tmp_path / "train.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        data.read_idx(path)
    assert str(caught.value) == f"{path}: {text}"


def test_damaged_gzip(tmp_path: Path, idx_bytes: Build) -> None:
    noise = np.random.default_rng(0).integers(0, 255, 999)
    path, content = tmp_path / "x.gz", gzip.compress(idx_bytes(noise))
    for at in range(10, len(content), 40):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        with pytest.raises(DataError, match=r"x\.gz: (truncated or damaged|truncated|too long|not an IDX file)"):
            data.read_idx(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: cannot be read: No such file or directory; check the path$"):
        data.read_idx(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"cannot be read: Is a directory; check the path$"):
        data.read_idx(tmp_path)


def test_files_that_do_not_belong_together(tmp_path: Path, idx_bytes: Build) -> None:
    x, y = tmp_path / "x", tmp_path / "y"
    x.write_bytes(idx_bytes(IMAGES))
    y.write_bytes(idx_bytes(np.arange(4)))
    with pytest.raises(DataError) as caught:
        data.MNISTDataset(x, y)
    assert str(caught.value) == f"{x}: 3 images, but 4 labels in {y}; take both files from one set"
    with pytest.raises(DataError) as caught:
        data.MNISTDataset(y, x)
    assert str(caught.value) == (
        f"{y}: images expected, bytes on 3 axes, but uint8 of shape (4,) found; check the order of the files"
    )

"""Every test that takes `device` runs on each device that is ready here."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import needle


@pytest.fixture(params=[str(device) for device in needle.devices()])
def device(request: pytest.FixtureRequest) -> needle.Device:
    return needle.device(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def idx_bytes() -> Callable[..., bytes]:
    """The content of an IDX file of bytes."""

    def build(array: np.ndarray) -> bytes:
        return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()

    return build


@pytest.fixture
def fashion_folder(tmp_path: Path, idx_bytes: Callable[..., bytes]) -> Path:
    """A folder like Fashion-MNIST's, with 60 and 20 made pictures whose brightness is their label."""
    folder, rng = tmp_path / "fashion", np.random.default_rng(0)
    folder.mkdir()
    for part, n in (("train", 60), ("t10k", 20)):
        labels = np.arange(n) % 10
        images = rng.integers(0, 20, (n, 28, 28)) + 20 * labels[:, None, None]
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


@pytest.fixture
def cifar_folder(tmp_path: Path) -> Path:
    """A folder like CIFAR-10's, with 8 made pictures in each file; those of a label share their colour."""
    folder, rng = tmp_path / "cifar-10-batches-py", np.random.default_rng(0)
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = rng.integers(0, 10, 8).tolist()
        images = rng.integers(0, 60, (8, 3, 1024)) + 19 * np.array(labels)[:, None, None]
        batch = {b"batch_label": name.encode(), b"labels": labels, b"filenames": [b"made.png"] * 8}
        with (folder / name).open("wb") as file:
            pickle.dump({**batch, b"data": images.reshape(8, 3072).astype(np.uint8)}, file, protocol=2)
    return folder

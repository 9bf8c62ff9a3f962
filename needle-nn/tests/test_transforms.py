"""Transforms against formulas, and against NumPy's global generator."""

from typing import Any

import numpy as np
import pytest

from needle import data
from needle.errors import DataError

IMAGE = np.arange(1.0, 4 * 5 * 3 + 1, dtype=np.float32).reshape(4, 5, 3)


def test_flip_draws_one_number_and_swaps_left_and_right() -> None:
    flip = data.RandomFlipHorizontal(p=0.3)
    np.random.seed(0)
    found = [flip(IMAGE) for _ in range(50)]
    np.random.seed(0)
    for image in found:
        expected = IMAGE[:, ::-1, :] if np.random.rand() < 0.3 else IMAGE
        np.testing.assert_array_equal(image, expected)
    assert data.RandomFlipHorizontal(0)(IMAGE) is IMAGE


@pytest.mark.parametrize("padding", [0, 1, 3, 6])
@pytest.mark.parametrize("image", [IMAGE, IMAGE[:, :, 0]], ids=["colour", "grey"])
def test_crop_shifts_and_fills_with_zeros(padding: int, image: Any) -> None:
    np.random.seed(1)
    found = [data.RandomCrop(padding)(image) for _ in range(30)]
    np.random.seed(1)
    for shifted in found:
        down, right = np.random.randint(-padding, padding + 1, size=2)
        expected = np.zeros_like(image)
        for i in range(4):
            for j in range(5):
                if 0 <= i + down < 4 and 0 <= j + right < 5:
                    expected[i, j] = image[i + down, j + right]
        np.testing.assert_array_equal(shifted, expected)


def test_normalize() -> None:
    found = data.Normalize([1, 2, 3], (2, 4, 8))(IMAGE)
    np.testing.assert_allclose(found, (IMAGE - [1, 2, 3]) / [2, 4, 8])
    assert found.dtype == np.float32
    np.testing.assert_allclose(data.Normalize(0.5, 0.25)(IMAGE), (IMAGE - 0.5) * 4)
    with pytest.raises(DataError, match=r"^Normalize: std is \[1, 0\]; it must be above 0$"):
        data.Normalize(0, [1, 0])


def test_to_float() -> None:
    found = data.ToFloat()(np.array([[0, 51, 255]], np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 0.2, 1]])
    assert data.ToFloat()(IMAGE) is IMAGE


def test_cutout_is_a_square_that_may_hang_over_the_border() -> None:
    cutout, sizes = data.Cutout(2), set()
    for seed in range(100):
        np.random.seed(seed)
        cut = cutout(IMAGE)
        gone = np.argwhere((cut == 0).all(2))
        np.testing.assert_array_equal(cut[cut != 0], IMAGE[cut != 0])
        height, width = np.ptp(gone, axis=0) + 1
        assert len(gone) == height * width
        sizes.add((int(height), int(width)))
    assert sizes == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert (IMAGE > 0).all()

"""Transforms of one image (height, width, channels), to be listed in a dataset's `transforms`.

The random ones draw from NumPy's global generator.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import DataError

Image = NumpyArray[Any]


class RandomFlipHorizontal:
    """Left and right swapped, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise DataError(f"RandomFlipHorizontal: a probability is from 0 to 1, not {p}")
        self.p = p

    def __call__(self, image: Image) -> Image:
        return image[:, ::-1] if np.random.rand() < self.p else image


class RandomCrop:
    """The image shifted by up to `padding` pixels each way, with zeros where nothing was."""

    def __init__(self, padding: int = 3) -> None:
        if padding < 0:
            raise DataError(f"RandomCrop: the padding is at least 0, not {padding}")
        self.padding = padding

    def __call__(self, image: Image) -> Image:
        p, (height, width) = self.padding, image.shape[:2]
        down, right = np.random.randint(-p, p + 1, size=2)
        padded = np.pad(image, [(p, p), (p, p), *[(0, 0)] * (image.ndim - 2)])
        return padded[p + down : p + down + height, p + right : p + right + width]


class Normalize:
    """(image - mean) / std, a number for each channel or one for all."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        if not np.all(self.std > 0):
            raise DataError(f"Normalize: std is {std}; it must be above 0")

    def __call__(self, image: Image) -> Image:
        return (image - self.mean) / self.std


class ToFloat:
    """Bytes 0-255 as float32 0-1; what is of floating point already stays as it is."""

    def __call__(self, image: Image) -> Image:
        return image if image.dtype.kind == "f" else image.astype(np.float32) / np.float32(255)


class Cutout:
    """A square of `size` pixels at a random place set to 0; at the border less of it."""

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def __call__(self, image: Image) -> Image:
        top, left = (np.random.randint(n) - self.size // 2 for n in image.shape[:2])
        cut = image.copy()
        cut[max(top, 0) : max(top + self.size, 0), max(left, 0) : max(left + self.size, 0)] = 0
        return cut

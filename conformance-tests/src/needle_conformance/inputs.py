"""Operands: where their elements are drawn from, always the same ones for the same seed, and the edge values."""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any
from zlib import crc32

import numpy as np

from needle.dtype import DType
from needle.shape import Shape
from needle.testing import rounded

FLOATS, INTS, BOOLS = "float", "int", "bool"


@dataclass(frozen=True)
class Input:
    """One operand of a row. Its shape is chosen by the layout, its dtype by the row, unless they stand here."""

    shape: Shape | None = None
    low: float = -3.0
    high: float = 3.0
    step: float = 0.0  # floats: low + step / 2, low + 3 step / 2, ..., hence never at the kinks between
    distinct: bool = False  # no two elements are equal, nor nearer than a finite difference needs
    categories: tuple[str, ...] = (FLOATS,)
    dtype: str | None = None

    @property
    def free(self) -> bool:
        """Whether the row's dtype is the operand's."""
        return self.dtype is None

    def takes(self, dtype: DType) -> bool:
        return dtype.category in self.categories

    def draw(self, rng: np.random.Generator, shape: Shape, dtype: DType) -> Any:
        """Elements that `dtype` holds exactly (bfloat16 as float32)."""
        if dtype.category == "bool":
            return rng.random(shape) < 0.5
        if dtype.category == "int":
            info = np.iinfo(str(dtype))
            low, high = max(ceil(self.low), info.min), min(floor(self.high), info.max)
            return rng.integers(low, high + 1, shape).astype(str(dtype))
        return rounded(self._real(rng, shape), dtype)

    def _real(self, rng: np.random.Generator, shape: Shape) -> Any:
        span = self.high - self.low
        if self.distinct:
            size = int(np.prod(shape))
            return (self.low + span * (rng.permutation(size) + 0.5) / max(size, 1)).reshape(shape)
        if self.step:
            return self.low + self.step * (rng.integers(0, round(span / self.step), shape) + 0.5)
        return rng.uniform(self.low, self.high, shape)


def seed_of(name: str) -> int:
    """The seed that belongs to a test's id."""
    return crc32(name.encode())


def floats(*shape: int, low: float = -3.0, high: float = 3.0) -> Input:
    return Input(shape or None, low, high)


def positive(*shape: int, low: float = 0.25, high: float = 4.0) -> Input:
    return Input(shape or None, low, high)


def nonzero(*shape: int) -> Input:
    """Floats at least 1/8 away from every multiple of 1/4."""
    return Input(shape or None, step=0.25)


def distinct(*shape: int) -> Input:
    """Floats of which no two are near each other; ints, which may repeat."""
    return Input(shape or None, distinct=True, categories=(FLOATS, INTS), low=-20.0, high=20.0)


def numbers(*shape: int, low: float = -3.0, high: float = 3.0, step: float = 0.0) -> Input:
    """Floats and ints."""
    return Input(shape or None, low, high, step, categories=(FLOATS, INTS))


def integers(*shape: int, low: int = -100, high: int = 100) -> Input:
    return Input(shape or None, low, high, categories=(INTS,))


def bits(*shape: int) -> Input:
    """Ints and bools."""
    return Input(shape or None, -100, 100, categories=(INTS, BOOLS))


def anything(*shape: int, low: float = -3.0, high: float = 3.0, step: float = 0.0) -> Input:
    """Elements of every dtype."""
    return Input(shape or None, low, high, step, categories=(FLOATS, INTS, BOOLS))


def bools(*shape: int) -> Input:
    """Bools, whatever the row's dtype is."""
    return Input(shape or None, categories=(BOOLS,), dtype="bool")


def indices(n: int, *shape: int, dtype: str = "int32") -> Input:
    """Positions 0 to n - 1, whatever the row's dtype is."""
    return Input(shape, 0, n - 1, categories=(INTS,), dtype=dtype)


def edges(dtype: DType) -> Any:
    """The values at which kernels go wrong: NaN, infinities, both zeros, the ends of the range, halves, ties."""
    if dtype.category == "bool":
        return np.array([False, True])
    if dtype.category == "int":
        info = np.iinfo(str(dtype))
        values = {info.min, info.min + 1, -7, -2, -1, 0, 1, 2, 3, 7, 8, info.bits - 1, info.max - 1, info.max}
        return np.array(sorted(v for v in values if info.min <= v <= info.max), str(dtype))
    huge, tiny, eps = _FLOAT_EDGES[str(dtype)]
    positives = [0.0, tiny, 2 * tiny, eps, 0.5, 1.0 - eps, 1.0, 1.0 + eps, 1.5, 2.5, 3.0, 10.0, 90.0, huge / 2, huge]
    return rounded([float("nan"), float("inf"), -float("inf"), *positives, *(-v for v in positives)], dtype)


# The largest finite number, the smallest normal one, and the distance from 1 to the next.
_FLOAT_EDGES = {
    "float64": (float(np.finfo(np.float64).max), float(np.finfo(np.float64).tiny), 2.0**-52),
    "float32": (float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny), 2.0**-23),
    "float16": (65504.0, 2.0**-14, 2.0**-10),
    "bfloat16": (3.3895313892515355e38, 2.0**-126, 2.0**-7),
}

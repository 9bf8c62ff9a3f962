"""Smaller and plainer arrays: parts of an axis, whole numbers, ones, zeros; and an array written as Python."""

from collections.abc import Iterator
from typing import Any

import numpy as np

LARGEST = 200  # elements that are written out


def cuts(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Ways of keeping a part of one axis: an element, or a half."""
    for axis, n in enumerate(shape):
        if n > 2:
            yield axis, slice(0, n // 2)
            yield axis, slice(n // 2, n)
        if n > 1:
            yield axis, slice(0, 1)
            yield axis, slice(n - 1, n)


def plainer(values: Any) -> Iterator[Any]:
    """The same array with plainer elements."""
    array = np.asarray(values)
    plain = [np.zeros_like(array), np.ones_like(array)]
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            plain.append(np.rint(array))
    yield from (p for p in plain if not _same(p, array) and _weight(p) < _weight(array))
    if 1 < array.size <= 32:
        for i in np.ndindex(array.shape):
            for element in (0, 1):
                changed = array.copy()
                changed[i] = element
                if _weight(changed) < _weight(array):
                    yield changed


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _weight(array: Any) -> float:
    """How far from plain: 0 for a zero, 1 for a one, 2 for whole numbers, 3 for others, for each element."""
    x = array.astype(np.float64).reshape(-1)
    with np.errstate(all="ignore"):
        whole = np.isfinite(x) & (np.rint(x) == x)
    return float(np.sum(np.where(x == 0, 0, np.where(x == 1, 1, np.where(whole, 2, 3)))))


def written(values: Any) -> str:
    """An array as Python."""
    array = np.asarray(values)
    if array.size == 0:
        return f"np.zeros({array.shape}, '{array.dtype}')"
    text = np.array2string(array, separator=", ", threshold=array.size + 1, max_line_width=10**6,
                           formatter={"float_kind": lambda x: repr(float(x))})  # fmt: skip
    for name in ("nan", "inf"):
        text = text.replace(name, f"np.{name}")
    return f"np.array({' '.join(text.split())}, '{array.dtype}')"

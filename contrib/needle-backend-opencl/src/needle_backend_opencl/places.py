"""Where the elements of several views lie, as the kernels' struct Places takes it."""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from needle.layout import Layout
from numpy.typing import NDArray

Placing: TypeAlias = tuple[int, NDArray[Any]]  # RANK, and the struct's numbers

_RANKS = (1, 2, 4, 8, 16)  # a kernel is built for one of these, so that most shapes share one


@lru_cache(maxsize=4096)
def placed(layouts: tuple[Layout, ...]) -> Placing:
    """The elements of views walked together; the first gives the shape, of which others may have one element."""
    shape, size = layouts[0].shape, layouts[0].size
    offsets = [layout.offset for layout in layouts]
    if all(layout.contiguous and layout.size == size for layout in layouts):
        return 0, np.array([size, *offsets, 1, *[1] * len(layouts)], np.int64)
    strides = [layout.strides if layout.shape == shape else (0,) * len(shape) for layout in layouts]
    axes = _merged(list(zip(shape, *strides, strict=True)))
    rank = next(r for r in _RANKS if r >= len(axes))
    axes = [(1, *[0] * len(layouts))] * (rank - len(axes)) + axes
    columns = list(zip(*axes, strict=True))
    return rank, np.array([size, *offsets, *(number for column in columns for number in column)], np.int64)


def _merged(axes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The fewest axes (extent, stride of each view) that walk the same elements in the same order."""
    merged: list[tuple[int, ...]] = []
    for extent, *strides in axes:
        if extent == 1:
            continue
        if merged and all(outer == extent * inner for outer, inner in zip(merged[-1][1:], strides, strict=True)):
            merged[-1] = (merged[-1][0] * extent, *strides)
        else:
            merged.append((extent, *strides))
    return merged

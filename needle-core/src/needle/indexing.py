"""Reads the key of `x[key]` by the rules of the Array API standard and NumPy.

A key is first split into *steps*, one for each axis that it names, which make a view, and index arrays, which
select elements and so need a gather. What follows from the arrays is written over what NDArray and Tensor share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from operator import index as as_index
from typing import Any, TypeAlias

import numpy as np

from needle.errors import DTypeError, IndexRangeError, ShapeError
from needle.layout import Layout
from needle.shape import Shape, broadcast_shapes

# (start, step, length) takes a slice of an axis, an int takes one element of it, None adds an axis.
Step: TypeAlias = tuple[int, int, int] | int | None


@dataclass(frozen=True)
class Key:
    """A parsed key: the steps of its view, and the arrays that index axes of that view."""

    steps: tuple[Step, ...]
    arrays: tuple[tuple[int, Any], ...]  # (axis of the view, index array)
    position: int  # where the axes of the index arrays go in the result


def parse_key(key: Any, shape: Shape) -> Key:
    """Split a key; IndexRangeError or ShapeError where it does not fit the shape."""
    return _int_key(key, shape) if type(key) is int else _parsed(key, shape)


@lru_cache(maxsize=4096)
def _int_key(key: int, shape: Shape) -> Key:
    """The key of `x[3]`, the commonest."""
    return _parsed(key, shape)


def _parsed(key: Any, shape: Shape) -> Key:
    items = _expand(key if isinstance(key, tuple) else (key,), shape)
    steps: list[Step] = []
    arrays: list[tuple[int, Any]] = []
    advanced: list[int] = []  # positions of ints and arrays among the items, as NumPy counts them together
    axis = view_axis = 0
    first = None
    for position, item in enumerate(items):
        if item is None:
            steps.append(None)
            view_axis += 1
        elif isinstance(item, slice):
            start, stop, step = _bounds(item, shape[axis])
            steps.append((start, step, len(range(start, stop, step))))
            axis, view_axis = axis + 1, view_axis + 1
        elif _is_index_array(item):
            steps.append((0, 1, shape[axis]))
            arrays.append((view_axis, item))
            advanced.append(position)
            first = view_axis if first is None else first
            axis, view_axis = axis + 1, view_axis + 1
        else:
            steps.append(_checked_index(item, shape[axis], axis, shape))
            advanced.append(position)
            first = view_axis if first is None else first
            axis += 1
    together = bool(advanced) and advanced[-1] - advanced[0] == len(advanced) - 1
    return Key(tuple(steps), tuple(arrays), first if together and first is not None else 0)


def _expand(items: tuple[Any, ...], shape: Shape) -> list[Any]:
    """The key with its Ellipsis and missing axes written out as full slices, and masks as index arrays."""
    result: list[Any] = []
    used = sum(_axes_used(item) for item in items)
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ShapeError("index: more than one Ellipsis (...)")
    if used > len(shape):
        raise IndexRangeError(f"index: {used} indices for rank {len(shape)}: shape is {shape}")
    missing = [slice(None)] * (len(shape) - used)
    for item in items:
        if item is Ellipsis:
            result += missing
        elif _is_mask(item):
            axis = sum(_axes_used(i) for i in result if i is not None)
            result += _nonzero(item, shape, axis)
        else:
            result.append(item)
    return result if dots else result + missing


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    return len(_shape_of(item)) if _is_mask(item) else 1


def _shape_of(item: Any) -> Shape:
    return tuple(item.shape) if hasattr(item, "shape") else np.shape(item)


def _is_index_array(item: Any) -> bool:
    if isinstance(item, list | np.ndarray):
        return True
    return hasattr(item, "dtype") and hasattr(item, "reshape") and not isinstance(item, np.generic)


def _is_mask(item: Any) -> bool:
    if isinstance(item, bool | np.bool_):
        return True
    dtype = np.asarray(item).dtype if isinstance(item, list) else getattr(item, "dtype", None)
    return str(dtype) == "bool"


def _nonzero(mask: Any, shape: Shape, axis: int) -> list[Any]:
    """A mask's true positions, one index array per axis of it. Waits: how many there are is data."""
    values = np.asarray(mask.numpy() if hasattr(mask, "numpy") else mask)
    if values.shape != shape[axis : axis + values.ndim]:
        raise IndexRangeError(
            f"index: a mask of shape {values.shape} does not fit axes {axis} to {axis + values.ndim - 1} of {shape}"
        )
    if values.ndim == 0:
        raise ShapeError("index: a single bool is no index; use where() or an array of bools")
    return list(values.nonzero())


def _bounds(item: slice, n: int) -> tuple[int, int, int]:
    try:
        return item.indices(n)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"index: {item}: {error}") from None


def _checked_index(item: Any, n: int, axis: int, shape: Shape) -> int:
    try:
        i = as_index(item)
    except TypeError:
        raise DTypeError(
            f"index: {item!r} is no index; use ints, slices, None, ..., or arrays of ints or bools"
        ) from None
    if not -n <= i < n:
        raise IndexRangeError(f"index: {i} is out of range for axis {axis} of size {n}: shape is {shape}")
    return i % n


@lru_cache(maxsize=8192)
def view_layout(layout: Layout, steps: tuple[Step, ...]) -> Layout:
    """The layout of the view that the steps make."""
    axis = 0
    for step in steps:
        if step is None:
            layout = layout.insert_axis(axis)
            axis += 1
        elif isinstance(step, int):
            layout = layout.select(axis, step)
        else:
            start, stride, length = step
            if (start, stride, length) != (0, 1, layout.shape[axis]):
                layout = layout.slice(axis, start, stride, length)
            axis += 1
    return layout


def is_whole(steps: Sequence[Step], shape: Shape) -> bool:
    """Whether the steps take everything as it is."""
    return len(steps) == len(shape) and all(s == (0, 1, n) for s, n in zip(steps, shape, strict=True))


def axis_steps(shape: Shape, axis: int, start: int, length: int) -> tuple[Step, ...]:
    """The steps that take `length` positions of one axis and all of the others."""
    return tuple((start, 1, length) if a == axis else (0, 1, n) for a, n in enumerate(shape))


@dataclass(frozen=True)
class Picks:
    """Index arrays made into one: `linear` counts through the axes `axes`, which are moved to the front."""

    axes: Shape
    linear: Any  # an integer NumPy array, or an integer array of the device
    shape: Shape  # of the index
    position: int


def linear_index(key: Key, shape: Shape) -> Picks:
    """One index into the flattened indexed axes, for a view of this shape; negative indices are wrapped.

    Arrays on the host are checked here; those on a device, by the gather that reads them.
    """
    arrays = [_index_array(a) for _, a in key.arrays]
    axes = tuple(axis for axis, _ in key.arrays)
    target = broadcast_shapes("index", *(tuple(a.shape) for a in arrays))
    linear: Any = 0
    for axis, array in zip(axes, arrays, strict=True):
        linear = linear * shape[axis] + _wrapped(array, shape[axis], axis, shape)
    return Picks(axes, linear, target, key.position)


def _index_array(array: Any) -> Any:
    values = np.asarray(array, dtype=np.int64 if np.size(array) == 0 else None) if isinstance(array, list) else array
    if not str(values.dtype).startswith(("int", "uint")):
        raise DTypeError(f"index: an index array holds ints or bools, not {values.dtype}")
    return values if isinstance(values, np.ndarray) else values.positions()


def _wrapped(array: Any, n: int, axis: int, shape: Shape) -> Any:
    if not isinstance(array, np.ndarray):
        return (array < 0).where(array + n, array)
    array = array.astype(np.int64)
    outside = (array < -n) | (array >= n)
    if outside.any():
        bad = array[outside].flat[0]
        raise IndexRangeError(f"index: {bad} is out of range for axis {axis} of size {n}: shape is {shape}")
    return np.where(array < 0, array + n, array)


def picked_order(rank: int, picks: Picks) -> tuple[Shape, Shape]:
    """How to permute a view so that the indexed axes come first, and how to permute the result back in place."""
    rest = tuple(a for a in range(rank) if a not in picks.axes)
    index_rank = len(picks.shape)
    # After the gather the axes are (index axes, rest); the index axes belong at `position` among the rest.
    before = range(index_rank, index_rank + picks.position)
    after = range(index_rank + picks.position, index_rank + len(rest))
    return (*picks.axes, *rest), (*before, *range(index_rank), *after)


def pick_sizes(shape: Shape, picks: Picks) -> tuple[int, Shape]:
    """The size of the indexed axes together, and the shape of the others."""
    rest = tuple(n for a, n in enumerate(shape) if a not in picks.axes)
    return prod(shape[a] for a in picks.axes), rest

"""Shapes as tuples of ints, and the rules of broadcasting and of axes: pure functions, no arrays."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from operator import index
from typing import Any, TypeAlias

from needle.errors import ArgumentError, ShapeError, shown

Shape: TypeAlias = tuple[int, ...]
Axes: TypeAlias = int | Sequence[int] | None

MAX_RANK = 16  # native code holds shapes and strides in arrays of this length
MAX_SIZE = 2**59  # elements; the size in bytes must fit a signed 64-bit integer


def as_shape(shape: int | Iterable[int], op: str = "shape") -> Shape:
    """A shape from one int or several; each at least 0, the rank and the product within bounds."""
    try:
        result = (index(shape),) if hasattr(shape, "__index__") else tuple(map(index, shape))  # type: ignore[arg-type]  # hasattr is the quick way
    except TypeError:
        raise ShapeError(f"{op}: a shape is an int or a tuple of ints, not {shown(shape)}") from None
    check_shape(result, op)
    return result


@lru_cache(maxsize=4096)
def check_shape(shape: Shape, op: str = "shape") -> None:
    """Raise ShapeError for negative sizes, too many axes, or more elements than 64 bits can count."""
    if any(n < 0 for n in shape):
        raise ShapeError(f"{op}: negative size in {shape}")
    if len(shape) > MAX_RANK:
        raise ShapeError(f"{op}: {len(shape)} axes, at most {MAX_RANK} are possible: {shape}")
    if prod(n for n in shape if n) > MAX_SIZE:
        raise ShapeError(f"{op}: {shape} has more elements than a 64-bit size in bytes can count")


@lru_cache(maxsize=4096)
def size_of(shape: Shape) -> int:
    """The number of elements."""
    return prod(shape)


@lru_cache(maxsize=4096)
def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """The common shape by NumPy's rule: aligned at the last axis, where a size of 1 stretches."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result = []
    for sizes in zip(*padded, strict=True):
        wide = [n for n in sizes if n != 1]
        if any(n != wide[0] for n in wide):
            one, other = wide[0], next(n for n in wide if n != wide[0])
            raise ShapeError(
                f"{op}: cannot broadcast {' with '.join(map(str, shapes))}: {one} and {other} differ and neither is 1"
            )
        result.append(wide[0] if wide else 1)
    check_shape(tuple(result), op)
    return tuple(result)


def check_broadcast(op: str, shape: Shape, target: Shape) -> None:
    """Raise ShapeError unless `shape` stretches to `target`."""
    lead = len(target) - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, target[max(lead, 0) :], strict=True)):
        raise ShapeError(f"{op}: {shape} does not broadcast to {target}")


@lru_cache(maxsize=4096)
def broadcast_axes(shape: Shape, target: Shape) -> tuple[int, ...]:
    """The axes of `target` along which `shape` was repeated: a gradient is summed over them."""
    lead = len(target) - len(shape)
    stretched = (lead + i for i, n in enumerate(shape) if n == 1 and target[lead + i] != 1)
    return (*range(lead), *stretched)


def normalize_axis(axis: int, rank: int, op: str) -> int:
    """`axis` counted from the front, or ShapeError."""
    try:
        axis = index(axis)
    except TypeError:
        raise ShapeError(f"{op}: an axis is an int, not {shown(axis)}") from None
    if not -rank <= axis < rank:
        raise ShapeError(f"{op}: axis {axis} is out of range for rank {rank}")
    return axis % rank


def either_axes(axes: Axes, axis: Axes, op: str) -> Axes:
    """The axes that a caller chose: `axes`, which NumPy and the Array API call `axis`. Hot paths call it if need be."""
    if axis is None:
        return axes
    if axes is not None:
        raise ArgumentError(f"{op}: axes and axis are two names of one argument; give one, not {axes} and {axis}")
    return axis


def only_defaults(op: str, numpy: dict[str, Any]) -> None:
    """Accept what NumPy's reductions pass besides axis and keepdims if it asks for nothing: np.sum(x) is x.sum()."""
    for name, value in numpy.items():
        if name not in _OF_NUMPY:
            raise TypeError(f"{op}() got an unexpected keyword argument '{name}'")
        if value is not _OF_NUMPY[name]:
            raise ArgumentError(f"{op}: {name} is an argument of NumPy's that arrays of Needle do not take")


_OF_NUMPY = {"out": None, "dtype": None, "where": True, "initial": None}  # with their defaults


def normalize_axes(axes: Axes, rank: int, op: str) -> tuple[int, ...]:
    """The axes in ascending order, counted from the front; None means all of them."""
    if axes is None:
        return tuple(range(rank))
    listed = tuple(axes) if isinstance(axes, Sequence) else (axes,)
    result = tuple(sorted(normalize_axis(a, rank, op) for a in listed))
    if len(set(result)) != len(result):
        raise ShapeError(f"{op}: axis repeated in {listed}")
    return result


@lru_cache(maxsize=4096)
def reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """The shape after reducing over `axes` (normalized), which stay as 1 or go."""
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


@lru_cache(maxsize=4096)
def resolve_reshape(shape: Shape, target: Shape) -> Shape:
    """`target` with its one -1, if any, replaced by the size that is left."""
    total = size_of(shape)
    if target.count(-1) > 1:
        raise ShapeError(f"reshape: more than one -1 in {target}")
    if -1 in target:
        known = prod(n for n in target if n != -1)
        if known == 0 or total % known:
            raise ShapeError(f"reshape: {total} elements do not divide into {target}: shape is {shape}")
        target = tuple(total // known if n == -1 else n for n in target)
    check_shape(target, "reshape")
    if prod(target) != total:
        raise ShapeError(f"reshape: {shape} has {total} elements, {target} has {prod(target)}")
    return target

"""Layout: where the elements of a view lie in its buffer. Views are algebra on layouts and move no memory.

Element (i, j, ...) lies at `offset + i * strides[0] + j * strides[1] + ...`, counted in elements.
Layouts are values: immutable, interned by the caches below, compared by what they say.
"""

from dataclasses import dataclass, field
from functools import lru_cache

from needle.shape import Shape, check_broadcast, check_shape, size_of

_cache = lru_cache(maxsize=8192)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Shape, strides and offset, in elements; `size` and `contiguous` follow from them."""

    shape: Shape
    strides: Shape
    offset: int = 0
    size: int = field(init=False, repr=False)
    contiguous: bool = field(init=False, repr=False)  # row-major without gaps, at any offset
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", size_of(self.shape))
        object.__setattr__(self, "contiguous", _is_contiguous(self.shape, self.strides))
        object.__setattr__(self, "_hash", hash((self.shape, self.strides, self.offset)))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Layout):
            return NotImplemented
        return (self.shape, self.strides, self.offset) == (other.shape, other.strides, other.offset)

    def __hash__(self) -> int:
        return self._hash

    @staticmethod
    @lru_cache(maxsize=8192)
    def compact(shape: Shape) -> "Layout":
        """Row-major, without gaps, from offset 0."""
        return Layout(shape, compact_strides(shape))

    @property
    def compacted(self) -> bool:
        """Contiguous and from offset 0."""
        return self.contiguous and self.offset == 0

    @property
    def rank(self) -> int:
        return len(self.shape)

    def permute(self, axes: Shape) -> "Layout":
        """Axis `axes[i]` becomes axis `i`."""
        return permuted_layout(self, axes)

    def broadcast_to(self, shape: Shape) -> "Layout":
        """Repeat axes of size 1, and new leading axes, by stride 0."""
        return _broadcast_to(self, shape)

    def reshape(self, shape: Shape) -> "Layout | None":
        """The same elements in row-major order under another shape, or None where that takes a copy."""
        return _reshape(self, shape)

    def slice(self, axis: int, start: int, step: int, length: int) -> "Layout":
        """`length` elements of one axis, from `start` by `step`, which may be negative."""
        return _slice(self, axis, start, step, length)

    def select(self, axis: int, index: int) -> "Layout":
        """One element of an axis, which goes."""
        return _select(self, axis, index)

    def flip(self, axes: Shape) -> "Layout":
        """The named axes in reverse order."""
        return _flip(self, axes)

    def insert_axis(self, axis: int) -> "Layout":
        """A new axis of size 1 before axis `axis`."""
        shape = (*self.shape[:axis], 1, *self.shape[axis:])
        return Layout(shape, (*self.strides[:axis], 0, *self.strides[axis:]), self.offset)

    def span(self) -> tuple[int, int]:
        """The first element and one past the last that the view touches; (offset, offset) if it is empty."""
        if self.size == 0:
            return self.offset, self.offset
        reach = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        return self.offset + sum(r for r in reach if r < 0), self.offset + sum(r for r in reach if r > 0) + 1

    def overlaps_itself(self) -> bool:
        """Whether two indices may share an element: such a view must not be written."""
        if self.size == 0:
            return False
        steps = sorted((abs(s), n) for n, s in zip(self.shape, self.strides, strict=True) if n > 1)
        reach = 0
        for stride, n in steps:
            if stride <= reach:
                return True
            reach += stride * (n - 1)
        return False


@lru_cache(maxsize=8192)
def compact_strides(shape: Shape) -> Shape:
    """Row-major strides: the last axis steps by 1."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


@lru_cache(maxsize=64)
def reversed_axes(rank: int) -> Shape:
    return tuple(range(rank - 1, -1, -1))


@lru_cache(maxsize=64)
def swapped_axes(rank: int) -> Shape:
    """The order of axes that swaps the last two."""
    return (*range(rank - 2), rank - 1, rank - 2)


def _is_contiguous(shape: Shape, strides: Shape) -> bool:
    expected = 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and stride != expected:
            return size_of(shape) == 0
        expected *= n
    return True


@_cache
def permuted_layout(layout: Layout, axes: Shape) -> Layout:
    shape, strides = layout.shape, layout.strides
    return Layout(tuple(shape[a] for a in axes), tuple(strides[a] for a in axes), layout.offset)


@_cache
def _broadcast_to(layout: Layout, shape: Shape) -> Layout:
    check_shape(shape, "broadcast_to")
    check_broadcast("broadcast_to", layout.shape, shape)
    lead = len(shape) - len(layout.shape)
    kept = (0 if n != m else s for n, m, s in zip(layout.shape, shape[lead:], layout.strides, strict=True))
    return Layout(shape, (0,) * lead + tuple(kept), layout.offset)


@_cache
def _reshape(layout: Layout, shape: Shape) -> Layout | None:
    if layout.contiguous:
        return Layout(shape, compact_strides(shape), layout.offset)
    strides = _split_axes(merge_axes(layout.shape, layout.strides), shape)
    return None if strides is None else Layout(shape, strides, layout.offset)


@_cache
def storage_order(layout: Layout) -> tuple[Shape, Shape] | None:
    """For elements that lie without gaps but in another order of axes: that order, and the way back; else None."""
    order = tuple(sorted(range(layout.rank), key=lambda a: (-layout.strides[a], a)))
    if layout.contiguous or not layout.permute(order).contiguous:
        return None
    return order, tuple(order.index(a) for a in range(layout.rank))


def merge_axes(shape: Shape, strides: Shape) -> list[tuple[int, int]]:
    """The fewest (size, stride) axes that walk the same elements in the same order."""
    merged: list[tuple[int, int]] = []
    for n, stride in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if merged and merged[-1][1] == n * stride:
            merged[-1] = (merged[-1][0] * n, stride)
        else:
            merged.append((n, stride))
    return merged


def _split_axes(merged: list[tuple[int, int]], shape: Shape) -> Shape | None:
    """Strides that give `shape` by cutting the merged axes, or None where an axis of it would span two."""
    strides: list[int] = []
    rest = list(merged)
    left, step = 1, 0  # what is still uncut of the innermost merged axis, and the stride of the next cut
    for n in reversed(shape):
        if n == 1:
            strides.append(0)
            continue
        if left == 1:
            if not rest:
                return None
            left, step = rest.pop()
        if left % n:
            return None
        strides.append(step)
        left, step = left // n, step * n
    return tuple(reversed(strides)) if left == 1 and not rest else None


@_cache
def _slice(layout: Layout, axis: int, start: int, step: int, length: int) -> Layout:
    stride = layout.strides[axis]
    shape = (*layout.shape[:axis], length, *layout.shape[axis + 1 :])
    strides = (*layout.strides[:axis], stride * step, *layout.strides[axis + 1 :])
    return Layout(shape, strides, layout.offset + (start * stride if length else 0))


@_cache
def _select(layout: Layout, axis: int, index: int) -> Layout:
    shape = layout.shape[:axis] + layout.shape[axis + 1 :]
    strides = layout.strides[:axis] + layout.strides[axis + 1 :]
    return Layout(shape, strides, layout.offset + index * layout.strides[axis])


@_cache
def _flip(layout: Layout, axes: Shape) -> Layout:
    strides = tuple(-s if a in axes else s for a, s in enumerate(layout.strides))
    last = sum((layout.shape[a] - 1) * layout.strides[a] for a in axes) if layout.size else 0
    return Layout(layout.shape, strides, layout.offset + last)

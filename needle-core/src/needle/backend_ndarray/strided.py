"""Strided: the course's array as a shape, strides and an offset into memory that views share."""

from collections.abc import Sequence
from math import prod as _prod
from operator import index as as_index
from typing import Any, Self

import numpy as np

from needle import ndarray as ours
from needle.backend_ndarray.primitives import Memory
from needle.dtype import float32
from needle.errors import DTypeError, IndexRangeError, ShapeError
from needle.host_arrays import check_numbers
from needle.layout import Layout, compact_strides
from needle.shape import Shape, normalize_axis

Axes = int | Sequence[int] | None


class ContractError(ShapeError, DTypeError, AssertionError):
    """What the course asserts: a broadcast, an index, a slice, a dtype or two shapes that do not go together."""


class RangeError(IndexRangeError, AssertionError):
    """An index outside its axis, which the course asserts."""


def prod(values: Sequence[int]) -> int:
    """The product of all; of none, 1."""
    return int(_prod(values))


def require(holds: bool, text: str) -> None:
    if not holds:
        raise ContractError(text)


class Strided:
    """Views of an array of ours, by the course's rules: nothing drops a dimension, strides count elements."""

    array: ours.NDArray
    __hash__ = object.__hash__

    @classmethod
    def of(cls, array: ours.NDArray) -> Self:
        """One of our arrays as the course's, sharing its memory."""
        self = cls.__new__(cls)
        self.array = array
        return self

    def _viewed(self, layout: Layout) -> Self:
        return self.of(self.array.viewed(layout))

    # What it is.

    @property
    def shape(self) -> Shape:
        return self.array.layout.shape

    @property
    def strides(self) -> Shape:
        return self.array.layout.strides

    @property
    def dtype(self) -> str:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return len(self.array.layout.shape)

    @property
    def size(self) -> int:
        return self.array.layout.size

    @property
    def _shape(self) -> Shape:
        return self.array.layout.shape

    @property
    def _strides(self) -> Shape:
        return self.array.layout.strides

    @property
    def _offset(self) -> int:
        return self.array.layout.offset

    @property
    def _handle(self) -> Memory:
        return Memory(self.array.buffer, self.array.device)

    def __len__(self) -> int:
        return len(self.array)

    @staticmethod
    def compact_strides(shape: Shape) -> Shape:
        """Row-major strides."""
        return compact_strides(tuple(shape))

    def is_compact(self) -> bool:
        """Whether the elements fill their memory in row-major order."""
        layout = self.array.layout
        return layout.compacted and layout.size * self.array.dtype.itemsize == self.array.buffer.nbytes

    # Views.

    def compact(self) -> Self:
        """Itself if compact, else a copy that is."""
        return self if self.is_compact() else self.of(self.array.copy())

    def as_strided(self, shape: Shape, strides: Shape) -> Self:
        """The same memory under another shape and strides."""
        require(len(shape) == len(strides), f"as_strided: {shape} and {strides} differ in rank")
        return self._viewed(Layout(tuple(shape), tuple(strides), self._offset))

    @property
    def flat(self) -> Self:
        """One dimension, over the same memory; ValueError where no view can be that."""
        layout = self.array.layout.reshape((self.size,))
        if layout is None:
            raise ShapeError(f"flat: strides {self.strides} of {self.shape} need a copy; call compact() first")
        return self._viewed(layout)

    def reshape(self, *shape: Any) -> Self:
        """The same elements under another shape, a view if they are compact; one size may be -1."""
        return self.of(self.array.reshape(*shape))

    def permute(self, *axes: Any) -> Self:
        """Axis `axes[i]` becomes axis i."""
        return self.of(self.array.permute(*axes))

    def swapaxes(self, i: int, j: int) -> Self:
        """Two axes exchanged, as NumPy's method."""
        order = list(range(self.ndim))
        i, j = (normalize_axis(axis, self.ndim, "transpose") for axis in (i, j))
        order[i], order[j] = order[j], order[i]
        return self.permute(tuple(order))

    def broadcast_to(self, *shape: Any) -> Self:
        """Axes of size 1, and new leading ones, repeated by stride 0."""
        try:
            return self.of(self.array.broadcast_to(*shape))
        except ShapeError as error:
            raise ContractError(str(error)) from None

    def flip(self, axes: Axes = None, *, axis: Axes = None) -> Self:
        """A compact copy with axes in reverse order."""
        return self.of(self.array.flip(axes, axis=axis).copy())

    # Elements in and out.

    def process_slice(self, sl: slice, dim: int) -> slice:
        """A slice of an axis with start, stop and step written out; backward steps are not supported."""
        require(sl.step is None or sl.step > 0, f"index: {sl} steps backward")
        start, stop, step = sl.indices(self.shape[dim])
        require(start < stop, f"index: {sl} takes nothing of axis {dim} of size {self.shape[dim]}")
        return slice(start, stop, step)

    def _slices(self, key: Any) -> list[slice]:
        items = key if isinstance(key, tuple) else (key,)
        require(len(items) == self.ndim, f"index: {len(items)} indices for {self.ndim} dimensions: {self.shape}")
        return [self.process_slice(self._as_slice(item, dim), dim) for dim, item in enumerate(items)]

    def _as_slice(self, item: Any, dim: int) -> slice:
        if isinstance(item, slice):
            return item
        try:
            i, n = as_index(item), self.shape[dim]
        except TypeError:
            raise ContractError(f"index: {item!r} is no int and no slice") from None
        if not -n <= i < n:
            raise RangeError(f"index: {i} is out of range for axis {dim} of size {n}: shape is {self.shape}")
        return slice(i % n, i % n + 1, 1)

    def __getitem__(self, key: Any) -> Self:
        """A view: an int takes one element of an axis, which stays as 1."""
        layout = self.array.layout
        for axis, part in enumerate(self._slices(key)):
            layout = layout.slice(axis, part.start, part.step, len(range(part.start, part.stop, part.step)))
        return self._viewed(layout)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Written in place: a number, or an array of as many elements."""
        view = self[key].array
        if not isinstance(value, Strided | np.ndarray) or np.size(value) == 1:
            view.assign(float(np.asarray(value).item()))
            return
        source = value.array if isinstance(value, Strided) else view.like(value)
        require(source.size == view.size, f"assign: {source.shape} has not as many elements as {view.shape}")
        view.assign(source.reshape(view.shape))

    def fill(self, value: float) -> None:
        """Every element becomes `value`."""
        self.array.assign(float(value))

    def numpy(self) -> Any:
        """A NumPy array with a copy of the elements."""
        return self.array.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.array.numpy(), dtype)

    def __float__(self) -> float:
        return float(self.array)

    def __bool__(self) -> bool:
        return bool(self.array)

    def __repr__(self) -> str:
        return f"NDArray({self.numpy()}, device={self.array.device!r})"

    def __str__(self) -> str:
        return str(self.numpy())


def host_array(value: Any) -> Any:
    """Numbers, lists and arrays of whatever kind as float32 in NumPy."""
    check_numbers(np.asarray(value))
    return np.asarray(value, np.float32)


def from_host(value: Any, device: Any) -> ours.NDArray:
    """A copy of host memory, as float32 on a device."""
    return ours.from_numpy(host_array(value), device, float32)

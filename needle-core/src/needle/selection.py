"""Elements of an array by index arrays: gather, scatter_add, and `x[array]` made of them."""

from collections.abc import Sequence
from math import prod
from typing import Any, Self, TypeVar

import numpy as np

from needle import dispatch
from needle.errors import DTypeError, ShapeError
from needle.indexing import Key, Step, axis_steps, linear_index, pick_sizes, picked_order, view_layout
from needle.layout import Layout
from needle.operators import Operators
from needle.shape import Shape, check_broadcast, normalize_axis
from needle.views import Views


class Selection(Views, Operators):
    """The methods of NDArray that read and write by index."""

    __slots__ = ()

    def gather(self, index: Self, axis: int) -> Self:
        """self[..., index[...], ...] along an axis; the other axes of `index` are self's (or stretch to them)."""
        at = normalize_axis(axis, self.ndim, "gather")
        outer, n, inner = _around(self.shape, at)
        positions = _index_view(index, self.shape, at)
        m = index.shape[at]
        out = self.new((*self.shape[:at], m, *self.shape[at + 1 :]), self.dtype)
        flat = out.viewed(Layout.compact((outer, m, inner)))
        dispatch.run(self.device, "gather", flat, self.reshape(outer, n, inner), positions)
        return out

    def scatter_add(self, index: Self, source: Self, axis: int) -> Self:
        """A copy of self to which source[i] is added at index[i] along an axis; repeated indices add up."""
        at = normalize_axis(axis, self.ndim, "scatter_add")
        out = self.copy()
        positions = _index_view(index, self.shape, at)
        shape = (*self.shape[:at], index.shape[at], *self.shape[at + 1 :])
        values = source.broadcast_to(shape).reshape(positions.shape)
        target = out.viewed(Layout.compact(_around(self.shape, at)))
        dispatch.run(self.device, "scatter_add", target, positions, values)
        return out

    def scattered(self, index: Self, axis: int, size: int) -> Self:
        """Zeros of `size` along an axis, to which self is added at `index`: the transpose of gather."""
        at = normalize_axis(axis, self.ndim, "scatter_add")
        shape = (*self.shape[:at], size, *self.shape[at + 1 :])
        return self.filled(shape, 0, self.dtype).scatter_add(index, self, at)

    def embedded(self, steps: tuple[Step, ...], shape: Shape) -> Self:
        """Zeros of `shape` in which the view of `steps` is self: the transpose of slicing."""
        out = self.filled(shape, 0, self.dtype)
        out.viewed(view_layout(out.layout, steps)).assign(self)
        return out

    def concatenated(self, others: Sequence[Self], axis: int) -> Self:
        """Self and others end to end along an axis."""
        length = self.shape[axis] + sum(x.shape[axis] for x in others)
        out = self.new((*self.shape[:axis], length, *self.shape[axis + 1 :]), self.dtype)
        start = 0
        for x in (self, *others):
            out.sliced(axis_steps(out.shape, axis, start, x.shape[axis])).assign(x)
            start += x.shape[axis]
        return out

    def assign_picked(self, key: Key, value: Any) -> None:
        """self[key] = value in place, for a key with index arrays. Of repeated indices the last value stays."""
        picks = linear_index(key, self.shape)
        order, back = picked_order(self.ndim, picks)
        size, rest = pick_sizes(self.shape, picks)
        index = np.asarray(picks.linear.numpy() if hasattr(picks.linear, "numpy") else picks.linear).reshape(-1)
        if index.size == 0:
            return
        shape = tuple((*picks.shape, *rest)[a] for a in back)
        source = self.like(value).astype(self.dtype)
        check_broadcast("assign", source.shape, shape)
        ordered = source.broadcast_to(shape).permute(tuple(back.index(a) for a in range(len(back))))
        last = np.full(size, -1)
        last[index] = np.arange(index.size)  # which value each row gets, if any
        front = self.permute(order)
        chosen = ordered.reshape(index.size, prod(rest)).gather(_positions(self, np.maximum(last, 0)), 0)
        front.assign(
            self.like(last >= 0).reshape(size, 1).where(chosen, front.reshape(size, prod(rest))).reshape(front.shape)
        )


A = TypeVar("A", bound=Any)


def pick(view: A, key: Key) -> A:
    """The elements of a view at its key's index arrays: a gather along the indexed axes, flattened into one.

    Written over what NDArray and Tensor share, so that it is differentiable.
    """
    picks = linear_index(key, view.shape)
    order, back = picked_order(len(view.shape), picks)
    size, rest = pick_sizes(view.shape, picks)
    index = _positions(view, picks.linear)
    rows: Any = view.permute(order).reshape(size, prod(rest)).gather(index, 0)
    picked: A = rows.reshape(*picks.shape, *rest).permute(back)
    return picked


def _positions(model: Any, linear: Any) -> Any:
    """One column of positions, on the device of the model, an array or a Tensor, and in its type of indices."""
    device = getattr(model, "array", model).device
    host = linear.astype(str(dispatch.index_dtype(device))) if isinstance(linear, np.ndarray) else linear
    return model.like(host).reshape(-1, 1)


def _around(shape: Shape, axis: int) -> tuple[int, int, int]:
    """The sizes before an axis, of it, and after it: every array is (outer, n, inner) to a gather."""
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def _index_view(index: Any, shape: Shape, axis: int) -> Any:
    """The index as (outer, m, inner) of the array that it indexes: its other axes are that array's, or 1."""
    if index.dtype.category != "int":
        raise DTypeError(f"gather: the index holds ints, not {index.dtype}")
    target = (*shape[:axis], index.shape[axis] if index.ndim == len(shape) else -1, *shape[axis + 1 :])
    if index.ndim != len(shape) or any(n not in (1, m) for n, m in zip(index.shape, target, strict=True)):
        raise ShapeError(f"gather: an index of shape {index.shape} does not fit {shape} along axis {axis}")
    index = index.positions()
    outer, _, inner = _around(shape, axis)
    if index.size == index.shape[axis]:  # one list of positions for all: strides of 0, whatever the rank
        return index.reshape(1, index.shape[axis], 1).broadcast_to(outer, index.shape[axis], inner)
    return index.broadcast_to(target).reshape(outer, index.shape[axis], inner)

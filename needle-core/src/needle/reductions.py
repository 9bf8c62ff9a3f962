"""Reductions of an array over some of its axes, or all; and running sums."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Self

from needle import dispatch
from needle.dtype import float16, float32, int64
from needle.errors import ShapeError
from needle.kinds import Reduce
from needle.layout import Layout
from needle.operators import Operators
from needle.result_types import sum_dtype
from needle.rowwise import Rowwise
from needle.shape import Axes, Shape, either_axes, normalize_axes, normalize_axis, only_defaults, reduced_shape


class Reductions(Rowwise, Operators):
    """The reductions of NDArray."""

    __slots__ = ()

    def sum(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        """The sum; ints and bools in int64 (int32 where the device has none)."""
        if numpy:
            only_defaults("sum", numpy)
        return self._wide()._reduced(Reduce.SUM, axes, keepdims, axis)

    def prod(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("prod", numpy)
        return self._wide()._reduced(Reduce.PROD, axes, keepdims, axis)

    def max(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("max", numpy)
        return self._reduced(Reduce.MAX, axes, keepdims, axis)

    def min(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("min", numpy)
        return self._reduced(Reduce.MIN, axes, keepdims, axis)

    def any(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("any", numpy)
        return self._truth(Reduce.MAX, axes, keepdims, axis)

    def all(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("all", numpy)
        return self._truth(Reduce.MIN, axes, keepdims, axis)

    def mean(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        """The sum over the count; ints give float32."""
        if numpy:
            only_defaults("mean", numpy)
        if axis is not None:
            axes = either_axes(axes, axis, "mean")
        x = self if self.dtype.is_float else self.astype(float32)
        if x.dtype is float16:  # its sum may be beyond what a half can be
            return x.astype(float32).mean(axes, keepdims).astype(float16)
        total = x.sum(axes, keepdims)
        return total * (total.size / max(self.size, 1)) if self.size else total * float("nan")

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Self:
        """The position of the first largest element along an axis, or in row-major order of all."""
        return self._argument(axis, keepdims, "argmax")

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Self:
        """The position of the first smallest element."""
        negated = ~self if not self.dtype.is_float else -self  # ~x reverses the order of ints and never overflows
        return negated._argument(axis, keepdims, "argmin")

    def _argument(self, axis: int | None, keepdims: bool, op: str) -> Self:
        x = self.reshape(-1) if axis is None else self
        at = normalize_axis(-1 if axis is None else axis, x.ndim, op)
        last, rows, n = x._with_last((at,))
        if n == 0:
            raise ShapeError(f"{op}: nothing to choose from along axis {at}: shape is {self.shape}")
        out = self.new(reduced_shape(x.shape, (at,), False), dispatch.index_dtype(self.device))
        dispatch.run(self.device, "argmax", out, last, rows, n)
        if not keepdims:
            return out
        return out.reshape((1,) * self.ndim if axis is None else reduced_shape(x.shape, (at,), True))

    def cumsum(self, axis: int) -> Self:
        """Running sums along an axis; ints and bools in int64."""
        at = normalize_axis(axis, self.ndim, "cumsum")
        return self._wide().along(at, "cumsum")

    def _wide(self) -> Self:
        """Ready to be summed: ints and bools in the widest int of the device."""
        if self.dtype.is_float:
            return self
        return self.astype(sum_dtype(self.dtype, dispatch.index_dtype(self.device) is int64))

    def _with_last(self, axes: Shape) -> tuple[Self, int, int]:
        """The view whose last axes are those to reduce, the number of its rows, and of the elements in each."""
        order, rows, n = reduction_plan(self.layout.shape, axes)
        return self.viewed(self.layout.permute(order)), rows, n

    def _reduced(self, kind: Reduce, axes: Axes, keepdims: bool, axis: Axes = None) -> Self:
        if axis is not None:
            axes = either_axes(axes, axis, kind.op)
        hashable = tuple(axes) if isinstance(axes, list) else axes
        plan = _view_plan(self.layout, hashable, keepdims)
        if plan.n == 0 and plan.rows and kind >= Reduce.MAX:
            raise ShapeError(f"{kind.op}: nothing to choose from over axes {axes}: shape is {self.shape}")
        out = self.new(plan.shape, self.dtype)
        dispatch.reduce(self.device, kind, out, self.viewed(plan.last), plan.rows, plan.n)
        return out

    def _truth(self, kind: Reduce, axes: Axes, keepdims: bool, axis: Axes) -> Self:
        """any and all, which of nothing are False and True."""
        op = "any" if kind is Reduce.MAX else "all"
        chosen = normalize_axes(either_axes(axes, axis, op), self.ndim, op)
        if prod(self.shape[a] for a in chosen) == 0:
            return self.filled(reduced_shape(self.shape, chosen, keepdims), kind is Reduce.MIN, "bool")
        return self.astype("bool")._reduced(kind, chosen, keepdims)


@lru_cache(maxsize=4096)
def reduction_plan(shape: Shape, axes: Shape) -> tuple[Shape, int, int]:
    """The order that puts the reduced axes last, and the numbers of rows and of elements in each."""
    kept = tuple(a for a in range(len(shape)) if a not in axes)
    return (*kept, *axes), prod(shape[a] for a in kept), prod(shape[a] for a in axes)


@dataclass(frozen=True, slots=True)
class ReductionPlan:
    """The view whose last axes are those to reduce, and the shape of the result."""

    shape: Shape
    last: Layout
    rows: int
    n: int


@lru_cache(maxsize=4096)
def _view_plan(layout: Layout, axes: Axes, keepdims: bool) -> ReductionPlan:
    chosen = normalize_axes(axes, len(layout.shape), "reduce")
    order, rows, n = reduction_plan(layout.shape, chosen)
    return ReductionPlan(reduced_shape(layout.shape, chosen, keepdims), layout.permute(order), rows, n)

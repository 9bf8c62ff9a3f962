"""Reductions over axes (normalized, ascending) and running sums."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from needle import tracing
from needle.dispatch import dispatcher
from needle.formulas import squared_difference
from needle.kinds import Reduce
from needle.ndarray import NDArray
from needle.one_pass import reduced_pass
from needle.op import Array, Cotangents, Op, reads
from needle.reductions import reduction_plan
from needle.shape import Shape, reduced_shape

_LONG = 256  # elements of a row that are worth a block of a device's threads


@dataclass(frozen=True)
class Reduction(Op):
    """y = a reduction of x over some axes, which stay as 1 or go."""

    axes: Shape
    keepdims: bool = False

    def shape(self, x: Shape) -> Shape:
        return reduced_shape(x, self.axes, self.keepdims)

    def spread(self, y: Any, x: Array) -> Any:
        """A reduced array, stretched over the elements that it came from."""
        return y.reshape(reduced_shape(x.shape, self.axes, True)).broadcast_to(x.shape)


class Summation(Reduction):
    name = "sum"

    def forward(self, x: NDArray) -> NDArray:
        return x.sum(self.axes, self.keepdims)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (self.spread(g, x),)


@dataclass(frozen=True)
class Variance(Reduction):
    """The sum of squared distances from the mean, over n - correction."""

    name = "var"
    correction: float = 0
    reads = reads(0)

    def forward(self, x: NDArray) -> NDArray:
        shape = self.shape(x.shape)
        order, rows, n = reduction_plan(x.shape, self.axes)
        channels = self._channels(x, order, rows, n)
        if channels is not None:
            var = channels.moments()[1]
            return (var * (n * self._weight(x)) if self.correction else var).reshape(shape)
        total = reduced_pass(Reduce.SUM, self.axes, squared_difference, x, x.mean(self.axes, True))
        return (total * self._weight(x)).reshape(shape)

    def _channels(self, x: NDArray, order: Shape, rows: int, n: int) -> NDArray | None:
        """x as (n, rows), if the device takes moments of that as it lies and rows are worth it. Columns only where the
        device cannot reduce what it computes: that is as fast for them."""
        backend = dispatcher(x.device).backend
        if tracing.active is not None or n < _LONG or not (x.size and x.dtype.is_float):
            return None
        if "moments" not in backend.strided:
            return None
        if (last := x.permute(order)).layout.contiguous:
            return last.reshape(rows, n).permute(1, 0)
        if backend.implements("elementwise_reduce"):
            return None
        kept = len(order) - len(self.axes)
        first = x.permute(order[kept:] + order[:kept])
        return first.reshape(n, rows) if first.layout.contiguous else None

    def vjp(self, g: Array, y: Array, x: Any) -> Cotangents:
        deviation = x - x.mean(self.axes, True).broadcast_to(x.shape)
        return (deviation * self.spread(g * (2 * self._weight(x)), x),)

    def _weight(self, x: Any) -> float:
        n = prod(x.shape[a] for a in self.axes) - self.correction
        return 1.0 / n if n > 0 else float("nan")


class Product(Reduction):
    """The product. Its gradient multiplies the others of each element, so that zeros are no trouble."""

    name = "prod"
    reads = reads(0)

    def forward(self, x: NDArray) -> NDArray:
        return x.prod(self.axes, self.keepdims)

    def vjp(self, g: Array, y: Array, x: Any) -> Cotangents:
        order, rows, n = reduction_plan(x.shape, self.axes)
        others = _products_of_others(x.permute(order).reshape(rows, n))
        back = tuple(order.index(a) for a in range(len(order)))
        return (self.spread(g, x) * others.reshape(tuple(x.shape[a] for a in order)).permute(back),)


def _products_of_others(rows: Any) -> Any:
    """For each element of each row, the product of the row's other elements."""
    count, n = rows.shape
    diagonal = rows.like(np.eye(n, dtype=bool))
    return diagonal.where(1.0, rows.reshape(count, 1, n).broadcast_to(count, n, n)).prod(2)


class Extremum(Reduction):
    """max or min; where several elements are extreme, they share the gradient."""

    reads = reads("y", 0)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        chosen = x.equal(self.spread(y, x))
        share = chosen.astype(x.dtype)
        count = share.sum(self.axes, True).broadcast_to(x.shape)
        return (self.spread(g, x) * (share / count),)


class Max(Extremum):
    def forward(self, x: NDArray) -> NDArray:
        return x.max(self.axes, self.keepdims)


class Min(Extremum):
    def forward(self, x: NDArray) -> NDArray:
        return x.min(self.axes, self.keepdims)


class AnyTrue(Reduction):
    name = "any"
    differentiable = False

    def forward(self, x: NDArray) -> NDArray:
        return x.any(self.axes, self.keepdims)


class AllTrue(Reduction):
    name = "all"
    differentiable = False

    def forward(self, x: NDArray) -> NDArray:
        return x.all(self.axes, self.keepdims)


@dataclass(frozen=True)
class ArgMax(Op):
    """The position of the first largest element along an axis, or in row-major order of all."""

    name = "argmax"
    differentiable = False
    axis: int | None
    keepdims: bool = False

    def shape(self, x: Shape) -> Shape:
        axes = tuple(range(len(x))) if self.axis is None else (self.axis,)
        return reduced_shape(x, axes, self.keepdims)

    def forward(self, x: NDArray) -> NDArray:
        return x.argmax(self.axis, self.keepdims)


class ArgMin(ArgMax):
    name = "argmin"

    def forward(self, x: NDArray) -> NDArray:
        return x.argmin(self.axis, self.keepdims)


@dataclass(frozen=True)
class CumSum(Op):
    """Running sums along an axis."""

    name = "cumsum"
    axis: int

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x.cumsum(self.axis)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.flip(self.axis).cumsum(self.axis).flip(self.axis),)

"""The functions of Tensor: reductions, movement, products, elements by index. Each method is one line onto an op."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self, TypeVar

import numpy as np

from needle.dtype import DType, float16, float32
from needle.errors import ShapeError
from needle.fused import FusedFunctions, floating, promoted
from needle.indexing import Step, is_whole
from needle.layout import reversed_axes, swapped_axes
from needle.ndarray import NDArray
from needle.op import Op
from needle.operators import Operators
from needle.ops.indexing import Gather, Scatter, ScatterAdd
from needle.ops.matmul import Linear, LinearReLU, MatMul
from needle.ops.movement import BroadcastTo, Concatenate, Embed, Flip, Permute, Reshape, Slice
from needle.ops.reduction import AllTrue, AnyTrue, ArgMax, ArgMin, CumSum, Max, Min, Product, Summation, Variance
from needle.ops.softmax import CrossEntropy, LogSoftmax, LogSumExp, Softmax
from needle.shape import (
    Axes,
    Shape,
    broadcast_shapes,
    either_axes,
    normalize_axes,
    normalize_axis,
    only_defaults,
    resolve_reshape,
)
from needle.views import shape_argument, squeezed_shape

T = TypeVar("T", bound="TensorFunctions")


class TensorFunctions(FusedFunctions, Operators):
    """The methods of Tensor that are ops, or short compositions of them."""

    __slots__ = ()
    array: NDArray

    @abstractmethod
    def astype(self, dtype: Any) -> Self:
        """Converted to another element type."""

    @abstractmethod
    def like(self, value: Any, op: str = "convert") -> Self:
        """A number or array as a Tensor that can meet this one, for an op to be named if it cannot."""

    @property
    def shape(self) -> Shape:
        return self.array.layout.shape

    @property
    def dtype(self) -> DType:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return len(self.array.layout.shape)

    @property
    def size(self) -> int:
        return self.array.layout.size

    # Reductions: over some axes, or all.

    def sum(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        """The sum; ints and bools in int64 (int32 where the device has none)."""
        if numpy:
            only_defaults("sum", numpy)
        if axis is not None:
            axes = either_axes(axes, axis, "sum")
        return self._apply(_summation(self.ndim, tuple(axes) if isinstance(axes, list) else axes, keepdims))

    def prod(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("prod", numpy)
        return self._apply(Product(self._axes(axes, "prod", axis), keepdims))

    def max(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("max", numpy)
        return self._apply(Max(self._axes(axes, "max", axis), keepdims))

    def min(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("min", numpy)
        return self._apply(Min(self._axes(axes, "min", axis), keepdims))

    def any(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("any", numpy)
        return self._apply(AnyTrue(self._axes(axes, "any", axis), keepdims))

    def all(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        if numpy:
            only_defaults("all", numpy)
        return self._apply(AllTrue(self._axes(axes, "all", axis), keepdims))

    def mean(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Self:
        """The sum over the count; ints give float32."""
        if numpy:
            only_defaults("mean", numpy)
        if axis is not None:
            axes = either_axes(axes, axis, "mean")
        x = floating(self)
        if x.dtype is float16:  # its sum may be beyond what a half can be
            return x.astype(float32).mean(axes, keepdims).astype(float16)
        total = x.sum(axes, keepdims)
        return total * (total.size / self.size) if self.size else total * float("nan")

    def var(
        self, axes: Axes = None, keepdims: bool = False, correction: float = 0, *, axis: Axes = None,
        ddof: float | None = None, **numpy: Any,
    ) -> Self:  # fmt: skip
        """The mean of squared distances from the mean, over n - correction, which NumPy calls ddof."""
        only_defaults("var", numpy)
        x, correction = floating(self), correction if ddof is None else ddof
        op = Variance(x._axes(axes, "var", axis), keepdims, correction)
        return x.astype(float32)._apply(op).astype(float16) if x.dtype is float16 else x._apply(op)

    def std(
        self, axes: Axes = None, keepdims: bool = False, correction: float = 0, *, axis: Axes = None,
        ddof: float | None = None, **numpy: Any,
    ) -> Self:  # fmt: skip
        only_defaults("std", numpy)
        return self.var(either_axes(axes, axis, "std"), keepdims, correction, ddof=ddof).sqrt()

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Self:
        """The position of the first largest element along an axis, or in row-major order of all."""
        return self._apply(ArgMax(axis if axis is None else normalize_axis(axis, self.ndim, "argmax"), keepdims))

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Self:
        return self._apply(ArgMin(axis if axis is None else normalize_axis(axis, self.ndim, "argmin"), keepdims))

    def cumsum(self, axis: int) -> Self:
        return self._apply(CumSum(normalize_axis(axis, self.ndim, "cumsum")))

    def logsumexp(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Self:
        """log(sum(exp(self))) without overflow."""
        return self._apply(LogSumExp(self._axes(axes, "logsumexp", axis), keepdims))

    def softmax(self, axis: int = -1) -> Self:
        return self._along(Softmax(), axis, "softmax")

    def log_softmax(self, axis: int = -1) -> Self:
        return self._along(LogSoftmax(), axis, "log_softmax")

    def _along(self, op: Op, axis: int, name: str) -> Self:
        """Apply an op of the last axis to another one."""
        x = floating(self)
        at, last = normalize_axis(axis, self.ndim, name), self.ndim - 1
        if at == last:
            return x._apply(op)
        swapped = tuple(last if a == at else at if a == last else a for a in range(self.ndim))
        return x.permute(swapped)._apply(op).permute(swapped)

    def _axes(self, axes: Axes, op: str, axis: Axes = None) -> Shape:
        if axis is not None:
            axes = either_axes(axes, axis, op)
        return normalize_axes(axes, len(self.array.layout.shape), op)

    # Movement.

    def reshape(self, *shape: Any) -> Self:
        """The same elements in row-major order; one size may be -1."""
        return self._apply(_reshaping(self.array.layout.shape, shape_argument(shape)))

    def permute(self, *axes: Any) -> Self:
        """Axis `axes[i]` becomes axis i."""
        order = axes[0] if len(axes) == 1 and type(axes[0]) is tuple else shape_argument(axes)
        return self._apply(_permutation(order, self.ndim))

    @property
    def T(self) -> Self:
        rank = len(self.array.layout.shape)
        return self._apply(_permutation(reversed_axes(rank), rank))

    @property
    def mT(self) -> Self:
        """The last two axes swapped."""
        rank = len(self.array.layout.shape)
        if rank < 2:
            raise ShapeError(f"mT: takes rank 2 or more: shape is {self.shape}")
        return self._apply(_permutation(swapped_axes(rank), rank))

    def transpose(self, axes: tuple[int, int] | None = None) -> Self:
        """Two axes swapped, by default the last two."""
        one, other = axes if axes is not None else (-2, -1)
        i, j = normalize_axis(one, self.ndim, "transpose"), normalize_axis(other, self.ndim, "transpose")
        return self.permute(tuple(j if a == i else i if a == j else a for a in range(self.ndim)))

    def broadcast_to(self, *shape: Any) -> Self:
        """Axes of size 1, and new leading axes, repeated without a copy."""
        return self._apply(BroadcastTo(shape_argument(shape)))

    def flip(self, axes: Axes = None, *, axis: Axes = None) -> Self:
        return self._apply(Flip(self._axes(axes, "flip", axis)))

    def squeeze(self, axes: Axes = None, *, axis: Axes = None) -> Self:
        return self.reshape(squeezed_shape(self.shape, either_axes(axes, axis, "squeeze")))

    def expand_dims(self, axis: int) -> Self:
        at = normalize_axis(axis, self.ndim + 1, "expand_dims")
        return self.reshape((*self.shape[:at], 1, *self.shape[at:]))

    def sliced(self, steps: tuple[Step, ...]) -> Self:
        """The view of parsed steps, see `indexing.py`."""
        return self if is_whole(steps, self.shape) else self._apply(Slice(steps))

    def embedded(self, steps: tuple[Step, ...], shape: Shape) -> Self:
        return self._apply(Embed(steps, shape))

    def concatenated(self, others: Sequence[Self], axis: int) -> Self:
        return self._apply(Concatenate(axis), *others)

    # Matrix products, and elements by index.

    def matmul(self, other: Any) -> Self:
        """(..., m, k) @ (..., k, n) -> (..., m, n); a vector is a row on the left, a column on the right."""
        right: Self = other if isinstance(other, type(self)) else self.like(other, "matmul")
        x, y = self.array, right.array
        if x.dtype is y.dtype and len(x.layout.shape) == len(y.layout.shape) == 2:
            return self._apply(_MATMUL, right)
        a, b = promoted(self, right)
        if a.ndim == 0 or b.ndim == 0:
            raise ShapeError(f"matmul: takes rank 1 or more: a is {a.shape}, b is {b.shape}")
        if a.ndim == 1 or b.ndim == 1:
            wide = (a.expand_dims(0) if a.ndim == 1 else a).matmul(b.expand_dims(1) if b.ndim == 1 else b)
            gone = (() if a.ndim > 1 else (wide.ndim - 2,)) + (() if b.ndim > 1 else (wide.ndim - 1,))
            return wide.squeeze(gone)
        if a.shape[:-2] != b.shape[:-2] and b.ndim != 2:
            batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
            a, b = broadcast(a, batch + a.shape[-2:]), broadcast(b, batch + b.shape[-2:])
        return a._apply(_MATMUL, b)

    def linear(self, weight: Self, bias: Self, relu: bool = False) -> Self:
        """self (..., k) @ weight (k, n) + bias, and relu of that if asked for, in one pass."""
        return self._fused(_LINEAR_RELU if relu else _LINEAR, weight, bias)

    def gather(self, index: Self, axis: int) -> Self:
        """self[..., index[...], ...] along an axis; the other axes of index are self's, or 1."""
        return self._apply(Gather(normalize_axis(axis, self.ndim, "gather")), index)

    def scattered(self, index: Self, axis: int, size: int) -> Self:
        return self._apply(Scatter(axis, size), index)

    def scatter_add(self, index: Self, source: Self, axis: int) -> Self:
        """self, to which source is added at the index along an axis; repeated indices add up."""
        into, values = promoted(self, source)
        return into._apply(ScatterAdd(normalize_axis(axis, self.ndim, "scatter_add")), index, values)

    def cross_entropy(self, labels: Self) -> Self:
        """The mean of logsumexp(row) - row[label]: self (rows, classes), labels (rows,)."""
        return floating(self)._apply(
            CrossEntropy(), labels if labels.dtype.category == "int" else labels.astype("int32")
        )

    # Gradient rules that have a kernel on NDArrays, as compositions.

    def softmax_grad(self, y: Any) -> Any:
        return y * (self - (self * y).sum(-1, keepdims=True))

    def log_softmax_grad(self, y: Any) -> Any:
        return self - y.exp() * self.sum(-1, keepdims=True)

    def cross_entropy_grad(self, logits: Any, labels: Any) -> Any:
        classes = logits.like(np.arange(logits.shape[1], dtype=str(labels.dtype)))
        hit = labels.reshape(-1, 1).equal(classes).astype(logits.dtype)
        return self.reshape(-1, 1) * (logits.softmax() - hit)


_MATMUL, _LINEAR, _LINEAR_RELU = MatMul(), Linear(), LinearReLU()


@lru_cache(maxsize=1024)
def _reshaping(shape: Shape, target: Shape) -> Reshape:
    return Reshape(resolve_reshape(shape, target))


@lru_cache(maxsize=1024)
def _permutation(axes: Shape, ndim: int) -> Permute:
    return Permute(tuple(normalize_axis(a, ndim, "permute") for a in axes))


@lru_cache(maxsize=1024)
def _summation(ndim: int, axes: Axes, keepdims: bool) -> Summation:
    return Summation(normalize_axes(axes, ndim, "sum"), keepdims)


def broadcast(x: T, shape: Shape) -> T:
    """The tensor stretched to a shape by an op, itself where it has that shape."""
    return x if x.array.layout.shape == shape else x._apply(BroadcastTo(shape))

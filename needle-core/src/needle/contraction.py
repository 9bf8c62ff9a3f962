"""Matrix products of arrays, brought to the one form that backends take: batches of matrices, or one."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Self

from needle import dispatch
from needle.dtype import promote
from needle.errors import DeviceError, DTypeError, ShapeError
from needle.kinds import Unary
from needle.layout import Layout
from needle.shape import Shape, broadcast_shapes
from needle.views import Views


class Contractions(Views):
    """The matrix products of NDArray."""

    __slots__ = ()

    def __matmul__(self, other: Any) -> Self:
        return self.matmul(other if type(other) is type(self) else self.like(other))

    def __rmatmul__(self, other: Any) -> Self:
        return self.like(other).matmul(self)

    def matmul(self, other: Self) -> Self:
        """(..., m, k) @ (..., k, n) -> (..., m, n); a vector is a row on the left, a column on the right."""
        if len(self.layout.shape) == 1 or len(other.layout.shape) == 1:
            return self._with_vectors(other)
        if self.device is not other.device:
            raise DeviceError(f"matmul: operands are on {self.device} and {other.device}; move one with .to(device)")
        a, b = (self, other) if self.dtype is other.dtype else _promoted(self, other)
        if a.dtype.category == "bool":
            raise DTypeError("matmul: not defined for bool; convert with .astype('int32')")
        plan = matmul_plan(a.layout, b.layout)
        out = self.new(plan.shape, a.dtype)
        stored_a = a.viewed(plan.a) if plan.a is not None else as_batch(a, plan.batch).copy()
        stored_b = b.viewed(plan.b) if plan.b is not None else as_batch(b, plan.batch).copy()
        dispatch.matmul(self.device, out.viewed(plan.out), stored_a, stored_b, plan.transpose_a, plan.transpose_b)
        return out

    def _with_vectors(self, other: Self) -> Self:
        matmul_shape(self.shape, other.shape)
        a = self.expand_dims(0) if self.ndim == 1 else self
        b = other.expand_dims(1) if other.ndim == 1 else other
        product = a.matmul(b)
        shape = product.shape[:-2] + product.shape[-2:-1] * (self.ndim > 1) + product.shape[-1:] * (other.ndim > 1)
        return product.reshape(shape)

    def linear(self, weight: Self, bias: Self, activation: Unary | None = None) -> Self:
        """activation(self @ weight + bias) in one pass: (..., k) @ (k, n) + (n,)."""
        a = self if self.layout.contiguous else self.copy()
        plan = linear_plan(a.layout, weight.layout)
        out = self.new(plan.shape, self.dtype)
        dispatch.run(
            self.device,
            "linear",
            out.viewed(plan.out),
            a.viewed(plan.a),
            weight.copy() if plan.weight is None else weight.viewed(plan.weight),
            bias.reshape(plan.out.shape[1]).contiguous(),
            plan.transposed,
            activation,
        )
        return out


@dataclass(frozen=True, slots=True)
class MatMulPlan:
    """How the operands of a product are handed to a backend: as views of these layouts, or, for None, copied."""

    shape: Shape
    batch: Shape
    out: Layout
    a: Layout | None
    b: Layout | None
    transpose_a: bool
    transpose_b: bool


@lru_cache(maxsize=4096)
def matmul_plan(a: Layout, b: Layout) -> MatMulPlan:
    """All that follows from the layouts of two operands of rank 2 or more."""
    shape = matmul_shape(a.shape, b.shape)
    batch = shape[:-2]
    if len(b.shape) == 2 and a.contiguous:
        batch = ()  # one tall matrix in place of a batch
        rows, k = prod(a.shape[:-1]), a.shape[-1]
        a = Layout((rows, k), (k, 1), a.offset)
    count = prod(batch)
    left, right = _batch_layout(a, batch), _batch_layout(b, batch)
    stored_a, transpose_a = stored_layout(left) if left is not None else (None, False)
    stored_b, transpose_b = stored_layout(right) if right is not None else (None, False)
    out = Layout.compact((count, a.shape[-2], b.shape[-1]))
    return MatMulPlan(shape, batch, out, stored_a, stored_b, transpose_a, transpose_b)


@dataclass(frozen=True, slots=True)
class LinearPlan:
    """The shape of a linear map's result, and the layouts by which a backend takes it and the operands as matrices;
    None where the weight must be copied."""

    shape: Shape
    out: Layout
    a: Layout
    weight: Layout | None
    transposed: bool


@lru_cache(maxsize=4096)
def linear_plan(a: Layout, weight: Layout) -> LinearPlan:
    """All that follows from the layouts of a contiguous (..., k) and of a (k, n)."""
    k, n = weight.shape
    m = a.size // k if k else prod(a.shape[:-1])
    matrix = a if len(a.shape) == 2 else Layout((m, k), (k, 1), a.offset)
    stored, transposed = stored_layout(weight)
    return LinearPlan((*a.shape[:-1], n), Layout.compact((m, n)), matrix, stored, transposed)


def _batch_layout(x: Layout, batch: Shape) -> Layout | None:
    """(B, rows, columns) with B the whole batch, or 1 where x is one matrix for all; None if only a copy is that."""
    if prod(x.shape[:-2]) == 1 and prod(batch) > 0:
        return Layout((1, *x.shape[-2:]), (0, *x.strides[-2:]), x.offset)
    return x.broadcast_to((*batch, *x.shape[-2:])).reshape((prod(batch), *x.shape[-2:]))


def as_batch(x: Any, batch: Shape) -> Any:
    """The operand as (B, rows, columns), by a copy."""
    if prod(x.shape[:-2]) == 1 and prod(batch) > 0:
        return x.reshape(1, *x.shape[-2:])
    return x.broadcast_to(*batch, *x.shape[-2:]).reshape(prod(batch), *x.shape[-2:])


@lru_cache(maxsize=4096)
def stored_layout(x: Layout) -> tuple[Layout | None, bool]:
    """The matrices as they lie in memory, rows of unit stride, and whether that is x transposed; None: neither."""
    rows, columns = x.strides[-2:]
    height, width = x.shape[-2:]
    if x.contiguous or (columns == 1 and rows >= width):
        return x, False
    if rows == 1 and columns >= height:
        rank = len(x.shape)
        return x.permute((*range(rank - 2), rank - 1, rank - 2)), True
    return None, False


def _promoted(a: Any, b: Any) -> tuple[Any, Any]:
    dtype = promote(a.dtype, b.dtype)
    return a.astype(dtype), b.astype(dtype)


@lru_cache(maxsize=4096)
def matmul_shape(a: Shape, b: Shape) -> Shape:
    """The shape of a @ b, or a ShapeError."""
    if not a or not b:
        raise ShapeError(f"matmul: takes rank 1 or more: a is {a}, b is {b}")
    rows, columns = a[-1], b[-2] if len(b) > 1 else b[0]
    if rows != columns:
        raise ShapeError(f"matmul: inner sizes differ, {rows} != {columns}: a is {a}, b is {b}")
    batch = broadcast_shapes("matmul", a[:-2], b[:-2])
    return batch + a[-2:-1] * (len(a) > 1) + b[-1:] * (len(b) > 1)

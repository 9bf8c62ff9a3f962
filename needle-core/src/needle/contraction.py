"""Matrix products of arrays, brought to the one form that backends take: batches of matrices, or one."""

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
        return self.matmul(self.like(other))

    def __rmatmul__(self, other: Any) -> Self:
        return self.like(other).matmul(self)

    def matmul(self, other: Self) -> Self:
        """(..., m, k) @ (..., k, n) -> (..., m, n); a vector is a row on the left, a column on the right."""
        if self.ndim == 1 or other.ndim == 1:
            return self._with_vectors(other)
        shape = matmul_shape(self.shape, other.shape)
        if self.device is not other.device:
            raise DeviceError(f"matmul: operands are on {self.device} and {other.device}; move one with .to(device)")
        dtype = promote(self.dtype, other.dtype)
        if dtype.category == "bool":
            raise DTypeError("matmul: not defined for bool; convert with .astype('int32')")
        a, b = self.astype(dtype), other.astype(dtype)
        if b.ndim == 2 and a.ndim > 2 and a.layout.contiguous:
            a = a.reshape(-1, a.shape[-1])  # one tall matrix in place of a batch
        batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
        count, m, n = prod(batch), a.shape[-2], b.shape[-1]
        out = self.new(shape, dtype)
        stored_a, transpose_a = stored_matrix(_as_batch(a, batch))
        stored_b, transpose_b = stored_matrix(_as_batch(b, batch))
        target = out.viewed(Layout.compact((count, m, n)))
        dispatch.matmul(self.device, target, stored_a, stored_b, transpose_a, transpose_b)
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
        a = self.contiguous()
        m, k, n = prod(a.shape[:-1]), a.shape[-1], weight.shape[-1]
        stored, transposed = stored_matrix(weight)
        out = self.new((*a.shape[:-1], n), self.dtype)
        flat = out.viewed(Layout.compact((m, n)))
        args = (flat, a.reshape(m, k), stored, bias.reshape(n), transposed, activation)
        dispatch.run(self.device, "linear", *args)
        return out


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """The shape of a @ b, or a ShapeError."""
    if not a or not b:
        raise ShapeError(f"matmul: takes rank 1 or more: a is {a}, b is {b}")
    rows, columns = a[-1], b[-2] if len(b) > 1 else b[0]
    if rows != columns:
        raise ShapeError(f"matmul: inner sizes differ, {rows} != {columns}: a is {a}, b is {b}")
    batch = broadcast_shapes("matmul", a[:-2], b[:-2])
    return batch + a[-2:-1] * (len(a) > 1) + b[-1:] * (len(b) > 1)


def _as_batch(x: Any, batch: Shape) -> Any:
    """(B, rows, columns) with B the whole batch, or 1 where x is one matrix for all."""
    if prod(x.shape[:-2]) == 1 and prod(batch) > 0:
        return x.reshape(1, *x.shape[-2:])
    return x.broadcast_to(*batch, *x.shape[-2:]).reshape(prod(batch), *x.shape[-2:])


def stored_matrix(x: Any) -> tuple[Any, bool]:
    """The matrices as they lie in memory, rows of unit stride, and whether that is the transpose of x."""
    rows, columns = x.layout.strides[-2:]
    height, width = x.layout.shape[-2:]
    if (columns == 1 and rows >= width) or x.layout.contiguous:
        return x, False
    if rows == 1 and columns >= height:
        return x.mT, True
    return x.contiguous(), False

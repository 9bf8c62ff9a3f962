"""Functions of the rows of an array: softmax and its like, the losses on them, and their gradients."""

from typing import Self

from needle import dispatch
from needle.shape import normalize_axis
from needle.views import Views


class Rowwise(Views):
    """The functions of NDArray that turn each row, along one axis, into a row."""

    __slots__ = ()

    def softmax(self, axis: int = -1) -> Self:
        return self._floating().along(normalize_axis(axis, self.ndim, "softmax"), "softmax")

    def log_softmax(self, axis: int = -1) -> Self:
        return self._floating().along(normalize_axis(axis, self.ndim, "log_softmax"), "log_softmax")

    def softmax_grad(self, y: Self) -> Self:
        """y * (g - sum(g * y)) over the last axis, for g = self."""
        return self._rowwise("softmax_grad", y)

    def log_softmax_grad(self, y: Self) -> Self:
        """g - exp(y) * sum(g) over the last axis, for g = self."""
        return self._rowwise("log_softmax_grad", y)

    def cross_entropy(self, labels: Self) -> Self:
        """The loss of each row: (rows, classes), (rows,) -> (rows,)."""
        out = self.new(self.shape[:-1], self.dtype)
        dispatch.run(self.device, "cross_entropy", out, self.contiguous(), labels.positions().contiguous())
        return out

    def cross_entropy_grad(self, logits: Self, labels: Self) -> Self:
        """g * (softmax(logits) - one_hot(labels)) for g = self: (rows,) or one element for all rows."""
        out = self.new(logits.shape, logits.dtype)
        g = self if self.size == 1 else self.contiguous()
        dispatch.run(self.device, "cross_entropy_grad", out, g, logits.contiguous(), labels.positions().contiguous())
        return out

    def argsort(self, descending: bool = False) -> Self:
        """The order that sorts the last axis; stable, a NaN larger than all."""
        x = self.contiguous()
        out = self.new(x.shape, dispatch.index_dtype(self.device))
        if out.size:
            dispatch.run(self.device, "argsort", out, x, out.size // x.shape[-1], x.shape[-1], descending)
        return out

    def along(self, axis: int, op: str) -> Self:
        """A function of rows along any axis (counted from the front): the axis is brought last and back."""
        if axis != self.ndim - 1:
            order = (*(a for a in range(self.ndim) if a != axis), axis)
            back = (*range(axis), self.ndim - 1, *range(axis, self.ndim - 1))
            return self.permute(order).along(self.ndim - 1, op).permute(back)
        x = self.contiguous()
        out = self.new(x.shape, x.dtype)
        if out.size:
            dispatch.run(x.device, op, out, x, out.size // x.shape[-1], x.shape[-1])
        return out

    def _floating(self) -> Self:
        return self if self.dtype.is_float else self.astype("float32")

    def _rowwise(self, op: str, y: Self) -> Self:
        out = self.new(y.shape, y.dtype)
        if out.size:
            rows, n = out.size // y.shape[-1], y.shape[-1]
            dispatch.run(self.device, op, out, self.contiguous(), y.contiguous(), rows, n)
        return out

"""Normalizing functions of arrays, with their gradients: of rows (layer, RMS) and of channels (batch)."""

from typing import Self

from needle import dispatch, tracing
from needle.errors import ShapeError
from needle.kinds import Unary
from needle.layout import storage_order
from needle.shape import Shape
from needle.views import Views


class Normalizations(Views):
    """The normalizing functions of NDArray: over the last axis, or per channel, which is the last axis."""

    __slots__ = ()

    def layer_norm(self, weight: Self, bias: Self, eps: float) -> Self:
        """(x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al., 2016)."""
        x = self.contiguous()
        out = self.new(x.shape, x.dtype)
        rows, n = _rows(x.shape)
        dispatch.run(self.device, "layer_norm", out, x, weight.contiguous(), bias.contiguous(), rows, n, eps)
        return out

    def layer_norm_grad(self, x: Self, weight: Self, eps: float) -> tuple[Self, Self, Self]:
        """The gradients of x, weight and bias for g = self."""
        dx, dw, db = self.new(x.shape, x.dtype), self.new(weight.shape, x.dtype), self.new(weight.shape, x.dtype)
        g, x, weight = self.contiguous(), x.contiguous(), weight.contiguous()
        dispatch.run(self.device, "layer_norm_grad", dx, dw, db, g, x, weight, *_rows(x.shape), eps)
        return dx, dw, db

    def rms_norm(self, weight: Self, eps: float) -> Self:
        """x / sqrt(mean(x**2) + eps) * weight over the last axis (Zhang and Sennrich, 2019)."""
        x = self.contiguous()
        out = self.new(x.shape, x.dtype)
        dispatch.run(self.device, "rms_norm", out, x, weight.contiguous(), *_rows(x.shape), eps)
        return out

    def rms_norm_grad(self, x: Self, weight: Self, eps: float) -> tuple[Self, Self]:
        """The gradients of x and weight for g = self."""
        dx, dw = self.new(x.shape, x.dtype), self.new(weight.shape, x.dtype)
        g, x, weight = self.contiguous(), x.contiguous(), weight.contiguous()
        dispatch.run(self.device, "rms_norm_grad", dx, dw, g, x, weight, *_rows(x.shape), eps)
        return dx, dw

    def moments(self) -> tuple[Self, Self]:
        """The mean and the biased variance of each channel, over all other axes: (..., C) -> (C,), (C,)."""
        mean, var = self.new(self.shape[-1:], self.dtype), self.new(self.shape[-1:], self.dtype)
        dispatch.run(self.device, "moments", mean, var, self)
        return mean, var

    def batch_norm(self, weight: Self, bias: Self, mean: Self, var: Self, eps: float) -> Self:
        """(x - mean) / sqrt(var + eps) * weight + bias per channel (Ioffe and Szegedy, 2015)."""
        out = self.room("batch_norm", self.shape)
        dispatch.run(self.device, "batch_norm", out, self, weight, bias, mean, var, eps)
        return out

    def batch_norm_relu(self, weight: Self, bias: Self, mean: Self, var: Self, eps: float) -> Self:
        """relu of batch_norm. A capture gets two steps, which its passes join to each other or to what follows."""
        if tracing.active is not None or not dispatch.offers(self.device, "batch_norm_relu"):
            return self.batch_norm(weight, bias, mean, var, eps)._unary(Unary.RELU)
        out = self.room("batch_norm_relu", self.shape)
        dispatch.run(self.device, "batch_norm_relu", out, self, weight, bias, mean, var, eps)
        return out

    def batch_norm_grad(
        self, x: Self, weight: Self, mean: Self, var: Self, eps: float, training: bool
    ) -> tuple[Self, Self, Self]:
        """The gradients of x, weight and bias for g = self; in training mean and var are those of x itself."""
        dx = x.room("batch_norm_grad", x.shape)
        dw, db = self.new(weight.shape, x.dtype), self.new(weight.shape, x.dtype)
        dispatch.run(self.device, "batch_norm_grad", dx, dw, db, self, x, weight, mean, var, eps, training)
        return dx, dw, db

    def attention(self, key: Self, value: Self, causal: bool, scale: float) -> Self:
        """softmax(q @ k.mT * scale) @ v for q = self: (..., T, D), (..., S, D), (..., S, E) -> (..., T, E). The result
        lies in the order of q: whoever brought heads forward and takes them back then needs no copy of his own."""
        q, k, v = self.contiguous(), key.contiguous(), value.contiguous()
        out = self.new((*q.shape[:-1], v.shape[-1]), q.dtype)
        dispatch.run(self.device, "attention", out, q, k, v, causal, scale)
        if self.layout.contiguous or (order := storage_order(self.layout)) is None:
            return out
        there, back = order
        return out.permute(there).contiguous().permute(back)

    def attention_grad(
        self, query: Self, key: Self, value: Self, y: Self, causal: bool, scale: float
    ) -> tuple[Self, Self, Self]:
        """The gradients of query, key and value for g = self, given the result y."""
        q, k, v = query.contiguous(), key.contiguous(), value.contiguous()
        dq, dk, dv = (self.new(x.shape, x.dtype) for x in (q, k, v))
        dispatch.run(
            self.device, "attention_grad", dq, dk, dv, self.contiguous(), q, k, v, y.contiguous(), causal, scale
        )
        return dq, dk, dv


def _rows(shape: Shape) -> tuple[int, int]:
    if not shape or not shape[-1]:
        raise ShapeError(f"norm: nothing to normalize along the last axis: shape is {shape}")
    rows = 1
    for n in shape[:-1]:
        rows *= n
    return rows, shape[-1]

"""Normalization and attention: fused, with gradients that a kernel computes together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from needle.errors import ShapeError
from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op, reads
from needle.shape import Shape


def each_of(n: int, compute: Callable[[], tuple[Any, ...]]) -> tuple[Callable[[], Any], ...]:
    """Entries of a gradient rule that share one computation, done when the first is called."""
    once = cache(compute)
    return tuple((lambda i=i: once()[i]) for i in range(n))


def _check_channels(op: str, x: Shape, *others: Shape) -> None:
    wrong = [other for other in others if other != x[-1:] or not x]
    if wrong:
        raise ShapeError(
            f"{op}: takes one parameter for each channel, ({x[-1] if x else 'n'},), not {wrong[0]}: x is {x}"
        )


@dataclass(frozen=True)
class LayerNorm(Op):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis."""

    autocast = "raise"

    eps: float = 1e-5
    reads = reads(0, 1)

    def shape(self, x: Shape, weight: Shape, bias: Shape) -> Shape:
        _check_channels("layer_norm", x, weight, bias)
        return x

    def forward(self, x: NDArray, weight: NDArray, bias: NDArray) -> NDArray:
        return x.layer_norm(weight, bias, self.eps)

    def vjp(self, g: Array, y: Array, x: Array, weight: Array, bias: Array) -> Cotangents:
        return each_of(3, lambda: g.layer_norm_grad(x, weight, self.eps))


@dataclass(frozen=True)
class RMSNorm(Op):
    """x / sqrt(mean(x**2) + eps) * weight over the last axis."""

    autocast = "raise"

    eps: float = 1e-5
    name = "rms_norm"
    reads = reads(0, 1)

    def shape(self, x: Shape, weight: Shape) -> Shape:
        _check_channels("rms_norm", x, weight)
        return x

    def forward(self, x: NDArray, weight: NDArray) -> NDArray:
        return x.rms_norm(weight, self.eps)

    def vjp(self, g: Array, y: Array, x: Array, weight: Array) -> Cotangents:
        return each_of(2, lambda: g.rms_norm_grad(x, weight, self.eps))


@dataclass(frozen=True)
class BatchNorm(Op):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, the last axis.

    In training mean and var are the moments of x; the rule for x accounts for that, so they have no gradient of
    their own.
    """

    autocast = "raise"

    eps: float = 1e-5
    training: bool = True
    reads = reads(0, 1, 3, 4)

    def shape(self, x: Shape, weight: Shape, bias: Shape, mean: Shape, var: Shape) -> Shape:
        _check_channels("batch_norm", x, weight, bias, mean, var)
        return x

    def forward(self, x: NDArray, weight: NDArray, bias: NDArray, mean: NDArray, var: NDArray) -> NDArray:
        return x.batch_norm(weight, bias, mean, var, self.eps)

    def vjp(self, g: Array, y: Array, x: Array, weight: Array, bias: Array, mean: Array, var: Array) -> Cotangents:
        shared = each_of(3, lambda: g.batch_norm_grad(x, weight, mean, var, self.eps, self.training))
        return (*shared, None, None)


@dataclass(frozen=True)
class Attention(Op):
    """softmax(q @ k.mT * scale) @ v (Vaswani et al., 2017): (..., T, D), (..., S, D), (..., S, E) -> (..., T, E)."""

    autocast = "lower"

    causal: bool
    scale: float
    reads = reads(0, 1, 2, "y")

    def shape(self, q: Shape, k: Shape, v: Shape) -> Shape:
        if min(len(q), len(k), len(v)) < 2 or q[:-2] != k[:-2] or k[:-2] != v[:-2]:
            raise ShapeError(f"attention: batches differ: q is {q}, k is {k}, v is {v}")
        if q[-1] != k[-1] or k[-2] != v[-2]:
            raise ShapeError(f"attention: q and k share D, k and v share S: q is {q}, k is {k}, v is {v}")
        return (*q[:-1], v[-1])

    def forward(self, q: NDArray, k: NDArray, v: NDArray) -> NDArray:
        return q.attention(k, v, self.causal, self.scale)

    def vjp(self, g: Array, y: Array, q: Array, k: Array, v: Array) -> Cotangents:
        return each_of(3, lambda: g.attention_grad(q, k, v, y, self.causal, self.scale))


@dataclass(frozen=True)
class ArgSort(Op):
    """The order that sorts the last axis; stable, a NaN larger than all."""

    descending: bool = False
    name = "argsort"
    differentiable = False

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x.argsort(self.descending)

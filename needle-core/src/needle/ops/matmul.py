"""Matrix products. Batches are broadcast before, by Tensor, so that no rule has to undo it."""

from dataclasses import dataclass
from typing import ClassVar

from needle.contraction import matmul_shape
from needle.errors import ShapeError
from needle.kinds import Unary
from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op, reads
from needle.shape import Shape


@dataclass(frozen=True)
class MatMul(Op):
    """(..., m, k) @ (..., k, n) -> (..., m, n); one matrix on the right may serve a whole batch on the left."""

    autocast = "lower"
    name = "matmul"
    reads = reads(0, 1)

    def shape(self, a: Shape, b: Shape) -> Shape:
        return matmul_shape(a, b)

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return a @ b

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        if len(b.shape) == 2 and len(a.shape) > 2:
            return lambda: g @ b.mT, lambda: _rows(a).mT @ _rows(g)
        return lambda: g @ b.mT, lambda: a.mT @ g


@dataclass(frozen=True)
class Linear(Op):
    """x (..., k) @ weight (k, n) + bias (n elements), in one pass over the result."""

    autocast = "lower"
    reads = reads(0, 1)
    activation: ClassVar[Unary | None] = None

    def shape(self, x: Shape, weight: Shape, bias: Shape) -> Shape:
        if len(weight) != 2 or not x or x[-1] != weight[0]:
            inner = f"{x[-1] if x else 'none'} != {weight[0] if weight else 'none'}"
            raise ShapeError(f"linear: inner sizes differ, {inner}: x is {x}, weight is {weight}")
        if bias not in ((weight[1],), (1, weight[1])):
            raise ShapeError(f"linear: bias is {bias}, expected ({weight[1]},) or (1, {weight[1]}): weight is {weight}")
        return (*x[:-1], weight[1])

    def forward(self, x: NDArray, weight: NDArray, bias: NDArray) -> NDArray:
        return x.linear(weight, bias, self.activation)

    def vjp(self, g: Array, y: Array, x: Array, weight: Array, bias: Array) -> Cotangents:
        return (
            lambda: g @ weight.mT,
            lambda: _rows(x).mT @ _rows(g),
            lambda: _rows(g).sum(0, len(bias.shape) == 2),
        )


@dataclass(frozen=True)
class LinearReLU(Linear):
    """relu of Linear's result, in the same pass. Its node is that of Linear, with a node of ReLU behind it: each frees
    what its rule read as soon as that has run, and what Linear itself would give is never there."""

    name = "linear"
    activation = Unary.RELU


def _rows(x: Array) -> Array:
    """All leading axes as one."""
    return x if len(x.shape) == 2 else x.reshape(-1, x.shape[-1])

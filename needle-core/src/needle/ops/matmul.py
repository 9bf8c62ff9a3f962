"""Matrix products. Batches are broadcast before, by Tensor, so that no rule has to undo it."""

from dataclasses import dataclass

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
    """x (..., k) @ weight (k, n) + bias (n elements), and relu of that if asked for, in one pass over the result."""

    autocast = "lower"
    reads = reads("y", 0, 1)
    relu: bool = False

    def shape(self, x: Shape, weight: Shape, bias: Shape) -> Shape:
        if len(weight) != 2 or not x or x[-1] != weight[0]:
            inner = f"{x[-1] if x else 'none'} != {weight[0] if weight else 'none'}"
            raise ShapeError(f"linear: inner sizes differ, {inner}: x is {x}, weight is {weight}")
        if bias not in ((weight[1],), (1, weight[1])):
            raise ShapeError(f"linear: bias is {bias}, expected ({weight[1]},) or (1, {weight[1]}): weight is {weight}")
        return (*x[:-1], weight[1])

    def forward(self, x: NDArray, weight: NDArray, bias: NDArray) -> NDArray:
        return x.linear(weight, bias, Unary.RELU if self.relu else None)

    def vjp(self, g: Array, y: Array, x: Array, weight: Array, bias: Array) -> Cotangents:
        g = g.relu_grad(y) if self.relu else g
        return (
            lambda: g @ weight.mT,
            lambda: _rows(x).mT @ _rows(g),
            lambda: _rows(g).sum(0, len(bias.shape) == 2),
        )


def _rows(x: Array) -> Array:
    """All leading axes as one."""
    return x if len(x.shape) == 2 else x.reshape(-1, x.shape[-1])

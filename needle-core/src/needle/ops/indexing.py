"""Elements by index, and sums into them: each is the transpose of the other."""

from dataclasses import dataclass
from typing import Any

from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op, reads
from needle.shape import Shape


@dataclass(frozen=True)
class Gather(Op):
    """x[..., index[...], ...] along an axis; the other axes of index are x's, or 1."""

    axis: int
    reads = reads(1)

    def shape(self, x: Shape, index: Shape) -> Shape:
        return (*x[: self.axis], index[self.axis], *x[self.axis + 1 :]) if len(index) == len(x) else x

    def forward(self, x: NDArray, index: NDArray) -> NDArray:
        return x.gather(index, self.axis)

    def vjp(self, g: Array, y: Array, x: Array, index: Any) -> Cotangents:
        return lambda: g.scattered(index, self.axis, x.shape[self.axis]), None


@dataclass(frozen=True)
class Scatter(Op):
    """Zeros of `size` along an axis, to which x is added at the index: the transpose of Gather."""

    axis: int
    size: int
    reads = reads(1)

    def shape(self, x: Shape, index: Shape) -> Shape:
        return (*x[: self.axis], self.size, *x[self.axis + 1 :])

    def forward(self, x: NDArray, index: NDArray) -> NDArray:
        return x.scattered(index, self.axis, self.size)

    def vjp(self, g: Array, y: Array, x: Array, index: Any) -> Cotangents:
        return lambda: g.gather(index, self.axis), None


@dataclass(frozen=True)
class ScatterAdd(Op):
    """x, to which source is added at the index along an axis; repeated indices add up."""

    axis: int
    reads = reads(1)

    def shape(self, x: Shape, index: Shape, source: Shape) -> Shape:
        return x

    def forward(self, x: NDArray, index: NDArray, source: NDArray) -> NDArray:
        return x.scatter_add(index, source, self.axis)

    def vjp(self, g: Array, y: Array, x: Array, index: Any, source: Array) -> Cotangents:
        return g, None, lambda: g.gather(index, self.axis)

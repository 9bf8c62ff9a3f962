"""A value in parts: ops whose cotangents meet in one place, so that no part pays for the whole.

A slice alone has as its gradient the whole array, zeros but for the slice; T slices of one array cost T times T. Here
each part hands the node behind it a `Pieces`, which that node puts together once.
"""

from dataclasses import dataclass
from typing import Any

from needle.indexing import axis_steps
from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op
from needle.shape import Shape


class Pieces(dict[int, Any]):
    """The cotangents of some parts of a value, by number: what the parts give the one node behind them together."""

    def __add__(self, other: "Pieces") -> "Pieces":
        """Merged in place: whoever adds owns both."""
        for i, g in other.items():
            self[i] = self[i] + g if i in self else g
        return self


@dataclass(frozen=True)
class Whole(Op):
    """x, about to be cut along an axis; its cotangent is the Pieces that `Part` gives."""

    axis: int
    sizes: tuple[int, ...]
    name = "split"

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x

    def vjp(self, g: Pieces, y: Array, x: Array) -> Cotangents:
        if len(g) == len(self.sizes):
            return (g[0].concatenated([g[i] for i in range(1, len(g))], self.axis),)
        total: Any = None
        for i, piece in g.items():
            part = piece.embedded(axis_steps(x.shape, self.axis, sum(self.sizes[:i]), self.sizes[i]), x.shape)
            total = part if total is None else total + part
        return (total,)


@dataclass(frozen=True)
class Part(Op):
    """Part `index` of a Whole: `size` positions of its axis from `start` on, a view."""

    axis: int
    index: int
    start: int
    size: int

    def shape(self, x: Shape) -> Shape:
        return (*x[: self.axis], self.size, *x[self.axis + 1 :])

    def forward(self, x: NDArray) -> NDArray:
        return x.sliced(axis_steps(x.shape, self.axis, self.start, self.size))

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (Pieces({self.index: g}),)

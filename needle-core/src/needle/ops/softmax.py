"""Softmax and its like, and the loss that is made of them."""

from dataclasses import dataclass
from math import prod
from typing import Any

from needle.errors import DTypeError, ShapeError
from needle.formulas import exp_of_difference
from needle.kinds import Reduce
from needle.ndarray import NDArray
from needle.one_pass import reduced_pass
from needle.op import Array, Cotangents, Op, reads
from needle.shape import Shape, reduced_shape


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x - max) / sum of the same, over the last axis."""

    autocast = "raise"
    reads = reads("y")

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x.softmax()

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.softmax_grad(y),)


@dataclass(frozen=True)
class LogSoftmax(Op):
    """x - logsumexp(x), over the last axis."""

    autocast = "raise"
    reads = reads("y")

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x.log_softmax()

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.log_softmax_grad(y),)


@dataclass(frozen=True)
class LogSumExp(Op):
    """log(sum(exp(x))) over some axes, without overflow."""

    autocast = "raise"
    name = "logsumexp"
    axes: Shape
    keepdims: bool = False
    reads = reads("y", 0)

    def shape(self, x: Shape) -> Shape:
        return reduced_shape(x, self.axes, self.keepdims)

    def forward(self, x: NDArray) -> NDArray:
        largest = x.max(self.axes, True)
        finite = largest.isfinite().where(largest, 0.0)  # inf - inf would be NaN
        total = reduced_pass(Reduce.SUM, self.axes, exp_of_difference, x, finite).log() + finite
        return total.reshape(self.shape(x.shape))

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        wide = reduced_shape(x.shape, self.axes, True)
        weights = (x - y.reshape(wide).broadcast_to(x.shape)).exp()
        return (g.reshape(wide).broadcast_to(x.shape) * weights,)


@dataclass(frozen=True)
class CrossEntropy(Op):
    """The mean over rows of logsumexp(logits) - logits[label]: (rows, classes), (rows,) -> ()."""

    autocast = "raise"
    reads = reads(0, 1)

    def shape(self, logits: Shape, labels: Shape) -> Shape:
        if len(logits) != 2 or labels != logits[:1]:
            raise ShapeError(
                f"cross_entropy: takes (rows, classes) and (rows,): logits is {logits}, labels is {labels}"
            )
        if prod(logits) == 0:
            raise ShapeError(f"cross_entropy: the mean of nothing: logits is {logits}")
        return ()

    def forward(self, logits: NDArray, labels: NDArray) -> NDArray:
        if labels.dtype.category != "int":
            raise DTypeError(f"cross_entropy: labels are ints, not {labels.dtype}; convert with .astype('int32')")
        return logits.cross_entropy(labels).mean()

    def vjp(self, g: Array, y: Array, logits: Array, labels: Any) -> Cotangents:
        return lambda: (g * (1.0 / logits.shape[0])).cross_entropy_grad(logits, labels), None

"""Sums, and what is made of them, under the course's names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from needle import course
from needle.backend_selection import data_of, ours
from needle.course_op import TensorOp, by_rule
from needle.errors import ShapeError
from needle.ndarray import NDArray
from needle.ops import reduction, softmax
from needle.shape import Axes, Shape, normalize_axes


class Reducing(TensorOp):
    """An op over some axes, which go; over all of them for None."""

    def __init__(self, axes: Axes = None) -> None:
        self.axes = tuple(axes) if isinstance(axes, Sequence) else axes

    def normalized(self, rank: int) -> Shape:
        return normalize_axes(self.axes, rank, "reduce")

    def finished(self, result: NDArray) -> Any:
        """In nd mode a sum of everything has the shape (1,)."""
        whole = self.axes is None and not course.NUMPY and course.ENABLED
        return data_of(result.reshape(1) if whole else result)


class Summation(Reducing):
    def compute(self, *args: Any) -> Any:
        x = args[0]
        if isinstance(x, np.ndarray):
            return np.sum(x, self.axes)
        return self.finished(x.array.sum(self.normalized(x.ndim)))

    def gradient(self, out_grad: Any, node: Any) -> Any:
        rule = reduction.Summation(self.normalized(len(node.inputs[0].shape)))
        return by_rule(rule, out_grad, node)


class LogSumExp(Reducing):
    """log(sum(exp(x))) without overflow."""

    def compute(self, *args: Any) -> Any:
        x = floating(args[0])
        return self.finished(softmax.LogSumExp(self.normalized(x.ndim)).forward(x))

    def gradient(self, out_grad: Any, node: Any) -> Any:
        rule = softmax.LogSumExp(self.normalized(len(node.inputs[0].shape)))
        return by_rule(rule, out_grad, node)


class LogSoftmax(TensorOp):
    """x - logsumexp(x) of each row of a matrix."""

    def compute(self, *args: Any) -> Any:
        x = floating(args[0])
        if x.ndim != 2:
            raise ShapeError(f"logsoftmax: takes rank 2: shape is {x.shape}")
        return data_of(x.log_softmax())

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return by_rule(softmax.LogSoftmax(), out_grad, node)


def floating(data: Any) -> NDArray:
    """Integers in np mode as float64, as NumPy takes them."""
    if isinstance(data, np.ndarray) and data.dtype.kind != "f":
        data = data.astype(np.float64)
    return ours(data)


def summation(a: Any, axes: Axes = None) -> Any:
    return Summation(axes)(a)


def logsumexp(a: Any, axes: Axes = None, **options: Any) -> Any:
    return a.logsumexp(axes, **options) if options else LogSumExp(axes)(a)


def logsoftmax(a: Any) -> Any:
    return LogSoftmax()(a)

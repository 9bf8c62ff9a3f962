"""Ops under the course's names that move elements."""

from collections.abc import Sequence
from typing import Any

from needle.backend_selection import array_api, data_of, ours
from needle.course_op import TensorOp, fitted
from needle.errors import ShapeError
from needle.indexing import Step
from needle.shape import Axes, Shape, either_axes
from needle.views import shape_argument


class Transpose(TensorOp):
    """Two axes exchanged, the last two by default."""

    def __init__(self, axes: tuple[int, int] | None = None) -> None:
        self.axes = axes

    def compute(self, *args: Any) -> Any:
        i, j = (-2, -1) if self.axes is None else self.axes
        return array_api.swapaxes(args[0], i, j)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return transpose(out_grad, self.axes)


class Reshape(TensorOp):
    """The same elements, in row-major order, under another shape."""

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = shape_argument((shape,))

    def compute(self, *args: Any) -> Any:
        return array_api.reshape(args[0], self.shape)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return reshape(out_grad, node.inputs[0].shape)


class BroadcastTo(TensorOp):
    """Axes of size 1, and new leading axes, repeated."""

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = shape_argument((shape,))

    def compute(self, *args: Any) -> Any:
        return array_api.broadcast_to(args[0], self.shape)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return fitted(out_grad, node.inputs[0].shape)


class Flip(TensorOp):
    """Axes in reverse order; all of them for None."""

    def __init__(self, axes: Axes = None) -> None:
        self.axes = tuple(axes) if isinstance(axes, Sequence) else axes

    def compute(self, *args: Any) -> Any:
        return array_api.flip(args[0], self.axes)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return flip(out_grad, self.axes)


class Spread(TensorOp):
    """An op between an array and the one with `dilation` zeros after each element along some axes."""

    def __init__(self, axes: int | Sequence[int], dilation: int) -> None:
        if dilation < 0:
            raise ShapeError(f"dilate: the dilation is at least 0, not {dilation}")
        self.axes, self.dilation = (axes,) if isinstance(axes, int) else tuple(axes), dilation

    def steps(self, rank: int) -> Shape:
        """The step on each axis; axes beyond the rank are ignored."""
        chosen = {a % rank for a in self.axes if -rank <= a < rank}
        return tuple(self.dilation + 1 if a in chosen else 1 for a in range(rank))


class Dilate(Spread):
    """n elements become n * (dilation + 1)."""

    def compute(self, *args: Any) -> Any:
        x = ours(args[0])
        each = list(zip(x.shape, self.steps(x.ndim), strict=True))
        found: tuple[Step, ...] = tuple((0, step, n) for n, step in each)
        return data_of(x.embedded(found, tuple(n * step for n, step in each)))

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return undilate(out_grad, self.axes, self.dilation)


class UnDilate(Spread):
    """The elements between which Dilate put zeros."""

    def compute(self, *args: Any) -> Any:
        x = args[0]
        return x[tuple(slice(None, None, step) for step in self.steps(x.ndim))]

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return dilate(out_grad, self.axes, self.dilation)


def transpose(a: Any, axes: tuple[int, int] | None = None) -> Any:
    return Transpose(axes)(a)


def reshape(a: Any, shape: int | Sequence[int]) -> Any:
    return Reshape(shape)(a)


def broadcast_to(a: Any, shape: int | Sequence[int]) -> Any:
    return BroadcastTo(shape)(a)


def flip(a: Any, axes: Axes = None, *, axis: Axes = None) -> Any:
    return Flip(either_axes(axes, axis, "flip"))(a)


def dilate(a: Any, axes: int | Sequence[int], dilation: int) -> Any:
    return Dilate(axes, dilation)(a)


def undilate(a: Any, axes: int | Sequence[int], dilation: int) -> Any:
    return UnDilate(axes, dilation)(a)

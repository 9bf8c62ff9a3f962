"""Ops that take or give a TensorTuple, under the course's names."""

from collections.abc import Sequence
from typing import Any

from needle.backend_selection import data_of, ours
from needle.course_op import TensorOp, TensorTupleOp
from needle.errors import ShapeError
from needle.ops.movement import Concatenate
from needle.shape import Shape, normalize_axis


class MakeTensorTuple(TensorTupleOp):
    """Several Tensors as one value."""

    def compute(self, *args: Any) -> Any:
        return tuple(args)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return tuple(out_grad[i] for i in range(len(out_grad)))

    def parts(self, *args: Any) -> Sequence[Any]:
        return args


class TupleGetItem(TensorOp):
    """Element `index` of a TensorTuple."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, *args: Any, fold_const: bool = True) -> Any:
        value = args[0]
        if isinstance(value, tuple):
            return value[self.index]
        if fold_const and isinstance(value.op, MakeTensorTuple):
            return value.inputs[self.index]
        return super().__call__(value)

    def compute(self, *args: Any) -> Any:
        return args[0][self.index]

    def gradient(self, out_grad: Any, node: Any) -> Any:
        arrays = [ours(x) for x in node.inputs[0].realize_cached_data()]
        grads = [out_grad.make_const(data_of(x.filled(x.shape, 0, x.dtype))) for x in arrays]
        grads[self.index] = out_grad
        return make_tuple(*grads)


class FusedAddScalars(TensorTupleOp):
    """(x + c0, x + c1)."""

    def __init__(self, c0: float, c1: float) -> None:
        self.c0, self.c1 = c0, c1

    def compute(self, *args: Any) -> Any:
        return args[0] + self.c0, args[0] + self.c1

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return out_grad[0] + out_grad[1]

    def parts(self, *args: Any) -> Sequence[Any]:
        return args[0] + self.c0, args[0] + self.c1


class Stack(TensorOp):
    """A TensorTuple of Tensors of one shape, side by side along a new axis."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __call__(self, *args: Any) -> Any:
        if args and isinstance(args[0], tuple):
            at = normalize_axis(self.axis, args[0][0].ndim + 1, "stack")
            first, *others = [x.expand_dims(at) for x in args[0]]
            return first._apply(Concatenate(at), *others)
        return super().__call__(*args)

    def compute(self, *args: Any) -> Any:
        arrays = [ours(x) for x in args[0]]
        for x in arrays:
            if x.shape != arrays[0].shape:
                raise ShapeError(f"stack: {arrays[0].shape} and {x.shape} differ")
        at = normalize_axis(self.axis, arrays[0].ndim + 1, "stack")
        return data_of(Concatenate(at).forward(*[x.expand_dims(at) for x in arrays]))

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return split(out_grad, self.axis)


class Split(TensorTupleOp):
    """A Tensor as the TensorTuple of its slices along an axis, which goes."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def compute(self, *args: Any) -> Any:
        x = ours(args[0])
        return tuple(data_of(x[self.key(x.ndim, i)].contiguous()) for i in range(self.count(x.shape)))

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return stack(out_grad, self.axis)

    def parts(self, *args: Any) -> Sequence[Any]:
        return [args[0][self.key(args[0].ndim, i)] for i in range(self.count(args[0].shape))]

    def count(self, shape: Shape) -> int:
        """How many slices there are."""
        return shape[normalize_axis(self.axis, len(shape), "split")]

    def key(self, rank: int, i: int) -> tuple[Any, ...]:
        return (slice(None),) * (self.axis % rank) + (i,)


def make_tuple(*args: Any) -> Any:
    return MakeTensorTuple()(*args)


def tuple_get_item(value: Any, index: int) -> Any:
    return TupleGetItem(index)(value)


def fused_add_scalars(x: Any, c0: float, c1: float) -> Any:
    return FusedAddScalars(c0, c1)(x)


def stack(args: Any, axis: int = 0) -> Any:
    """Of a TensorTuple, or of a list or tuple of Tensors."""
    if not len(args):
        raise ShapeError("stack: takes at least one Tensor")
    return Stack(axis)(make_tuple(*args) if isinstance(args, list | tuple) else args)


def split(a: Any, axis: int) -> Any:
    """Into a TensorTuple of slices."""
    return Split(axis)(a)

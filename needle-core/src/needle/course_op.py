"""The course's ops, as base classes: `compute` on arrays, `gradient` on Tensors. And how they and Needle's ops meet.

A course op reaches any Tensor as `Custom`, one of Needle's ops; the course's Tensor records Needle's ops as `Adapted`,
one of the course's. So both kinds work in both faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from needle import op as core
from needle.backend_selection import data_of, ours
from needle.errors import UnsupportedError
from needle.graph import no_grad
from needle.ndarray import NDArray
from needle.shape import Shape, broadcast_axes
from needle.tensor import Tensor


class Op:
    """A function of values. Subclasses write `compute` on arrays and `gradient` on Tensors."""

    def __call__(self, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} is called through TensorOp or TensorTupleOp")

    def compute(self, *args: Any) -> Any:
        """The result, from what lies in the inputs: NumPy arrays or NDArrays, or tuples of them."""
        raise NotImplementedError(f"{type(self).__name__} has no compute")

    def gradient(self, out_grad: Any, node: Any) -> Any:
        """The gradients of `node.inputs`, given that of `node`: one Tensor, or one for each input."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    def gradient_as_tuple(self, out_grad: Any, node: Any) -> tuple[Any, ...]:
        """The same, always as a tuple."""
        found = self.gradient(out_grad, node)
        return tuple(found) if isinstance(found, tuple | list) else (found,)


class TensorOp(Op):
    """An op that gives a Tensor."""

    def __call__(self, *args: Any) -> Any:
        return args[0]._apply(Custom(self), *args[1:])


class TensorTuple(tuple[Any, ...]):
    """In Needle's own face, several Tensors, and no graph of its own. The course's is a value of the graph."""

    def tuple(self) -> "TensorTuple":
        return self

    def __add__(self, other: Any) -> "TensorTuple":
        return TensorTuple(a + b for a, b in zip(self, other, strict=True))

    def detach(self) -> "TensorTuple":
        return TensorTuple(x.detach() for x in self)


class TensorTupleOp(Op):
    """An op that gives a TensorTuple."""

    def __call__(self, *args: Any) -> Any:
        return args[0].apply_tuple(self, args) if hasattr(args[0], "apply_tuple") else TensorTuple(self.parts(*args))

    def parts(self, *args: Any) -> Sequence[Any]:
        """The results as a composition of Tensors' methods: what Needle's own face calls."""
        raise UnsupportedError(f"{type(self).__name__} gives a TensorTuple; such ops of your own need NEEDLE_COURSE=1")


class Recorded(Tensor):
    """A result of Needle's own face as a course op's `gradient` is given it: with its inputs."""

    __slots__ = ("inputs", "op")

    def __init__(self, result: Tensor, op: Op, inputs: tuple[Tensor, ...]) -> None:
        super().__init__(result.array)
        self.node, self._leaf_grad = result.node, result._leaf_grad
        self.op, self.inputs = op, inputs


@dataclass(frozen=True)
class Custom(core.Op):
    """A course op as one of Needle's."""

    op: TensorOp
    reads = core.reads("y", *range(64))

    def shape(self, *inputs: Shape) -> Shape:
        return ()  # nobody knows before `compute`, which checks

    def forward(self, *inputs: NDArray) -> NDArray:
        return ours(self.op.compute(*[data_of(x) for x in inputs]))

    def vjp(self, g: Any, y: Any, *inputs: Any) -> core.Cotangents:
        if not isinstance(g, NDArray):
            return self.op.gradient_as_tuple(g, Recorded(y, self.op, inputs))
        with no_grad():
            tensors = tuple(Tensor(x) for x in inputs)
            grads = self.op.gradient_as_tuple(Tensor(g), Recorded(Tensor(y), self.op, tensors))
        return tuple(None if x is None else x.array for x in grads)


class Adapted(TensorOp):
    """One of Needle's ops as the course's. `widen` gives a scalar the course's shape of it, (1,)."""

    def __init__(self, op: core.Op, widen: bool = False) -> None:
        self.op, self.widen = op, widen

    def compute(self, *args: Any) -> Any:
        result = self.op.forward(*[ours(x) for x in args])
        return data_of(result.reshape(1) if self.widen else result)

    def gradient(self, out_grad: Any, node: Any) -> tuple[Any, ...]:
        g, y = (out_grad.reshape(()), node.reshape(())) if self.widen else (out_grad, node)
        return called(self.op.vjp(g, y, *node.inputs))

    def __repr__(self) -> str:
        return repr(self.op)


def called(entries: core.Cotangents) -> tuple[Any, ...]:
    """The entries of a gradient rule, computed."""
    return tuple(entry() if callable(entry) else entry for entry in entries)


def fitted(g: Any, shape: Shape) -> Any:
    """A gradient summed over the axes along which its operand was repeated."""
    if g is None or g.shape == shape:
        return g
    axes = broadcast_axes(shape, g.shape)
    return (g.sum(axes) if axes else g).reshape(shape)


def by_rule(op: core.Op, out_grad: Any, node: Any) -> Any:
    """The gradient by the rule of one of Needle's ops, for inputs that may have been broadcast."""
    entries = called(op.vjp(out_grad, node, *node.inputs))
    grads = tuple(fitted(g, x.shape) for g, x in zip(entries, node.inputs, strict=True))
    return grads[0] if len(grads) == 1 else grads

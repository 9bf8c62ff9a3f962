"""Tensor: an NDArray and the node that made it. Each method is one line onto an op, or onto the array below."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from needle import tracing
from needle.autograd import propagate
from needle.conversions import Conversions
from needle.device import Device
from needle.dispatch import index_dtype
from needle.dtype import as_dtype
from needle.errors import DeviceError, DTypeError, GraphError, ShapeError
from needle.graph import Node, Parent, is_grad_enabled
from needle.habits import hint
from needle.indexing import parse_key
from needle.kinds import Binary, Unary
from needle.ndarray import SCALARS, NDArray, as_operand, from_numpy
from needle.op import Op, Scalar
from needle.ops.elementwise import UNARY_OPS, Cast, Where
from needle.ops.movement import Move, Reshape
from needle.ops.pairwise import BINARY_OPS
from needle.ops.scalar import SCALAR_OPS
from needle.precision import autocast_dtype, autocasted
from needle.registry import device as as_device
from needle.result_types import binary_types
from needle.selection import pick
from needle.shape import broadcast_shapes
from needle.tensor_functions import TensorFunctions, broadcast

TensorLike: TypeAlias = "Tensor | NDArray | np.ndarray[Any, Any] | Sequence[Any] | Scalar"


class Tensor(TensorFunctions, Conversions):
    """An n-dimensional array that remembers how it was computed.

    `array` is its NDArray. `grad`, on leaves that require gradients, is a Tensor of the same shape after `backward()`.
    """

    __slots__ = ("__weakref__", "_grad", "_leaf_grad", "array", "node")
    __hash__ = object.__hash__
    plain = True  # an NDArray and a node, and nothing beside

    array: NDArray
    _grad: "Tensor | None"
    node: Node | None
    _leaf_grad: bool  # whether this is a leaf that requires gradients

    def __init__(
        self, array: TensorLike, *, device: Device | str | None = None, dtype: Any = None, requires_grad: bool = False
    ) -> None:
        self.array = _as_array(array, device, dtype)
        self._grad = None
        self.node = None
        self._leaf_grad = False
        if requires_grad:
            self.requires_grad = True

    if not TYPE_CHECKING:  # which would take every name for one that there is

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint(name, method=True)}")

    # What it is.

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that `backward()` left here."""
        if tracing.active is not None:
            tracing.active.looking(self, self._grad)
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if tracing.active is not None:
            tracing.active.forgetting(self)
        self._grad = value

    @property
    def device(self) -> Device:
        return self.array.device

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def __len__(self) -> int:
        return len(self.array)

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user, not by a recorded op."""
        return self.node is None

    @property
    def requires_grad(self) -> bool:
        return self._leaf_grad or self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self.node is not None:
            raise GraphError("requires_grad: set on leaves only; this tensor was computed, use .detach()")
        if wanted and not self.array.dtype.is_float:
            raise DTypeError(f"requires_grad: only floats have gradients, not {self.array.dtype}")
        self._leaf_grad = bool(wanted)

    def requires_grad_(self, wanted: bool = True) -> "Tensor":
        """Set `requires_grad` and return the tensor itself."""
        self.requires_grad = wanted
        return self

    @property
    def data(self) -> "Tensor":
        """The same memory, detached. Assigning a Tensor of equal dtype replaces the elements."""
        return self.detach()

    @data.setter
    def data(self, value: "Tensor") -> None:
        if not isinstance(value, Tensor) or value.dtype != self.dtype:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise DTypeError(f"data: takes a Tensor of dtype {self.dtype}, not {found}")
        if tracing.active is not None:
            tracing.active.using(self)
        self.array = value.array

    def detach(self) -> "Tensor":
        """The same memory without a graph."""
        if tracing.active is not None:
            tracing.active.using(self)
        return Tensor(self.array)

    def __repr__(self) -> str:
        values = np.array2string(self.array.numpy(), separator=", ", prefix="Tensor(", threshold=100, precision=4)
        extra = f", op={self.node.op.name}" if self.node is not None else ", requires_grad=True" * self._leaf_grad
        return f"Tensor({values}, dtype={self.dtype}, device={self.device}{extra})"

    # Between devices and types.

    def to(self, device: Device | str | None = None, dtype: Any = None) -> "Tensor":
        """On another device, or of another type; itself where nothing changes. Gradients flow back."""
        target = self.device if device is None else as_device(device)
        moved = self if target is self.device else apply(Move(target), self)
        return moved if dtype is None else moved.astype(dtype)

    def astype(self, dtype: Any) -> "Tensor":
        target = as_dtype(dtype)
        return self if target is self.array.dtype else apply(Cast(target), self)

    def contiguous(self) -> "Tensor":
        return self if self.array.layout.contiguous else _recorded(Reshape(self.shape), self.array.copy(), (self,))

    def __reduce__(self) -> tuple[Any, ...]:
        """For `copy` and `pickle`: a leaf with its gradient. `copy.copy` shares the memory."""
        if self.node is not None:
            raise GraphError("copy: this tensor was computed and has a graph; copy or pickle its .detach()")
        return _leaf, (type(self), self.array, self._leaf_grad), self._beside()

    def _beside(self) -> tuple[Any, ...]:
        """Attributes of subclasses, and the gradient, for `__reduce__`."""
        return getattr(self, "__dict__", None), {"grad": None if self.grad is None else self.grad.detach()}

    # Gradients.

    def backward(self, grad: "Tensor | None" = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the gradients of this tensor to the `.grad` of every leaf that it depends on.

        `grad` is the gradient to start from, 1 for a single element. The graph is freed, unless `retain_graph`;
        with `create_graph` the gradients can be differentiated again.
        """
        if self.node is None:
            if not self._leaf_grad:
                raise GraphError(
                    "backward: no graph behind this tensor; compute it from tensors with requires_grad=True"
                )
            found: dict[Any, Any] = {self: _seed(self, grad, create_graph)}
        else:
            found = _propagate(self, grad, retain_graph or create_graph, create_graph)
        taken: set[int] = set()
        for leaf, g in found.items():
            _accumulate(leaf, g, taken)

    # Elementwise: see Operators.

    def _unary(self, kind: Unary) -> "Tensor":
        return _recorded(UNARY_OPS[kind], self.array._unary(kind), (self,))

    def _binary(self, kind: Binary, other: Any) -> "Tensor":
        if not isinstance(other, Tensor):
            if type(other) in SCALARS:
                return self._scalar(kind, other, swapped=False)
            other = self.like(other, kind.op)
        a, b = self, other
        x, y = a.array, b.array
        if x.dtype is not y.dtype:
            compute, _ = binary_types(kind, x.dtype, y.dtype)
            a, b = a.astype(compute), b.astype(compute)
        if x.layout.shape != y.layout.shape:
            shape = broadcast_shapes(kind.op, x.layout.shape, y.layout.shape)
            a, b = broadcast(a, shape), broadcast(b, shape)
        return _recorded(BINARY_OPS[kind], a.array._binary(kind, b.array), (a, b))

    def _swapped(self, kind: Binary, other: Any) -> "Tensor":
        if type(other) in SCALARS:
            return self._scalar(kind, other, swapped=True)
        return self.like(other, kind.op)._binary(kind, self)

    def _scalar(self, kind: Binary, scalar: Scalar, swapped: bool) -> "Tensor":
        if tracing.active is not None:
            tracing.active.using(self)
        result = self.array._scalar(kind, scalar, swapped)
        op = SCALAR_OPS.get(kind)
        if op is None or not self.requires_grad:
            return wrapped(result)
        return _recorded(op(scalar, swapped), result, (self,))

    def where(self, a: Any, b: Any) -> "Tensor":
        """a where self is true, else b; both may be numbers."""
        model = next((v for v in (a, b) if isinstance(v, Tensor)), None)
        if model is None:
            return Tensor(self.array.where(a, b))
        x, y = (model.like(v, "where") for v in (a, b))
        dtype, _ = binary_types(Binary.MAXIMUM, x.dtype, y.dtype)
        shape = broadcast_shapes("where", self.shape, x.shape, y.shape)
        return apply(
            Where(),
            broadcast(self.astype("bool"), shape),
            broadcast(x.astype(dtype), shape),
            broadcast(y.astype(dtype), shape),
        )

    def _apply(self, op: Op, *others: "Tensor") -> "Tensor":
        """Run an op: check shapes and devices, compute, and record a node if a gradient is wanted."""
        if not others and not op.autocast:
            array = self.array
            op.shape(array.layout.shape)
            return _recorded(op, op.forward(array), (self,))
        inputs = (self, *others)
        if op.autocast and (half := autocast_dtype()) is not None:
            inputs = tuple(autocasted(op.autocast, inputs, half))
        arrays = [x.array for x in inputs]
        op.shape(*[a.layout.shape for a in arrays])
        device = arrays[0].device
        for a in arrays:
            if a.device is not device:
                raise DeviceError(f"{op.name}: operands are on {device} and {a.device}; move one with .to(device)")
        return _recorded(op, op.forward(*arrays), inputs)

    def linear(self, weight: "Tensor", bias: "Tensor", relu: bool = False) -> "Tensor":
        out = super().linear(weight, bias, relu)
        if relu and out.node is not None:  # computed in one pass, recorded as the two ops that it is
            out.node = Node(UNARY_OPS[Unary.RELU], (out.node,), (out.array,), out.array)
        return out

    def writable(self) -> NDArray:
        """The array, made contiguous if it is not, for kernels that update it in place."""
        if tracing.active is not None:
            tracing.active.using(self)
        self.array = self.array.contiguous()
        return self.array

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.requires_grad and is_grad_enabled():
            raise GraphError("assign: this tensor takes part in a graph; assign inside `with needle.no_grad():`")
        if tracing.active is not None:
            tracing.active.using(self)
        self.array[arrays_in(key)] = value.array if isinstance(value, Tensor) else value

    def __matmul__(self, other: Any) -> "Tensor":
        return self.matmul(other if isinstance(other, Tensor) else self.like(other, "matmul"))

    def __rmatmul__(self, other: Any) -> "Tensor":
        return self.like(other, "matmul").matmul(self)

    def like(self, value: Any, op: str = "convert") -> "Tensor":
        """A number or array as a Tensor that can meet this one, for an op to be named if it cannot."""
        return value if isinstance(value, Tensor) else Tensor(as_operand(op, self.array, value))

    def __getitem__(self, key: Any) -> "Tensor":
        parsed = parse_key(arrays_in(key), self.shape)
        view = self.sliced(parsed.steps)
        return pick(view, parsed) if parsed.arrays else view


def apply(op: Op, *inputs: Tensor) -> Tensor:
    """The op of some Tensors, as the first of them applies it."""
    return inputs[0]._apply(op, *inputs[1:])


def as_arrays(*tensors: Tensor) -> list[NDArray] | None:
    """Their arrays, where a function of them may be computed on these alone: nothing is to be recorded or cast, and
    all are of one device and type. Functions of several ops take this shorter way in evaluation; else None."""
    if autocast_dtype() is not None or not tensors[0].plain:
        return None
    recording = is_grad_enabled()
    first = tensors[0].array
    device, dtype = first.device, first.dtype
    arrays = []
    for x in tensors:
        array = x.array
        if array.dtype is not dtype or array.device is not device or not x.plain:
            return None
        if recording and (x._leaf_grad or x.node is not None):
            return None
        arrays.append(array)
    if tracing.active is not None:
        for x in tensors:
            tracing.active.using(x)
    return arrays


def _leaf(kind: type[Tensor], array: NDArray, requires_grad: bool) -> Tensor:
    """A Tensor copied or unpickled."""
    out = kind.__new__(kind)
    Tensor.__init__(out, array, requires_grad=requires_grad)
    return out


_new = Tensor.__new__


def wrapped(array: NDArray) -> Tensor:
    """A Tensor around an array that is one already."""
    out = _new(Tensor)
    out.array = array
    out._grad = out.node = None
    out._leaf_grad = False
    return out


def _recorded(op: Op, result: NDArray, inputs: tuple[Tensor, ...]) -> Tensor:
    """The result as a Tensor, with a node if an input requires gradients and the op has any."""
    if tracing.active is not None:
        for x in inputs:
            tracing.active.using(x)
    out = wrapped(result)
    for x in inputs:
        if x.node is not None or x._leaf_grad:
            if op.differentiable and result.dtype.is_float and is_grad_enabled():
                parents = tuple([x.node or (x if x._leaf_grad else None) for x in inputs])
                out.node = Node(op, parents, tuple([x.array for x in inputs]), result)
            break
    return out


def _as_array(value: TensorLike, device: Device | str | None, dtype: Any) -> NDArray:
    """The array of a tensor-like value. Python floats are float32, ints int64; NumPy arrays keep their type."""
    if isinstance(value, Tensor):
        value = value.array
    if isinstance(value, NDArray):
        return value.to(device, dtype) if device is not None or dtype is not None else value
    if isinstance(value, np.ndarray | np.generic):
        return from_numpy(value, device, dtype)
    try:
        values = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"tensor: the nested lists are ragged: {error}") from None
    if dtype is None and values.dtype.kind in "if":
        dtype = "float32" if values.dtype.kind == "f" else index_dtype(as_device(device))
    return from_numpy(values, device, dtype)


def arrays_in(key: Any) -> Any:
    """An index with its Tensors as NDArrays: indices have no gradients."""
    if isinstance(key, tuple):
        return tuple(arrays_in(k) for k in key)
    return key.array if isinstance(key, Tensor) else key


# The two ways through a graph: on NDArrays, and on Tensors, which record it again.


def _seed(root: Tensor, grad: Any, create_graph: bool) -> Any:
    """The cotangent to start from."""
    if grad is None:
        if root.size != 1:
            raise ShapeError(f"backward: takes one element, or the gradient to start from: shape is {root.shape}")
        grad = Tensor(root.array.filled(root.shape, 1, root.dtype))
    grad = grad if isinstance(grad, Tensor) else Tensor(as_operand("backward", root.array, grad))
    if grad.shape != root.shape:
        raise ShapeError(f"backward: the gradient to start from is {grad.shape}, the tensor {root.shape}")
    if grad.device is not root.device:
        raise DeviceError(f"backward: the gradient is on {grad.device}, the tensor on {root.device}")
    grad = grad.astype(root.dtype)
    return grad if create_graph else grad.array


def _propagate(root: Tensor, grad: Any, keep: bool, create_graph: bool, wanted: Sequence[Any] = ()) -> dict[Any, Any]:
    assert root.node is not None
    cotangent = _seed(root, grad, create_graph)
    return propagate(root.node, cotangent, keep=keep, wrap=_relinked if create_graph else None, wanted=wanted)


def _relinked(array: NDArray, parent: Parent) -> Tensor:
    """A value kept by a node, as the Tensor that it was: with its place in the graph."""
    if isinstance(parent, Tensor):
        return parent
    out = wrapped(array)
    out.node = parent
    return out


def _accumulate(leaf: Tensor, g: Any, taken: set[int]) -> None:
    """leaf.grad += g. A first gradient is copied where its memory is not its own: rules may return views of
    others, and somebody may clip gradients in place."""
    if tracing.active is not None:
        tracing.active.accumulating(leaf)
    before = leaf.grad
    if isinstance(g, Tensor):
        leaf.grad = g if before is None else before + g
        return
    if before is not None:
        leaf.grad = wrapped(before.array + g)
        return
    if id(g.buffer) in taken or not g.layout.compacted:
        g = g.copy()
    taken.add(id(g.buffer))
    leaf.grad = wrapped(g)


def grad_of(
    outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None, *,
    retain_graph: bool = False, create_graph: bool = False, allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The gradients of outputs with respect to inputs, leaving every `.grad` as it is."""
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ends = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] if isinstance(outputs, Tensor) else list(grad_outputs or [None] * len(roots))
    keys = [x.node or x for x in ends]
    totals: dict[Any, Any] = {}
    for i, (root, seed) in enumerate(zip(roots, seeds, strict=True)):
        keep = retain_graph or create_graph or i < len(roots) - 1
        found = {}
        if root.node is not None:
            found = _propagate(root, seed, keep, create_graph, keys)
        elif any(root is key for key in keys):
            found = {root: _seed(root, seed, create_graph)}
        for key, g in found.items():
            totals[key] = totals[key] + g if key in totals else g
    if not allow_unused and any(key not in totals for key in keys):
        missing = next(i for i, key in enumerate(keys) if key not in totals)
        raise GraphError(f"grad: input {missing} has no path to the outputs; pass allow_unused=True to get None for it")
    return tuple(_as_tensor(totals.get(key)) for key in keys)


def _as_tensor(g: Any) -> Tensor | None:
    return g if g is None or isinstance(g, Tensor) else wrapped(g)

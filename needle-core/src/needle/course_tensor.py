"""The course's Tensor: Needle's, with a graph of values behind it in place of Needle's nodes.

Its arithmetic is made of the ops of `course_ops`; all else that a Tensor of Needle's can do comes to `_apply` as one
of Needle's ops and is recorded as `Adapted`, so that layers and optimizers need not know which Tensor they see.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from needle import course, ndarray, tensor
from needle.backend_selection import converted, data_of, device_of, dtype_of, new_data, ours
from needle.course_autograd import Value, compute_gradient_of_variables, find_topo_sort
from needle.course_drawing import Sketch
from needle.course_op import Adapted, Custom, Op, TensorTupleOp
from needle.course_ops import elementwise, movement, reduction, tuples
from needle.course_ops.products import MatMul
from needle.drawing import Picture
from needle.dtype import as_dtype, promote
from needle.errors import DTypeError, GraphError
from needle.graph import is_grad_enabled
from needle.kinds import Binary, Unary
from needle.ndarray import as_operand
from needle.op import Op as CoreOp
from needle.ops.elementwise import UNARY_OPS, Cast
from needle.ops.movement import Move
from needle.ops.pairwise import BINARY_OPS
from needle.ops.scalar import SCALAR_OPS
from needle.registry import device as as_device
from needle.result_types import binary_types
from needle.shape import Axes, Shape, broadcast_shapes, either_axes, only_defaults
from needle.tensor_functions import broadcast
from needle.views import shape_argument

_UNARY = {
    Unary.NEG: elementwise.Negate, Unary.LOG: elementwise.Log, Unary.EXP: elementwise.Exp,
    Unary.RELU: elementwise.ReLU, Unary.TANH: elementwise.Tanh,
}  # fmt: skip
_BINARY = {
    Binary.ADD: elementwise.EWiseAdd, Binary.MUL: elementwise.EWiseMul, Binary.DIV: elementwise.EWiseDiv,
    Binary.POW: elementwise.EWisePow,
}  # fmt: skip
_SCALAR = {
    Binary.ADD: elementwise.AddScalar, Binary.MUL: elementwise.MulScalar, Binary.DIV: elementwise.DivScalar,
    Binary.POW: elementwise.PowerScalar,
}  # fmt: skip


class CourseTypeError(DTypeError, AssertionError):
    """A value of a kind or dtype that the course asserts."""


class Tensor(tensor.Tensor, Value):
    """A value that is an array."""

    __slots__ = ("cached_data", "inputs", "num_outputs", "op", "requires_grad")
    __hash__ = object.__hash__
    __eq__ = object.__eq__  # type: ignore[assignment]  # by identity, as in the course
    __ne__ = object.__ne__  # type: ignore[assignment]  # by identity, as in the course
    plain = False
    node = None
    _leaf_grad = False

    def __init__(
        self, array: Any, *, device: Any = None, dtype: Any = None, requires_grad: bool = True, **kwargs: Any
    ) -> None:
        if isinstance(array, Tensor):
            data = converted(array.realize_cached_data(), device, dtype)
        else:
            data = new_data(array.array if isinstance(array, tensor.Tensor) else array, device, dtype)
        self._init(None, [], cached_data=data, requires_grad=requires_grad)

    @classmethod
    def make_const(cls, data: Any, *, requires_grad: bool = False) -> "Tensor":
        """A leaf that holds `data` itself."""
        value = Tensor.__new__(Tensor)
        value._init(None, [], cached_data=data, requires_grad=requires_grad)
        return value

    # What it is.

    @property
    def array(self) -> ndarray.NDArray:
        """As one of Needle's arrays, over the same memory."""
        return ours(self.realize_cached_data())

    @array.setter
    def array(self, value: ndarray.NDArray) -> None:
        self.cached_data = data_of(value)

    def writable(self) -> ndarray.NDArray:
        """A new array in the place of the old, so that nobody who shares the old one sees the change."""
        self.cached_data = data_of(self.array.copy())
        return self.array

    @property
    def shape(self) -> Shape:
        return tuple(self.realize_cached_data().shape)

    @property
    def dtype(self) -> Any:
        return dtype_of(self.realize_cached_data())

    @property
    def device(self) -> Any:
        return device_of(self.realize_cached_data())

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(self.realize_cached_data().size)

    def is_leaf(self) -> bool:  # type: ignore[override]  # the course's
        return self.op is None

    @property
    def data(self) -> "Tensor":
        """The same memory, detached. Assigning a Tensor of equal dtype replaces it."""
        return self.detach()

    @data.setter
    def data(self, value: tensor.Tensor) -> None:
        if not isinstance(value, Tensor) or value.dtype != self.dtype:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise CourseTypeError(f"data: takes a Tensor of dtype {self.dtype}, not {found}")
        self.cached_data = value.realize_cached_data()

    def detach(self) -> "Tensor":
        """The same memory without a graph."""
        return Tensor.make_const(self.realize_cached_data())

    def __reduce__(self) -> tuple[Any, ...]:
        if self.op is not None:
            raise GraphError("copy: this tensor was computed and has a graph; copy or pickle its .detach()")
        return _leaf, (type(self), self.realize_cached_data(), self.requires_grad), self._beside()

    def numpy(self) -> Any:
        """A NumPy array with a copy of the elements."""
        data = self.realize_cached_data()
        return data.copy() if isinstance(data, np.ndarray) else data.numpy()

    def __repr__(self) -> str:
        return f"needle.Tensor({self.realize_cached_data()})"

    def __str__(self) -> str:
        return str(self.realize_cached_data())

    def to(self, device: Any = None, dtype: Any = None) -> "Tensor":
        stays = course.NUMPY or device is None or device == self.device
        moved = self if stays else self._apply(Move(as_device(device)))
        return moved if dtype is None else moved.astype(dtype)

    def astype(self, dtype: Any) -> "Tensor":
        target = as_dtype(dtype)
        return self if target == self.dtype else self._apply(Cast(target))

    # Gradients.

    def backward(self, out_grad: Any = None, **_: Any) -> None:  # type: ignore[override]  # the course's
        """Set the `grad` of every value behind this one; `out_grad` is that of this one, ones if not given."""
        seed = self.array
        if out_grad is None:
            out_grad = Tensor.make_const(data_of(seed.filled(seed.shape, 1, seed.dtype)))
        compute_gradient_of_variables(self, out_grad)

    def picture(self, names: Mapping[str, Any]) -> Picture:
        """The graph behind it as boxes and arrows, for `needle.graph`."""
        return Sketch(find_topo_sort([self]), names).picture()

    # How ops are recorded.

    def _apply(self, op: CoreOp, *others: Any) -> "Tensor":
        if isinstance(op, Custom):
            return Tensor.make_from_op(op.op, [self, *(self.like(x) for x in others)])
        inputs = _of_one_dtype([self, *(self.like(x) for x in others)])
        arrays = [x.array for x in inputs]
        shape = op.shape(*[a.layout.shape for a in arrays])
        widen = shape == () and not course.NUMPY and any(a.layout.shape for a in arrays)
        adapted = Adapted(op, widen)
        if op.differentiable and is_grad_enabled() and any(x.requires_grad for x in inputs):
            value = Tensor.make_from_op(adapted, inputs)
            if value.array.dtype.is_float:
                return value
            return value.detach()
        return Tensor.make_const(adapted.compute(*[x.realize_cached_data() for x in inputs]))

    def apply_tuple(self, op: TensorTupleOp, args: Sequence[Any]) -> "TensorTuple":
        return TensorTuple.make_from_op(op, args)

    def like(self, value: Any, op: str = "convert") -> "Tensor":
        """A number or array as a Tensor that can meet this one, in its own dtype."""
        if isinstance(value, Tensor):
            return value
        array = value.array if isinstance(value, tensor.Tensor) else as_operand(op, self.array, value)
        return Tensor.make_const(data_of(array))

    def _unary(self, kind: Unary) -> Any:
        op = _UNARY.get(kind)
        return self._apply(UNARY_OPS[kind]) if op is None else op()(self)

    def _binary(self, kind: Binary, other: Any) -> Any:
        if not isinstance(other, tensor.Tensor):
            if _is_number(other):
                return self._scalar(kind, other, swapped=False)
            other = Tensor.make_const(new_data(other, self.device))
        if kind is Binary.SUB:
            return elementwise.EWiseAdd()(self, elementwise.Negate()(other))
        op = _BINARY.get(kind)
        if op is not None:
            return op()(self, self.like(other))
        compute, _ = binary_types(kind, self.dtype, other.dtype)
        shape = broadcast_shapes(kind.op, self.shape, other.shape)
        a, b = broadcast(self.astype(compute), shape), broadcast(other.astype(compute), shape)
        return a._apply(BINARY_OPS[kind], b)

    def _swapped(self, kind: Binary, other: Any) -> Any:
        if _is_number(other):
            return self._scalar(kind, other, swapped=True)
        return Tensor.make_const(new_data(other, self.device))._binary(kind, self)

    def _scalar(self, kind: Binary, scalar: Any, swapped: bool) -> Any:
        scalar = elementwise.number(scalar)
        if kind is Binary.SUB:
            return elementwise.AddScalar(scalar)(-self) if swapped else elementwise.AddScalar(-scalar)(self)
        op = _SCALAR.get(kind)
        if op is not None and not (swapped and kind in (Binary.DIV, Binary.POW)):
            return op(scalar)(self)
        recorded = SCALAR_OPS.get(kind)
        if recorded is not None:
            return self._apply(recorded(scalar, swapped))
        return Tensor.make_const(data_of(self.array._scalar(kind, scalar, swapped)))

    def contiguous(self) -> "Tensor":
        return self if self.array.layout.contiguous else self.reshape(self.shape)

    def __setitem__(self, key: Any, value: Any) -> None:
        array = self.array
        array[tensor.arrays_in(key)] = value.array if isinstance(value, tensor.Tensor) else value
        self.array = array

    # The methods that are ops of the course's.

    def matmul(self, other: Any) -> Any:
        wide = min(self.ndim, other.ndim) > 1
        return MatMul()(self, other) if wide else super().matmul(other)

    def linear(self, weight: Any, bias: Any, relu: bool = False) -> Any:
        result = self.matmul(weight) + bias
        return result.relu() if relu else result

    def sum(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None, **numpy: Any) -> Any:
        only_defaults("sum", numpy)
        chosen = either_axes(axes, axis, "sum")
        return super().sum(chosen, True) if keepdims else reduction.Summation(chosen)(self)

    def logsumexp(self, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Any:
        chosen = either_axes(axes, axis, "logsumexp")
        return super().logsumexp(chosen, True) if keepdims else reduction.LogSumExp(chosen)(self)

    def log_softmax(self, axis: int = -1) -> Any:
        rows = self.ndim == 2 and axis in (1, -1)
        return reduction.LogSoftmax()(self) if rows else super().log_softmax(axis)

    def reshape(self, *shape: Any) -> Any:
        return movement.Reshape(shape_argument(shape))(self)

    def broadcast_to(self, *shape: Any) -> Any:
        return movement.BroadcastTo(shape_argument(shape))(self)

    def transpose(self, axes: tuple[int, int] | None = None) -> Any:
        return movement.Transpose(axes)(self)


class TensorTuple(Value):
    """A value that is several arrays."""

    def __len__(self) -> int:
        return len(self.realize_cached_data())

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"TensorTuple: {index} is out of range of {len(self)}")
        return tuples.TupleGetItem(index)(self)

    def tuple(self) -> tuple[Any, ...]:
        """Its elements as Tensors."""
        return tuple([self[i] for i in range(len(self))])

    def __add__(self, other: "TensorTuple") -> Any:
        if not isinstance(other, TensorTuple) or len(self) != len(other):
            raise CourseTypeError("TensorTuple: only one of the same length can be added")
        return tuples.make_tuple(*[a + b for a, b in zip(self.tuple(), other.tuple(), strict=True)])

    def detach(self) -> "TensorTuple":
        """The same arrays without a graph."""
        return TensorTuple.make_const(self.realize_cached_data())

    def __repr__(self) -> str:
        return f"needle.TensorTuple{self.tuple()!r}"

    def _apply(self, op: Any, *others: Any) -> Tensor:
        return Tensor.make_from_op(op.op, [self, *others])

    def apply_tuple(self, op: Op, args: Sequence[Any]) -> "TensorTuple":
        return TensorTuple.make_from_op(op, args)


def _leaf(kind: type[Tensor], data: Any, requires_grad: bool) -> Tensor:
    """A Tensor copied or unpickled."""
    value = kind.__new__(kind)
    value._init(None, [], cached_data=data, requires_grad=requires_grad)
    return value


def _is_number(value: Any) -> bool:
    """A Python or NumPy number, or one in a NumPy array of shape () or (1,)."""
    return value.shape in ((), (1,)) if isinstance(value, np.ndarray) else np.ndim(value) == 0


def _of_one_dtype(inputs: list[Any]) -> list[Any]:
    """In np mode floats may meet that differ in width; kernels take one."""
    floats = {x.dtype for x in inputs if x.dtype in ("float16", "float32", "float64")}
    if len(floats) < 2:
        return inputs
    widest = promote(*floats) if len(floats) == 2 else "float64"
    return [x.astype(widest) if x.dtype in floats else x for x in inputs]

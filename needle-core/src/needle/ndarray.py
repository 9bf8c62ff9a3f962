"""NDArray: a buffer on a device seen through a layout, without gradients.

Everything that computes goes through `dispatch`; views and the ways to the host are in the base classes.
Semantics are those of the Python Array API standard, as NumPy's users expect.
"""

from typing import Any

import numpy as np

from needle import dispatch, tracing
from needle.contraction import Contractions
from needle.convolution import Convolutions
from needle.device import Device
from needle.dtype import (
    CATEGORY,
    DType,
    as_dtype,
    bfloat16,
    bfloat16_from_float32,
    check_scalar,
    int64,
    numpy_dtype,
    promote,
)
from needle.errors import DeviceError, DTypeError, ShapeError, shown
from needle.exchange import HostExchange, bytes_of
from needle.indexing import parse_key
from needle.kinds import ROUNDING, Binary, Unary
from needle.layout import Layout, permuted_layout, storage_order
from needle.live import LIVE, is_live
from needle.normalization import Normalizations
from needle.reductions import Reductions
from needle.registry import device as as_device
from needle.result_types import binary_types, scalar_types, unary_types
from needle.selection import Selection, pick
from needle.shape import (
    Shape,
    as_shape,
    broadcast_shapes,
    check_broadcast,
    check_shape,
)

SCALARS = (bool, int, float, *LIVE)
_compact = Layout.compact


class NDArray(HostExchange, Reductions, Contractions, Convolutions, Normalizations, Selection):
    """An n-dimensional array on a device. Make one with `from_numpy`, `full`, ... or take a Tensor's `.array`."""

    __slots__ = ("__weakref__", "device")
    __hash__ = object.__hash__

    def __init__(self, buffer: Any, layout: Layout, dtype: DType, device: Device) -> None:
        self.buffer = buffer
        self.layout = layout
        self.dtype = dtype
        self.device = device

    def viewed(self, layout: Layout) -> "NDArray":
        """The same buffer through another layout."""
        return NDArray(self.buffer, layout, self.dtype, self.device)

    def permuted(self, order: Shape) -> "NDArray":
        """Axes in another order, unchecked."""
        return NDArray(self.buffer, permuted_layout(self.layout, order), self.dtype, self.device)

    # Elements in and out.

    def __getitem__(self, key: Any) -> "NDArray":
        parsed = parse_key(key, self.layout.shape)
        view = self.sliced(parsed.steps)
        return pick(view, parsed) if parsed.arrays else view

    def __setitem__(self, key: Any, value: Any) -> None:
        parsed = parse_key(key, self.layout.shape)
        view = self.sliced(parsed.steps)
        if parsed.arrays:
            view.assign_picked(parsed, value)
        else:
            view.assign(value)

    def assign(self, value: Any) -> None:
        """Overwrite the elements in place, with `value` broadcast and converted."""
        if self.layout.overlaps_itself():
            raise ShapeError(f"assign: {self.shape} with strides {self.strides} repeats elements; write to a copy")
        source = as_operand("assign", self, value)
        if source.device is not self.device:
            raise DeviceError(f"assign: operands are on {self.device} and {source.device}; move one with .to(device)")
        check_broadcast("assign", source.shape, self.shape)
        source = source.astype(self.dtype).broadcast_to(self.shape)
        if source.buffer is self.buffer:
            source = source.copy()
        dispatch.copy(self.device, self, source)

    def astype(self, dtype: Any) -> "NDArray":
        """Converted to another element type; itself where it has that type."""
        target = dtype if type(dtype) is DType else as_dtype(dtype)
        if target is self.dtype:
            return self
        if not self.layout.contiguous and (order := storage_order(self.layout)) is not None:
            return self.permuted(order[0]).astype(target).permuted(order[1])
        out = empty(self.layout.shape, target, self.device)
        dispatch.cast(self.device, out, self)
        return out

    def contiguous(self) -> "NDArray":
        """Itself if contiguous, else a copy that is."""
        return self if self.layout.contiguous else self.copy()

    def copy(self) -> "NDArray":
        """A new array with the same elements, row-major."""
        out = _empty(self.layout.shape, self.dtype, self.device)
        dispatch.copy(self.device, out, self)
        return out

    def __deepcopy__(self, memo: Any) -> "NDArray":
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return from_bits, (self.host_bits(), self.dtype, self.device)

    def __copy__(self) -> "NDArray":
        return self.viewed(self.layout)

    def to(self, device: Device | str | None = None, dtype: Any = None) -> "NDArray":
        """On another device, or of another type; itself where nothing changes."""
        target = self.device if device is None else as_device(device)
        if target is self.device:
            return self if dtype is None else self.astype(dtype)
        moved = self._sent(target) if target.backend == self.device.backend else None
        return (from_bits(self.host_bits(), self.dtype, target) if moved is None else moved).to(dtype=dtype)

    def _sent(self, target: Device) -> "NDArray | None":
        """On another device of the same kind, if its backend copies between them."""
        source, out, item = self.contiguous(), _empty(self.layout.shape, self.dtype, target), self.dtype.itemsize
        backend = dispatch.dispatcher(target).backend
        sent = backend.copy_from(out.buffer, 0, source.buffer, source.layout.offset * item, self.layout.size * item)
        return out if sent else None

    # Elementwise. A result has its operand's order of axes in memory, so that an image stored with channels last
    # stays so from layer to layer, and kernels see contiguous memory.

    def _unary(self, kind: Unary) -> "NDArray":
        if not self.layout.contiguous and (order := storage_order(self.layout)) is not None:
            return self.permuted(order[0])._unary(kind).permuted(order[1])
        compute, result = unary_types(kind, self.dtype)
        if not compute.is_float and kind in ROUNDING:
            return self
        x = self if compute is self.dtype else self.astype(compute)
        out = _empty(x.layout.shape, result, x.device)
        dispatch.unary(x.device, kind, out, x)
        return out

    def _binary(self, kind: Binary, other: Any) -> "NDArray":
        if type(other) is not NDArray:
            if type(other) in SCALARS:
                return self._scalar(kind, other, swapped=False)
            other = as_operand(kind.op, self, other)
        a, b = self, other
        device = a.device
        if b.device is not device:
            raise DeviceError(f"{kind.op}: operands are on {device} and {b.device}; move one with .to(device)")
        compute, result = binary_types(kind, a.dtype, b.dtype)
        if a.dtype is not compute:
            a = a.astype(compute)
        if b.dtype is not compute:
            b = b.astype(compute)
        shape = a.layout.shape
        if shape != b.layout.shape:
            shape = broadcast_shapes(kind.op, shape, b.layout.shape)
            a, b = _stretched(a, shape), _stretched(b, shape)
        if not a.layout.contiguous and (order := storage_order(a.layout)) is not None:
            b = b if b.layout.size == 1 else b.permuted(order[0])
            return a.permuted(order[0])._binary(kind, b).permuted(order[1])
        out = _empty(shape, result, device)
        dispatch.binary(device, kind, out, a, b)
        return out

    def _swapped(self, kind: Binary, other: Any) -> "NDArray":
        if type(other) in SCALARS:
            return self._scalar(kind, other, swapped=True)
        return as_operand(kind.op, self, other)._binary(kind, self)

    def _scalar(self, kind: Binary, scalar: float | int | bool, swapped: bool) -> "NDArray":
        if not self.layout.contiguous and (order := storage_order(self.layout)) is not None:
            return self.permuted(order[0])._scalar(kind, scalar, swapped).permuted(order[1])
        compute, result = scalar_types(kind, self.dtype, CATEGORY[type(scalar)])
        if compute is int64 is not self.dtype:  # a bool meets an int
            return self.astype(dispatch.index_dtype(self.device))._scalar(kind, scalar, swapped)
        if compute.category == "int":
            check_scalar(kind.op, scalar, compute)
        x = self if compute is self.dtype else self.astype(compute)
        out = _empty(x.layout.shape, result, x.device)
        dispatch.binary_scalar(x.device, kind, out, x, scalar, swapped)
        return out

    def where(self, a: Any, b: Any) -> "NDArray":
        """a where self is true, else b; both may be numbers."""
        model = next((v for v in (a, b) if isinstance(v, NDArray)), None)
        if model is None:
            floats = float in (type(a), type(b))
            model = full((), 0, "float32" if floats else dispatch.index_dtype(self.device), self.device)
        x, y = as_operand("where", model, a), as_operand("where", model, b)
        if not x.device is y.device is self.device:
            raise DeviceError(
                f"where: operands are on {self.device}, {x.device} and {y.device}; move them with .to(device)"
            )
        dtype = promote(x.dtype, y.dtype)
        shape = broadcast_shapes("where", self.shape, x.shape, y.shape)
        out = _empty(shape, dtype, self.device)
        condition = _stretched(self.astype("bool"), shape)
        dispatch.where(
            self.device, out, condition, _stretched(x.astype(dtype), shape), _stretched(y.astype(dtype), shape)
        )
        return out

    def like(self, value: Any) -> "NDArray":
        """A number or NumPy array as an array that can meet this one."""
        return as_operand("convert", self, value)

    def new(self, shape: Shape, dtype: DType) -> "NDArray":
        """An array on the same device, its elements not yet written."""
        return _empty(shape, dtype, self.device)

    def room(self, op: str, shape: Shape) -> "NDArray":
        """For a result of this shape, in memory in the order of x = self, if the device's kernel keeps that."""
        layout = self.layout
        if layout.contiguous or not dispatch.keeps_order(self.device, op) or (order := storage_order(layout)) is None:
            return _empty(shape, self.dtype, self.device)
        return _empty(tuple([shape[axis] for axis in order[0]]), self.dtype, self.device).permuted(order[1])

    def filled(self, shape: Shape, value: float | int | bool, dtype: Any) -> "NDArray":
        """An array of one value on the same device."""
        return full(shape, value, dtype, self.device)


# Making arrays.


def _empty(shape: Shape, dtype: DType, device: Device) -> NDArray:
    layout = _compact(shape)
    return NDArray(dispatch.allocate(device, layout.size * dtype.itemsize), layout, dtype, device)


def empty(shape: int | Shape, dtype: Any = "float32", device: Device | str | None = None) -> NDArray:
    """An array whose elements are whatever the memory held."""
    size, element, where = as_shape(shape, "empty"), as_dtype(dtype), as_device(device)
    dispatch.dispatcher(where).check_dtype(element, "empty")
    return _empty(size, element, where)


def full(
    shape: int | Shape, value: float | int | bool, dtype: Any = None, device: Device | str | None = None
) -> NDArray:
    """An array of one value; its type by default is that of the value: bool, int64 or float32."""
    where = as_device(device)
    value = value.item() if isinstance(value, np.generic) else value
    if is_live(value):
        return full(shape, 0, scalar_dtype(value, where) if dtype is None else dtype, where) + value
    element = scalar_dtype(value, where) if dtype is None else as_dtype(dtype)
    check_scalar("full", value, element)
    out = empty(shape, element, where)
    if out.size:
        one = from_numpy(np.asarray(value), out.device, element)
        if out.size == 1 and tracing.active is None:  # a capture must make it anew in each replay
            return one.reshape(out.shape)
        dispatch.copy(out.device, out, one.broadcast_to(out.shape))
    return out


def from_numpy(array: Any, device: Device | str | None = None, dtype: Any = None) -> NDArray:
    """A copy of a NumPy array (or nested lists) on a device; of its own type unless `dtype` says otherwise."""
    values = np.asarray(array)
    element = as_dtype(values.dtype if dtype is None else dtype)
    with np.errstate(all="ignore"):
        bits = bfloat16_from_float32(values) if element is bfloat16 else values.astype(numpy_dtype(element), copy=False)
    return from_bits(bits, element, as_device(device))


def from_bits(bits: Any, dtype: DType, device: Device) -> NDArray:
    """A copy of host memory that holds elements of `dtype` (bfloat16 as uint16)."""
    check_shape(bits.shape, "from_numpy")
    door = dispatch.dispatcher(device)
    door.check_dtype(dtype, "from_numpy")
    out = _empty(bits.shape, dtype, device)
    if out.size:
        door.backend.upload(out.buffer, 0, bytes_of(np.ascontiguousarray(bits)))
    if tracing.active is not None:
        tracing.active.uploaded(out)
    return out


def from_dlpack(array: Any, device: Device | str | None = None) -> NDArray:
    """A copy of another library's array, taken by DLPack."""
    return from_numpy(np.from_dlpack(array), device)


def arange(n: int, dtype: Any = None, device: Device | str | None = None) -> NDArray:
    """0, 1, ..., n - 1; as indices of that device unless `dtype` says otherwise."""
    where = as_device(device)
    return from_numpy(np.arange(n), where, dispatch.index_dtype(where) if dtype is None else dtype)


def scalar_dtype(value: float | int | bool, device: Device) -> DType:
    """The type that a Python number has on a device by itself."""
    category = CATEGORY.get(type(value))
    if category is None:
        raise DTypeError(f"full: takes a number, not {shown(value)}")
    return dispatch.index_dtype(device) if category == "int" else as_dtype("float32" if category == "float" else "bool")


def as_operand(op: str, model: NDArray, value: Any) -> NDArray:
    """A number or NumPy array as an operand that meets `model`: numbers take its type, or a wider category."""
    if isinstance(value, NDArray):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, SCALARS):
        category = CATEGORY[type(value)]
        keeps = model.dtype.is_float or category == "bool" or (category == "int" and model.dtype.category == "int")
        dtype = model.dtype if keeps else scalar_dtype(value, model.device)
        check_scalar(op, value, dtype)
        return full((), value, dtype, model.device)
    if isinstance(value, np.ndarray):
        return from_numpy(value, model.device)
    raise DTypeError(f"{op}: cannot take a {type(value).__name__}; give an array, a number, or a NumPy array")


def _stretched(x: NDArray, shape: Shape) -> NDArray:
    """Broadcast to `shape`; one element stays one, which every kernel takes."""
    return x if x.layout.shape == shape or x.layout.size == 1 else x.viewed(x.layout.broadcast_to(shape))

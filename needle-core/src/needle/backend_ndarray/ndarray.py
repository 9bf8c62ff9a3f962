"""NDArray: the course's array of float32 on a device, a face over Needle's. And the devices that make such arrays."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Self

import numpy as np

from needle import ndarray as ours
from needle import registry
from needle.backend_ndarray.device import NamedDevice
from needle.backend_ndarray.primitives import Memory, primitives
from needle.backend_ndarray.strided import Axes, Strided, from_host, require
from needle.backend_ndarray.strided import prod as prod
from needle.device import Device
from needle.dtype import float32
from needle.errors import ShapeError
from needle.kinds import Binary, Unary
from needle.layout import Layout
from needle.shape import Shape, only_defaults

Pairs = Sequence[tuple[int, int]]


class NDArray(Strided):
    """An array on a device. Comparisons give float32 0 and 1, reductions over everything give shape (1,)."""

    __array_ufunc__ = None  # NumPy's operators give way to ours
    __hash__ = object.__hash__

    def __init__(self, other: Any, device: Any = None) -> None:
        """A copy of an array, a NumPy array, or nested lists."""
        if isinstance(other, NDArray):
            self.array = other.array.copy() if device is None else other.array.to(device).copy()
        else:
            self.array = from_host(other, as_ours(device))

    @staticmethod
    def make(
        shape: Shape, strides: Shape | None = None, device: Any = None, handle: Memory | None = None, offset: int = 0
    ) -> "NDArray":
        """An array over the memory of a handle, or over new memory, its elements not yet written."""
        sizes = tuple(shape)
        layout = Layout.compact(sizes) if strides is None else Layout(sizes, tuple(strides))
        layout = Layout(sizes, layout.strides, offset)
        if handle is None:
            memory = ours.empty((prod(sizes),), float32, as_ours(device))
            handle = Memory(memory.buffer, memory.device)
        return NDArray.of(ours.NDArray(handle.buffer, layout, float32, handle.device))

    @property
    def device(self) -> "BackendDevice":
        return as_course(self.array.device)

    @property
    def _device(self) -> "BackendDevice":
        return as_course(self.array.device)

    def to(self, device: Any) -> Self:
        """On another device; itself if it is there."""
        return self if self.device == device else self.of(self.array.to(as_ours(device)))

    def astype(self, dtype: Any) -> Self:
        require(dtype == "float32", f"astype: the only dtype is float32, not {dtype}")
        return self.of(self.array.astype(float32))

    # Elementwise.

    def ewise_or_scalar(
        self, other: Any, ewise_func: Callable[..., None], scalar_func: Callable[..., None]
    ) -> "NDArray":
        """A function of a device module on this array and another of its shape, or a number."""
        out = NDArray.make(self.shape, device=self.device)
        if isinstance(other, NDArray):
            require(self.shape == other.shape, f"operation needs two equal shapes, not {self.shape} and {other.shape}")
            ewise_func(self.compact()._handle, other.compact()._handle, out._handle)
        else:
            scalar_func(self.compact()._handle, other, out._handle)
        return out

    def _unary(self, kind: Unary) -> Self:
        return self._finished(self.array._unary(kind))

    def _binary(self, kind: Binary, other: Any, swapped: bool = False) -> Self:
        if isinstance(other, np.ndarray) and other.size != 1:
            other = self.of(from_host(other, self.array.device))
        if not isinstance(other, Strided):
            return self._finished(self.array._scalar(kind, float(np.asarray(other).item()), swapped))
        require(self.shape == other.shape, f"{kind.op}: shapes {self.shape} and {other.shape} differ")
        a, b = (other, self) if swapped else (self, other)
        return self._finished(a.array._binary(kind, b.array))

    def _finished(self, result: ours.NDArray) -> Self:
        """A new array: compact, and of a float type."""
        return self.of((result if result.dtype.is_float else result.astype(float32)).contiguous())

    def __add__(self, other: Any) -> Self:
        return self._binary(Binary.ADD, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Self:
        return self._binary(Binary.SUB, other)

    def __rsub__(self, other: Any) -> Self:
        return self._binary(Binary.SUB, other, swapped=True)

    def __mul__(self, other: Any) -> Self:
        return self._binary(Binary.MUL, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Self:
        return self._binary(Binary.DIV, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._binary(Binary.DIV, other, swapped=True)

    def __pow__(self, other: Any) -> Self:
        return self._binary(Binary.POW, other)

    def __rpow__(self, other: Any) -> Self:
        return self._binary(Binary.POW, other, swapped=True)

    def __neg__(self) -> Self:
        return self._unary(Unary.NEG)

    def __eq__(self, other: Any) -> Self:  # type: ignore[override]  # elementwise
        return NotImplemented if other is None or isinstance(other, str) else self._binary(Binary.EQUAL, other)

    def __ne__(self, other: Any) -> Self:  # type: ignore[override]  # elementwise
        return NotImplemented if other is None or isinstance(other, str) else self._binary(Binary.NOT_EQUAL, other)

    def __ge__(self, other: Any) -> Self:
        return self._binary(Binary.GREATER_EQUAL, other)

    def __gt__(self, other: Any) -> Self:
        return self._binary(Binary.GREATER, other)

    def __le__(self, other: Any) -> Self:
        return self._binary(Binary.LESS_EQUAL, other)

    def __lt__(self, other: Any) -> Self:
        return self._binary(Binary.LESS, other)

    def maximum(self, other: Any) -> Self:
        return self._binary(Binary.MAXIMUM, other)

    def log(self) -> Self:
        return self._unary(Unary.LOG)

    def exp(self) -> Self:
        return self._unary(Unary.EXP)

    def tanh(self) -> Self:
        return self._unary(Unary.TANH)

    # Products and reductions.

    def __matmul__(self, other: "NDArray") -> Self:
        require(self.ndim == 2 and other.ndim == 2, f"matmul: takes two matrices, not {self.shape} and {other.shape}")
        require(self.shape[1] == other.shape[0], f"matmul: inner sizes differ: {self.shape} and {other.shape}")
        return self.of(self.array @ other.array)

    def reduce_view_out(self, axis: Axes, keepdims: bool = False) -> tuple["NDArray", "NDArray"]:
        """A view whose last axis is the one to reduce, and an array for the result."""
        if axis is None:
            return self.compact().reshape((1,) * (self.ndim - 1) + (self.size,)), NDArray.make((1,), device=self.device)
        at = self._one_axis(axis)
        view = self.permute((*(a for a in range(self.ndim) if a != at), at))
        shape = tuple(1 if a == at else n for a, n in enumerate(self.shape) if keepdims or a != at)
        return view, NDArray.make(shape, device=self.device)

    def sum(self, axis: Axes = None, keepdims: bool = False, **numpy: Any) -> Self:
        """Over one axis, or over everything."""
        only_defaults("sum", numpy)
        return self._reduced(self.array.sum, axis, keepdims)

    def max(self, axis: Axes = None, keepdims: bool = False, **numpy: Any) -> Self:
        """Over one axis, or over everything."""
        only_defaults("max", numpy)
        return self._reduced(self.array.max, axis, keepdims)

    def _reduced(self, reduce: Callable[..., ours.NDArray], axis: Axes, keepdims: bool) -> Self:
        if axis is None:
            return self.of(reduce(None).reshape((1,) * self.ndim if keepdims else (1,)))
        return self.of(reduce(self._one_axis(axis), keepdims))

    def _one_axis(self, axis: Axes) -> int:
        axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
        if not axes:
            raise ShapeError("Empty axis in reduce")
        require(len(axes) == 1, f"reduce: takes one axis, not {axes}")
        at = axes[0]
        require(isinstance(at, int) and -self.ndim <= at < self.ndim, f"reduce: axis {at} of {self.shape}")
        return int(at) % self.ndim  # type: ignore[arg-type]  # an int, as was required

    def pad(self, axes: Pairs) -> Self:
        """Zeros before and after each axis: ((before, after), ...)."""
        require(len(axes) == self.ndim, f"pad: {len(axes)} pairs for {self.ndim} dimensions")
        shape = tuple(n + before + after for n, (before, after) in zip(self.shape, axes, strict=True))
        steps = tuple((before, 1, n) for n, (before, _) in zip(self.shape, axes, strict=True))
        return self.of(self.array.embedded(steps, shape))


class BackendDevice(NamedDevice):
    """A device that makes arrays; it has the functions of its module too, such as `ewise_add`."""

    def zeros(self, *shape: int, dtype: Any = "float32") -> NDArray:
        return self.full(shape, 0.0, dtype)

    def ones(self, *shape: int, dtype: Any = "float32") -> NDArray:
        return self.full(shape, 1.0, dtype)

    def randn(self, *shape: int, dtype: Any = "float32") -> NDArray:
        """Normal draws from NumPy's global generator."""
        return NDArray(np.random.randn(*shape), self)

    def rand(self, *shape: int, dtype: Any = "float32") -> NDArray:
        """Uniform draws from NumPy's global generator."""
        return NDArray(np.random.rand(*shape), self)

    def one_hot(self, n: int, i: Any, dtype: Any = "float32") -> NDArray:
        return NDArray(np.eye(n, dtype=np.float32)[np.asarray(i).astype(np.int64)], self)

    def empty(self, shape: Shape, dtype: Any = "float32") -> NDArray:
        require(dtype in (None, "float32"), f"the only dtype is float32, not {dtype}")
        return NDArray.make(shape, device=self)

    def full(self, shape: Shape, fill_value: float, dtype: Any = "float32") -> NDArray:
        array = self.empty(shape, dtype)
        array.fill(fill_value)
        return array

    def __getattr__(self, name: str) -> Any:
        return getattr(primitives(self.name), name)


def as_ours(device: Any) -> Device:
    """Any way to name a device as Needle's; None is the default."""
    return registry.device(device)


@cache
def as_course(device: Device) -> BackendDevice:
    """Needle's device as the course's."""
    return BackendDevice(device.backend, device.index)


def cpu() -> BackendDevice:
    return BackendDevice("cpu")


def cpu_numpy() -> BackendDevice:
    return BackendDevice("numpy")


def cuda(index: int = 0) -> BackendDevice:
    return BackendDevice("cuda", index)


def msl() -> BackendDevice:
    return BackendDevice("msl")


def mps() -> BackendDevice:
    return BackendDevice("mps")


def default_device() -> BackendDevice:
    return as_course(registry.default_device())


def all_devices() -> list[BackendDevice]:
    """Those that the course names, enabled or not."""
    return [cpu(), cuda(), msl(), mps(), cpu_numpy()]


def array(a: Any, dtype: Any = "float32", device: Any = None) -> NDArray:
    """A copy on a device."""
    require(dtype in (None, "float32"), f"the only dtype is float32, not {dtype}")
    return NDArray(a, device=device)


def empty(shape: Shape, dtype: Any = "float32", device: Any = None) -> NDArray:
    require(dtype in (None, "float32"), f"the only dtype is float32, not {dtype}")
    return NDArray.make(shape, device=device)


def full(shape: Shape, fill_value: float, dtype: Any = "float32", device: Any = None) -> NDArray:
    result = empty(shape, dtype, device)
    result.fill(fill_value)
    return result


def broadcast_to(array: NDArray, new_shape: Shape) -> NDArray:
    return array.broadcast_to(new_shape)


def reshape(array: NDArray, new_shape: Shape) -> NDArray:
    return array.reshape(new_shape)


def swapaxes(array: NDArray, i: int, j: int) -> NDArray:
    return array.swapaxes(i, j)


def maximum(a: NDArray, b: Any) -> NDArray:
    return a.maximum(b)


def log(a: NDArray) -> NDArray:
    return a.log()


def exp(a: NDArray) -> NDArray:
    return a.exp()


def tanh(a: NDArray) -> NDArray:
    return a.tanh()


def sum(a: NDArray, axis: Axes = None, keepdims: bool = False) -> NDArray:
    return a.sum(axis, keepdims)


def max(a: NDArray, axis: Axes = None, keepdims: bool = False) -> NDArray:
    return a.max(axis, keepdims)


def flip(a: NDArray, axes: Axes = None, *, axis: Axes = None) -> NDArray:
    return a.flip(axes, axis=axis)

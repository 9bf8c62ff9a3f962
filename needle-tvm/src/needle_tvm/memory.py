"""Memory of Needle's as TVM takes it: NumPy arrays over a backend's host memory, and tensors over those."""

from typing import Any, TypeAlias

import numpy as np
import tvm

from needle import dispatch
from needle.device import Device
from needle.dtype import DType, numpy_dtype
from needle.errors import DeviceError

ALIGNMENT = 64  # bytes; generated code loads whole vectors, and TVM refuses memory that begins elsewhere

Array: TypeAlias = np.ndarray[Any, Any]


def check_host(device: Device) -> None:
    backend = dispatch.dispatcher(device).backend
    if backend.host_view(backend.allocate(4)) is None:
        raise DeviceError(
            f"compile: tvm runs on the processor, and {device} has no memory on the host; use needle.cpu()"
        )


def host_array(device: Device, buffer: Any, shape: tuple[int, ...], dtype: DType) -> Array:
    """The memory itself, seen as an array."""
    raw = dispatch.dispatcher(device).backend.host_view(buffer)
    assert raw is not None, "check_host was asked"
    count = int(np.prod(shape))
    flat = np.frombuffer(raw, numpy_dtype(dtype), count) if count else np.empty(0, numpy_dtype(dtype))
    return flat.reshape(shape)


def shared(array: Array) -> Any:
    """A tensor of TVM's on the same memory, or None where it is not aligned as TVM wants it."""
    aligned = array.ctypes.data % ALIGNMENT == 0 and array.size
    return tvm.runtime.from_dlpack(array) if aligned else None


def given(array: Array) -> Any:
    """A tensor with these elements: the same memory, or a copy where it is not aligned."""
    tensor = shared(array)
    return tvm.runtime.tensor(array) if tensor is None else tensor


def one(number: float) -> Array:
    return np.array([number], "float32")


def empty(array: Array) -> Any:
    """A tensor of the same shape and type in memory of TVM's own."""
    return tvm.runtime.empty(array.shape, str(array.dtype))

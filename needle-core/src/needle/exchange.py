"""How arrays leave the device: NumPy, Python numbers, DLPack, the buffer protocol."""

from typing import Any

import numpy as np

from needle import tracing
from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import bfloat16, float32_from_bfloat16, numpy_dtype
from needle.errors import DeviceError, DTypeError, ShapeError
from needle.views import Views


class HostExchange(Views):
    """The methods of NDArray that hand its elements to the host."""

    __slots__ = ()
    device: Device

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="NDArray(", threshold=100, precision=4)
        return f"NDArray({values}, dtype={self.dtype}, device={self.device})"

    def numpy(self) -> Any:
        """A NumPy array with a copy of the elements (bfloat16 as float32). Waits for the device."""
        bits = self.host_bits()
        return float32_from_bfloat16(bits) if self.dtype is bfloat16 else bits

    def host_bits(self) -> Any:
        """A fresh NumPy array of the same bytes, bfloat16 as uint16."""
        if tracing.active is not None:
            tracing.active.reading(self, "the data of a tensor, asked for")
        source = self.contiguous()
        result = np.empty(self.layout.shape, numpy_dtype(self.dtype))
        if result.size:
            door = dispatcher(self.device)
            door.backend.download(source.buffer, source.layout.offset * self.dtype.itemsize, bytes_of(result))
        return result

    def item(self) -> Any:
        """The one element, as a Python number. Waits for the device."""
        if self.layout.size != 1:
            raise ShapeError(f"item: takes an array of one element: shape is {self.shape}")
        return self.numpy().reshape(()).item()

    def tolist(self) -> Any:
        return self.numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.layout.size != 1:
            raise ShapeError(f"bool: the truth of {self.size} elements is ambiguous; use .any() or .all()")
        return bool(self.item())

    def __index__(self) -> int:
        if self.dtype.category != "int":
            raise DTypeError(f"index: an index is an int, not {self.dtype}")
        return int(self.item())

    def host_array(self) -> Any:
        """A NumPy array that shares the memory, or None where the memory is not on the host."""
        if tracing.active is not None:
            tracing.active.reading(self, "the memory of a tensor, asked for")
        bytes_ = dispatcher(self.device).backend.host_view(self.buffer)
        if bytes_ is None or self.dtype is bfloat16:
            return None
        size = self.dtype.itemsize
        strides = tuple(s * size for s in self.layout.strides)
        offset = self.layout.offset * size if self.layout.size else 0
        return np.ndarray(self.layout.shape, numpy_dtype(self.dtype), bytes_, offset, strides)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        shared = None if copy else self.host_array()
        if shared is None and copy is False:
            raise ValueError(f"a NumPy array cannot share the memory of {self.device}")
        return np.asarray(self.numpy() if shared is None else shared, dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """Export by DLPack, sharing memory; for host memory."""
        return self._exported().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, index = self._exported().__dlpack_device__()
        return int(kind), int(index)

    def __buffer__(self, flags: int) -> memoryview:
        """The buffer protocol (Python 3.12), for host memory."""
        return memoryview(self._exported())

    def _exported(self) -> Any:
        shared = self.host_array()
        if shared is None:
            raise DeviceError(f"dlpack: {self.dtype} on {self.device} is not host memory; use .to('numpy') or .numpy()")
        return shared


def bytes_of(array: Any) -> memoryview:
    """The bytes of a contiguous NumPy array, without a copy."""
    return memoryview(array.reshape(-1).view(np.uint8))

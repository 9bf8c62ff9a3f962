"""What lies in the course's Tensors, as NEEDLE_BACKEND says: `array_api`, its devices, and the ways to and from ours.

In np mode arrays are NumPy's, in nd mode those of `needle.backend_ndarray`. Ours share memory with either.
"""

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from needle import backend_ndarray, backend_numpy, course, ndarray
from needle.backend_ndarray.device import NamedDevice
from needle.backend_ndarray.ndarray import NDArray as _Face
from needle.backend_ndarray.ndarray import as_course
from needle.backend_numpy import CPUDevice
from needle.course import BACKEND as BACKEND
from needle.device import Device as _Device
from needle.dtype import DType, as_dtype
from needle.errors import DTypeError
from needle.layout import Layout
from needle.reference import HostBuffer
from needle.registry import BUILT_IN

_devices: Any = backend_numpy if course.NUMPY else backend_ndarray

array_api: ModuleType = np if course.NUMPY else backend_ndarray
NDArray: Any = np.ndarray if course.NUMPY else _Face
Device: Any = CPUDevice if course.NUMPY else backend_ndarray.BackendDevice

cpu, cuda, msl, mps, cpu_numpy = _devices.cpu, _devices.cuda, _devices.msl, _devices.mps, _devices.cpu_numpy
default_device, all_devices = _devices.default_device, _devices.all_devices

_HOST = _Device(BUILT_IN)


def ours(data: Any) -> ndarray.NDArray:
    """What lies in a Tensor as one of our arrays: the same memory, except for strided arrays of NumPy's."""
    if isinstance(data, _Face):
        return data.array
    values = np.asarray(data)
    dtype = as_dtype(values.dtype)
    memory = HostBuffer.around(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
    return ndarray.NDArray(memory, Layout.compact(values.shape), dtype, _HOST)


def data_of(array: ndarray.NDArray) -> Any:
    """One of our arrays as what lies in a Tensor: the same memory, if it is on the host in np mode."""
    if not course.NUMPY:
        return _Face.of(array)
    shared = array.host_array()
    return array.numpy() if shared is None else shared


def new_data(value: Any, device: Any = None, dtype: Any = None) -> Any:
    """A number, list or array as what lies in a Tensor: ours are shared, others copied."""
    if isinstance(value, ndarray.NDArray):
        moved = value.to(device, dtype) if device is not None or dtype is not None else value
        return data_of(moved)
    if course.NUMPY:
        return backend_numpy.array(value, device, dtype)
    if dtype is None or dtype == "float32":
        return _Face(value, device=default_device() if device is None else device)
    return _Face.of(ndarray.from_numpy(np.asarray(value), device, dtype))


def converted(data: Any, device: Any, dtype: Any) -> Any:
    """A Tensor's data on a device and of a type; itself where nothing changes."""
    if (device is None or device == device_of(data)) and (dtype is None or dtype == dtype_of(data)):
        return data
    if course.NUMPY:
        return backend_numpy.array(data, device, dtype)
    return _Face.of(data.array.to(device, dtype))


def device_of(data: Any) -> NamedDevice:
    return as_course(data.array.device) if isinstance(data, _Face) else backend_numpy.cpu()


def dtype_of(data: Any) -> Any:
    """The type of the elements: one of ours, or NumPy's own where we have none of that name."""
    return data.array.dtype if isinstance(data, _Face) else _named(data.dtype)


@lru_cache(maxsize=64)
def _named(dtype: np.dtype[Any]) -> DType | np.dtype[Any]:
    try:
        return as_dtype(dtype)
    except DTypeError:
        return dtype

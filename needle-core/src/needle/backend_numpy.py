"""The course's devices in np mode, where arrays are NumPy's: the CPU, and the names of those that are not there."""

from typing import Any

import numpy as np

from needle.backend_ndarray.device import NamedDevice
from needle.errors import DeviceError
from needle.host_arrays import check_numbers
from needle.registry import BUILT_IN
from needle.shape import Shape


class CPUDevice(NamedDevice):
    """Data in NumPy arrays."""

    def zeros(self, *shape: int, dtype: Any = "float32") -> Any:
        return np.zeros(shape, dtype)

    def ones(self, *shape: int, dtype: Any = "float32") -> Any:
        return np.ones(shape, dtype)

    def randn(self, *shape: int, dtype: Any = None) -> Any:
        return np.asarray(np.random.randn(*shape), dtype)

    def rand(self, *shape: int, dtype: Any = None) -> Any:
        return np.asarray(np.random.rand(*shape), dtype)

    def one_hot(self, n: int, i: Any, dtype: Any = "float32") -> Any:
        return np.eye(n, dtype=dtype)[np.asarray(i).astype(np.int64)]

    def empty(self, shape: Shape, dtype: Any = "float32") -> Any:
        return np.empty(shape, dtype)

    def full(self, shape: Shape, fill_value: float, dtype: Any = "float32") -> Any:
        return np.full(shape, fill_value, dtype)


class AbsentDevice(NamedDevice):
    """A device that np mode does not have."""

    def enabled(self) -> bool:
        return False

    def refuse(self, *_: Any, **__: Any) -> Any:
        """Raise, as every method would that makes an array."""
        raise DeviceError(f"no device {self!r} with NEEDLE_BACKEND=np, whose arrays are NumPy's; use nd")

    zeros = ones = randn = rand = one_hot = empty = full = refuse


def array(value: Any, device: Any = None, dtype: Any = None) -> Any:
    """A copy as a NumPy array of numbers."""
    if isinstance(device, AbsentDevice):
        device.refuse()
    values = np.array(value, dtype=str(dtype) if isinstance(dtype, str) else dtype)
    check_numbers(values)
    return values


def cpu() -> CPUDevice:
    return CPUDevice(BUILT_IN, 0, "cpu")


cpu_numpy = default_device = cpu


def cuda(index: int = 0) -> AbsentDevice:
    return AbsentDevice("cuda", index)


def msl() -> AbsentDevice:
    return AbsentDevice("msl")


def mps() -> AbsentDevice:
    return AbsentDevice("mps")


def all_devices() -> list[CPUDevice]:
    return [cpu()]

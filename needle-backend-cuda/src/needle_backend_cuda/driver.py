"""Which GPUs there are, asked of NVIDIA's driver by its C API: no driver, no GPU and too old a driver are reasons."""

import ctypes
import sys

from needle.backend import Probe

_CUDA_13 = 13000
_LIBRARY = "libcuda.so.1"


def probe() -> Probe:
    """The GPUs, or why there is none."""
    if not sys.platform.startswith("linux"):
        return Probe(reason="CUDA devices are supported on Linux")
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError:
        return Probe(reason=f"no NVIDIA driver: {_LIBRARY} is not on this system")
    status = cuda.cuInit(0)
    if status != 0:
        return Probe(reason=f"the NVIDIA driver cannot be used: {_error(cuda, status)}")
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    if version.value < _CUDA_13:
        found = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return Probe(reason=f"the NVIDIA driver is for CUDA {found}; CUDA 13.0 needs driver 580 or later")
    cuda.cuDeviceGetCount(ctypes.byref(count))
    if count.value == 0:
        return Probe(reason="the NVIDIA driver has no GPU")
    return Probe(tuple(_name(cuda, i) for i in range(count.value)))


def _name(cuda: ctypes.CDLL, index: int) -> str:
    name, device = ctypes.create_string_buffer(128), ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    return name.value.decode()


def _error(cuda: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(status, ctypes.byref(text))
    return text.value.decode() if text.value else f"error {status}"

"""What Needle asks of an installed backend, without loading native code until a device is used."""

import os

from needle.backend import Backend, BackendInfo, ConformanceProfile, Probe, hookimpl
from needle.errors import DeviceError


@hookimpl
def needle_backend_info() -> BackendInfo:
    return BackendInfo("cpu", priority=10, summary="vectorized and threaded kernels in C++")


@hookimpl
def needle_probe() -> Probe:
    return Probe((f"{os.cpu_count() or 1} logical CPUs",))


@hookimpl
def needle_create_backend(index: int) -> Backend:
    if index != 0:
        raise DeviceError(f"cpu: no device {index}; there is cpu(0), which uses all cores")
    from needle_backend_cpu.backend import CpuBackend  # noqa: PLC0415  (loads the extension)

    return CpuBackend()


@hookimpl
def needle_conformance_profile() -> ConformanceProfile:
    return ConformanceProfile(rtol={}, xfails={})

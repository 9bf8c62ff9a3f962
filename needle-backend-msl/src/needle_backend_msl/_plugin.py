"""What Needle asks of an installed backend, without loading native code until a device is used."""

import sys
from importlib.util import find_spec

from needle.backend import Backend, BackendInfo, ConformanceProfile, Probe, hookimpl
from needle.errors import DeviceError


@hookimpl
def needle_backend_info() -> BackendInfo:
    return BackendInfo("msl", priority=-20, summary="Apple GPUs, kernels in the Metal Shading Language")


@hookimpl
def needle_probe() -> Probe:
    if find_spec("needle_backend_msl._ext") is None:
        return Probe(reason=f"Metal is on macOS only, and this is {sys.platform}")
    from needle_backend_msl import _ext  # noqa: PLC0415  (loads the extension)

    devices = tuple(_ext.probe())
    return Probe(devices, reason="" if devices else "macOS reports no Metal device")


@hookimpl
def needle_create_backend(index: int) -> Backend:
    if index != 0:
        raise DeviceError(f"msl: no device {index}; there is msl(0), the system's default GPU")
    from needle_backend_msl.backend import MslBackend  # noqa: PLC0415  (loads the extension)

    return MslBackend()


@hookimpl
def needle_conformance_profile() -> ConformanceProfile:
    return ConformanceProfile(rtol={}, xfails={})

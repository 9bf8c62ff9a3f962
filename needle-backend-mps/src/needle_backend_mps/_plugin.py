"""What Needle asks of an installed backend, without loading native code until a device is used."""

import sys
from importlib.util import find_spec

from needle.backend import Backend, BackendInfo, ConformanceProfile, Probe, hookimpl
from needle.errors import DeviceError


@hookimpl
def needle_backend_info() -> BackendInfo:
    return BackendInfo("mps", priority=-10, summary="Apple GPUs, by Metal Performance Shaders and the kernels of msl")


@hookimpl
def needle_probe() -> Probe:
    if find_spec("needle_backend_mps._ext") is None:
        return Probe(reason=f"Metal is on macOS only, and this is {sys.platform}")
    from needle_backend_mps import _ext  # noqa: PLC0415  (loads the extensions)
    from needle_backend_msl import _ext as msl  # noqa: PLC0415

    devices = tuple(msl.probe())
    if not devices:
        return Probe(reason="macOS reports no Metal device")
    if not _ext.supported():
        return Probe(reason=f"Metal Performance Shaders do not support {devices[0]}; the device msl does without them")
    return Probe(devices)


@hookimpl
def needle_create_backend(index: int) -> Backend:
    if index != 0:
        raise DeviceError(f"mps: no device {index}; there is mps(0), the system's default GPU")
    from needle_backend_mps.backend import MpsBackend  # noqa: PLC0415  (loads the extension)

    return MpsBackend()


@hookimpl
def needle_conformance_profile() -> ConformanceProfile:
    return ConformanceProfile(rtol={}, xfails={})

"""What Needle asks of an installed backend; pyopencl is imported when it asks for devices, and not before."""

from needle.backend import Backend, BackendInfo, ConformanceProfile, Probe, hookimpl


@hookimpl
def needle_backend_info() -> BackendInfo:
    return BackendInfo("opencl", priority=-30, summary="any OpenCL 1.2 device, through pyopencl")


@hookimpl
def needle_probe() -> Probe:
    try:
        from needle_backend_opencl.hardware import described, devices  # noqa: PLC0415  (loads pyopencl)
    except ImportError as error:
        return Probe(reason=f"pyopencl cannot be imported, {error}")
    found = tuple(described(device) for device in devices())
    return Probe(found, "" if found else "no OpenCL platform has a device; pip install 'needle-backend-opencl[pocl]'")


@hookimpl
def needle_create_backend(index: int) -> Backend:
    from needle_backend_opencl.backend import OpenclBackend  # noqa: PLC0415
    from needle_backend_opencl.hardware import devices  # noqa: PLC0415

    return OpenclBackend(devices()[index])


@hookimpl
def needle_conformance_profile() -> ConformanceProfile:
    return ConformanceProfile(rtol={}, xfails={})

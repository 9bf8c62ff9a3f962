"""What Needle asks of an installed backend, without loading native code until a device is used."""

from needle.backend import Backend, BackendInfo, ConformanceProfile, Probe, hookimpl
from needle_backend_cuda import driver


@hookimpl
def needle_backend_info() -> BackendInfo:
    return BackendInfo("cuda", priority=-10, summary="NVIDIA GPUs, kernels in CUDA C++, cuBLASLt and cuDNN")


@hookimpl
def needle_probe() -> Probe:
    return driver.probe()


@hookimpl
def needle_create_backend(index: int) -> Backend:
    from needle_backend_cuda.backend import CudaBackend  # noqa: PLC0415  (loads the extension)

    return CudaBackend(index)


@hookimpl
def needle_conformance_profile() -> ConformanceProfile:
    return ConformanceProfile(rtol={}, xfails={})

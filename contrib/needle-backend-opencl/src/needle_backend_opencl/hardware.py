"""The OpenCL devices of this machine, and what they say of themselves."""

import pyopencl as cl


def devices() -> list[cl.Device]:
    """All devices of all platforms that compile kernels; GPUs first, then accelerators, then CPUs."""
    try:
        platforms = cl.get_platforms()
    except cl.Error:  # the loader found no platform, which it calls an error
        return []
    found = [device for platform in platforms for device in platform.get_devices() if device.compiler_available]
    order = (cl.device_type.GPU, cl.device_type.ACCELERATOR)
    return sorted(found, key=lambda device: [not device.type & kind for kind in order])


def described(device: cl.Device) -> str:
    """One line: the name of the device and of its platform."""
    return " ".join(f"{device.name} ({device.platform.name})".split())


def has_double(device: cl.Device) -> bool:
    return bool(device.double_fp_config)


def versions(device: cl.Device) -> dict[str, str]:
    """For `needle doctor`."""
    return {
        "pyopencl": cl.VERSION_TEXT,
        "platform": device.platform.version,
        "device": device.version,
        "driver": device.driver_version,
    }

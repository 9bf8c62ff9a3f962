"""What needs no GPU: the plug-in says why there is no device, and loading the extension touches no driver."""

import ctypes
import subprocess
import sys
from typing import Any

import pytest

from needle_backend_cuda import _plugin, driver


class Driver:
    """A libcuda.so.1 that answers as told."""

    def __init__(self, status: int = 0, version: int = 13000, count: int = 1) -> None:
        self.status, self.version, self.count = status, version, count

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = self.version

    def cuDeviceGetCount(self, count: Any) -> None:
        count._obj.value = self.count

    def cuDeviceGet(self, device: Any, index: int) -> None:
        device._obj.value = index

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:
        name.value = f"card {device.value}".encode()

    def cuGetErrorString(self, status: int, text: Any) -> None:
        text._obj.value = b"no CUDA-capable device is detected"


REASONS = [
    (Driver(status=100), "the NVIDIA driver cannot be used: no CUDA-capable device is detected"),
    (Driver(version=12080), "the NVIDIA driver is for CUDA 12.8; CUDA 13.0 needs driver 580 or later"),
    (Driver(count=0), "the NVIDIA driver has no GPU"),
]


@pytest.mark.parametrize(("answers", "reason"), REASONS, ids=["init fails", "too old", "no GPU"])
def test_reasons(answers: Driver, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.sys, "platform", "linux")
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: answers)
    probe = driver.probe()
    assert (probe.devices, probe.reason) == ((), reason)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(driver.sys, "platform", "linux")
    monkeypatch.setattr(driver.ctypes, "CDLL", missing)
    assert driver.probe().reason == "no NVIDIA driver: libcuda.so.1 is not on this system"


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.sys, "platform", "linux")
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: Driver(count=2))
    assert _plugin.needle_probe().devices == ("card 0", "card 1")


def test_info_loads_no_native_code() -> None:
    code = (
        "import sys; from needle_backend_cuda import _plugin; _plugin.needle_backend_info(); "
        "sys.exit('needle_backend_cuda._ext' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_extension_is_harmless() -> None:
    code = "from needle_backend_cuda import backend; print(backend.CudaBackend.__name__)"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.stdout.strip() == "CudaBackend", result.stderr

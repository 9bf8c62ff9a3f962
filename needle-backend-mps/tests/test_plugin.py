"""What holds on every system: the plug-in without its extension."""

import subprocess
import sys
from pathlib import Path

import pytest

from needle.backend import Probe
from needle_backend_mps import _plugin

ROOT = Path(__file__).resolve().parent.parent


def test_without_metal_the_device_is_not_there(monkeypatch):
    monkeypatch.setattr(_plugin, "find_spec", lambda name: None)
    probe = _plugin.needle_probe()
    assert probe.devices == ()
    assert probe.reason == f"Metal is on macOS only, and this is {sys.platform}"


def test_a_gpu_that_mps_does_not_support_is_not_there(simulator, monkeypatch):
    monkeypatch.setenv("METALSIM_NO_MPS", "1")
    reason = "Metal Performance Shaders do not support Needle Metal simulator; the device msl does without them"
    assert _plugin.needle_probe() == Probe(reason=reason)
    monkeypatch.setenv("METALSIM_NO_DEVICE", "1")
    assert _plugin.needle_probe() == Probe(reason="macOS reports no Metal device")


def test_there_is_one_device():
    with pytest.raises(ValueError, match=r"^mps: no device 1; there is mps\(0\), the system's default GPU$"):
        _plugin.needle_create_backend(1)


def test_it_is_never_the_default():
    assert _plugin.needle_backend_info().priority < 0


OLD_BRIDGE = """
import ctypes, sys, types
capsule = ctypes.pythonapi.PyCapsule_New
capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
version, name = ctypes.c_uint32(99), ctypes.c_char_p(b"needle_backend_msl._ext.bridge")
sys.modules["needle_backend_msl._ext"] = msl = types.ModuleType("needle_backend_msl._ext")
msl.bridge = capsule(ctypes.addressof(version), name, None)
try:
    import needle_backend_mps._ext
except ImportError as error:
    print(error)
"""


def test_another_version_of_the_bridge_is_refused(device):
    done = subprocess.run([sys.executable, "-c", OLD_BRIDGE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "needle-backend-mps was built for version 1 of needle-backend-msl's bridge, the one installed has 99: "
        "install both anew"
    ]


def test_every_source_is_built():
    text = (ROOT / "CMakeLists.txt").read_text()
    sources = [path for path in (ROOT / "native").iterdir() if path.suffix in {".mm", ".cpp"}]
    assert sources
    assert all(f"native/{path.name}" in text for path in sources)

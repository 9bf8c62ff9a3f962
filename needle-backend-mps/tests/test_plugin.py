"""What holds on every system: the plug-in without its extension."""

import sys
from pathlib import Path

import pytest

from needle_backend_mps import _plugin

ROOT = Path(__file__).resolve().parent.parent


def test_without_metal_the_device_is_not_there(monkeypatch):
    monkeypatch.setattr(_plugin, "find_spec", lambda name: None)
    probe = _plugin.needle_probe()
    assert probe.devices == ()
    assert probe.reason == f"Metal is on macOS only, and this is {sys.platform}"


def test_there_is_one_device():
    with pytest.raises(ValueError, match=r"^mps: no device 1; there is mps\(0\), the system's default GPU$"):
        _plugin.needle_create_backend(1)


def test_it_is_never_the_default():
    assert _plugin.needle_backend_info().priority < 0


def test_every_source_is_built():
    text = (ROOT / "CMakeLists.txt").read_text()
    sources = [path for path in (ROOT / "native").iterdir() if path.suffix in {".mm", ".cpp"}]
    assert sources
    assert all(f"native/{path.name}" in text for path in sources)

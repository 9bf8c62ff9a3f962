"""What holds on every system: the plug-in without its extension, and how sources are embedded."""

import subprocess
import sys
from pathlib import Path

import pytest

from needle_backend_msl import _plugin

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT.parent / "needle-core" / "src" / "needle" / "include"


def test_without_metal_the_device_is_not_there(monkeypatch):
    monkeypatch.setattr(_plugin, "find_spec", lambda name: None)
    probe = _plugin.needle_probe()
    assert probe.devices == ()
    assert probe.reason == f"Metal is on macOS only, and this is {sys.platform}"


def test_there_is_one_device():
    with pytest.raises(ValueError, match=r"^msl: no device 1; there is msl\(0\), the system's default GPU$"):
        _plugin.needle_create_backend(1)


def test_every_kernel_source_stands_alone(tmp_path):
    sources = sorted((ROOT / "kernels").glob("*.metal"))
    out = tmp_path / "sources.h"
    command = [sys.executable, str(ROOT / "cmake" / "embed.py"), str(out), str(HEADERS), "--", *map(str, sources)]
    subprocess.run(command, check=True)
    text = out.read_text()
    for source in sources:
        assert f'{{"{source.stem}",' in text
    assert '#include "' not in text
    assert "#include <needle/" not in text
    assert '#line 1 "functors.h"' in text

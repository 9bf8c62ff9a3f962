"""Registers the devices of these tests, as an installed distribution would, by entry points."""

import importlib
import sys
from pathlib import Path

from mutants import MUTANTS
from paranoid import ParanoidBackend
from right import RIGHT

from needle.backend import Backend, BackendInfo, ConformanceProfile, Probe, hookimpl

BACKENDS: dict[str, type[Backend]] = {**MUTANTS, **RIGHT, "paranoid": ParanoidBackend}


class Plugin:
    """What an entry point names: an object with the hooks."""

    def __init__(self, name: str, backend: type[Backend]) -> None:
        self.name, self.backend = name, backend

    @hookimpl
    def needle_backend_info(self) -> BackendInfo:
        return BackendInfo(self.name, priority=-1)

    @hookimpl
    def needle_probe(self) -> Probe:
        return Probe(("made for a test",))

    @hookimpl
    def needle_create_backend(self, index: int) -> Backend:
        return self.backend()

    @hookimpl
    def needle_conformance_profile(self) -> ConformanceProfile:
        return getattr(self.backend, "profile", ConformanceProfile({}, {}))


globals().update({name: Plugin(name, backend) for name, backend in BACKENDS.items()})


def install(folder: Path) -> None:
    """Write the metadata of a distribution into a folder, and put that on the path."""
    info = folder / "needle_backends_for_tests-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: needle-backends-for-tests\nVersion: 0.1\n")
    entries = "\n".join(f"{name} = installed:{name}" for name in BACKENDS)
    (info / "entry_points.txt").write_text(f"[needle.backends]\n{entries}\n")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()

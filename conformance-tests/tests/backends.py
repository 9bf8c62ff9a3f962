"""Backends to try the suite on: each a source text, installed as a distribution would be."""

from pathlib import Path

_HOOKS = """

from needle.backend import BackendInfo, ConformanceProfile, Probe, hookimpl

@hookimpl
def needle_backend_info():
    return BackendInfo("made", priority=-1)

@hookimpl
def needle_probe():
    return Probe(("made for a test",))

@hookimpl
def needle_create_backend(index):
    return Made()

@hookimpl
def needle_conformance_profile():
    return ConformanceProfile({rtol!r}, {xfails!r})
"""

# The four functions that make a device, over memory that only they can reach.
MEMORY = """
import numpy as np
from needle.backend import Backend
from needle.dtype import DTYPES
from needle.errors import OutOfMemoryError
from needle.reference import NumpyBackend

class Memory:
    def __init__(self, nbytes):
        self.raw = np.empty(nbytes, np.uint8)

    @property
    def nbytes(self):
        return self.raw.size

class Made(Backend):
    dtypes = frozenset(d for d in DTYPES if d in {dtypes!r})

    def allocate(self, nbytes):
        try:
            return Memory(nbytes)
        except MemoryError:
            raise OutOfMemoryError(nbytes) from None

    def upload(self, dst, offset, host):
        dst.raw[offset : offset + host.nbytes] = np.frombuffer(host, np.uint8)

    def download(self, src, offset, host):
        np.frombuffer(host, np.uint8)[:] = src.raw[offset : offset + host.nbytes]

    def synchronize(self):
        pass
"""

# The six kernels, which take contiguous operands.
KERNELS = """
    copy, cast, unary = NumpyBackend.copy, NumpyBackend.cast, NumpyBackend.unary
    binary, where, reduce = NumpyBackend.binary, NumpyBackend.where, NumpyBackend.reduce
"""

# All of the reference in some dtypes; a test adds a method that is wrong.
REFERENCE = """
import numpy as np
from needle.backend import View
from needle.dtype import DTYPES
from needle.kinds import Binary, Random, Reduce, Unary
from needle.layout import Layout
from needle.reference import HostBuffer, NumpyBackend, elements, read, write

class Made(NumpyBackend):
    dtypes = frozenset(d for d in DTYPES if d in ("bool", "int32", "float16", "bfloat16", "float32"))
"""


def memory(dtypes: str) -> str:
    """A device of four functions, with these dtypes."""
    return MEMORY.replace("{dtypes!r}", repr(set(dtypes.split())))


def required(dtypes: str) -> str:
    """A device of the ten required functions."""
    return memory(dtypes) + KERNELS


def install(folder: Path, name: str, source: str, rtol: object = None, xfails: object = None) -> None:
    """Write a distribution of one backend, as pip would leave it in a folder on the path."""
    module = f"made_{name}"
    hooks = _HOOKS.replace("{rtol!r}", repr(rtol or {})).replace("{xfails!r}", repr(xfails or {}))
    (folder / f"{module}.py").write_text(source + hooks.replace('"made"', repr(name)))
    info = folder / f"needle_backend_{name}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: needle-backend-{name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[needle.backends]\n{name} = {module}\n")

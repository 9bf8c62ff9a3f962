"""Builds the executor once, and runs kernels by its C interface."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
EXECUTOR = ("executor", "fibers", "checks", "library", "record")


class Buffer(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t), ("offset", ctypes.c_size_t))


class Dim(ctypes.Structure):
    _fields_ = (("x", ctypes.c_uint32), ("y", ctypes.c_uint32), ("z", ctypes.c_uint32))


def dim(size):
    size = (size,) if isinstance(size, int) else tuple(size)
    return Dim(*(*size, 1, 1)[:3])


class Executor:
    """The executor's library, loaded."""

    def __init__(self, path):
        self.path = str(path)
        self.c = c = ctypes.CDLL(self.path, mode=ctypes.RTLD_GLOBAL)
        c.msl_open.restype = c.msl_function.restype = ctypes.c_void_p
        c.msl_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
        c.msl_function.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        c.msl_set_constant.argtypes = [
            ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t,
        ]  # fmt: skip
        c.msl_dispatch.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, Dim, Dim, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t,
        ]  # fmt: skip

    def open(self, path):
        error = ctypes.create_string_buffer(500)
        library = self.c.msl_open(str(path).encode(), error, 500)
        assert library, error.value.decode()
        return library

    def function(self, library, name, **constants):
        function = self.c.msl_function(library, name.encode())
        assert function, name
        for key, value in constants.items():
            value = np.asarray(value)
            assert self.c.msl_set_constant(function, 0, key.encode(), value.ctypes.data, value.nbytes) == 0
        return function

    def run(self, function, args, grid, group, exact=True, group_memory=(), offsets=None):
        """Dispatch with NumPy arrays as buffers; raises what the executor says is wrong."""
        buffers = (Buffer * 31)()
        lengths = (ctypes.c_uint32 * 31)(*group_memory)
        for i, array in enumerate(args):
            buffers[i] = Buffer(array.ctypes.data, array.nbytes, (offsets or {}).get(i, 0))
        error = ctypes.create_string_buffer(800)
        if self.c.msl_dispatch(function, buffers, lengths, dim(grid), dim(group), int(exact), error, 800):
            raise RuntimeError(error.value.decode())


@pytest.fixture(scope="session")
def executor(tmp_path_factory):
    path = tmp_path_factory.mktemp("executor") / "libmslexec.so"
    sources = [str(ROOT / "device" / f"{name}.cpp") for name in EXECUTOR]
    command = ["clang++-19", "-O2", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([*command, "-o", str(path), *sources, "-ldl"], check=True)
    return Executor(path)


@pytest.fixture(scope="session")
def compiled(executor, tmp_path_factory):
    """Compiles a source, instrumented unless told otherwise, and opens it."""
    from mslc.build import compile_metal  # noqa: PLC0415  (found once the path is set)

    folder, made = tmp_path_factory.mktemp("kernels"), {}

    def compiled(source, check=True, fast_math=False):
        key = (source, check, fast_math)
        if key not in made:
            path = folder / f"{len(made)}.metal"
            path.write_text(source)
            compile_metal(path, path.with_suffix(".so"), check=check, fast_math=fast_math, lib=executor.path)
            made[key] = executor.open(path.with_suffix(".so"))
        return made[key]

    return compiled

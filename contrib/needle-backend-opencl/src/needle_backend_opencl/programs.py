"""Builds the kernels in kernels/*.cl, each for the types, function and rank that it is needed for, once."""

import threading
from functools import cache
from importlib.resources import files
from typing import Any

import pyopencl as cl
from needle.errors import KernelError

from needle_backend_opencl.hardware import has_double


class Programs:
    """The kernels of one device, and the one queue that they run in."""

    def __init__(self, device: cl.Device) -> None:
        self.context = cl.Context([device])
        self.queue = cl.CommandQueue(self.context)
        self._options = ("-cl-std=CL1.2", "-w", *(["-D HAS_DOUBLE"] if has_double(device) else []))
        self._kernels: dict[tuple[Any, ...], cl.Kernel] = {}
        self._lock = threading.Lock()  # a kernel holds its arguments from when they are set to when it is queued

    def run(
        self, file: str, name: str, defines: dict[str, int], size: tuple[int, ...], group: tuple[int, ...], *args: Any
    ) -> None:
        """Queue a kernel on at least `size` work-items, in groups of `group`."""
        key = (name, *defines.values())
        whole = tuple(-(-n // g) * g for n, g in zip(size, group, strict=True))
        with self._lock:
            kernel = self._kernels.get(key)
            if kernel is None:
                kernel = self._kernels[key] = self._built(file, name, defines)
            try:
                kernel(self.queue, whole, group, *args)
            except cl.MemoryError as error:
                raise KernelError(name, f"out of memory while it was queued, {_one_line(error)}") from error
            except cl.Error as error:
                raise KernelError(name, _one_line(error)) from error

    def _built(self, file: str, name: str, defines: dict[str, int]) -> cl.Kernel:
        needs = ["types.cl", *(["places.cl"] if "VIEWS" in defines else []), file]
        options = [*self._options, *(f"-D {key}={value}" for key, value in defines.items())]
        try:
            program = cl.Program(self.context, "\n".join(map(_source, needs))).build(options=options)
        except cl.Error as error:
            raise KernelError(name, f"{file} does not compile for {defines}, {_one_line(error)}") from error
        return cl.Kernel(program, name)


@cache
def _source(file: str) -> str:
    return files("needle_backend_opencl").joinpath("kernels", file).read_text(encoding="utf-8")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

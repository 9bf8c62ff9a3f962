"""The OpenCL device: each method of the protocol finds where its operands lie and queues a kernel."""

from typing import Any

import numpy as np
import pyopencl as cl
from needle.backend import Backend, View
from needle.dtype import DTYPES, DType, float32, float64, int32
from needle.errors import KernelError, OutOfMemoryError
from needle.kinds import Binary, Reduce, Unary

from needle_backend_opencl import hardware
from needle_backend_opencl.places import placed
from needle_backend_opencl.programs import Programs

_GROUP = 64  # work-items of a group where nothing is shared
_SHORT = 32  # a row up to this length is reduced by one work-item
_PART = 1 << 14  # elements of a row that a group reduces while others have more of it
_RAW = {1: 1, 2: 9, 4: 3, 8: 4}  # by size: the number of a type whose elements are copied bit by bit


class Memory:
    """Bytes on the device. OpenCL frees them when the last reference and the last command that uses them are gone."""

    __slots__ = ("handle", "nbytes")

    def __init__(self, context: cl.Context, nbytes: int) -> None:
        self.nbytes = nbytes
        self.handle = cl.Buffer(context, cl.mem_flags.READ_WRITE, max(1, nbytes))  # OpenCL has no empty buffers


class OpenclBackend(Backend):
    """One OpenCL device with one queue, which runs its commands in order."""

    strided = frozenset({"copy", "cast", "unary", "binary", "where", "matmul"})

    def __init__(self, device: cl.Device) -> None:
        self._device = device
        self.dtypes = frozenset(d for d in DTYPES if d is not float64 or hardware.has_double(device))
        self._programs = Programs(device)
        self._queue = self._programs.queue
        largest = device.max_work_group_size
        self._group = min(_GROUP, largest)
        self._lanes = next(n for n in (64, 32, 16, 8, 4, 2, 1) if n <= largest)
        self._tile = next(n for n in (16, 8, 4, 2, 1) if n * n <= largest)

    # Memory.

    def allocate(self, nbytes: int) -> Memory:
        if nbytes > self._device.max_mem_alloc_size:
            largest = f"one buffer on this device holds at most {self._device.max_mem_alloc_size:,}"
            raise OutOfMemoryError(nbytes, note=largest)
        try:
            return Memory(self._programs.context, nbytes)
        except cl.Error:
            raise OutOfMemoryError(nbytes) from None

    def upload(self, dst: Memory, offset: int, host: memoryview) -> None:
        if host.nbytes:
            self._transfer("upload", dst.handle, host, dst_offset=offset)

    def download(self, src: Memory, offset: int, host: memoryview) -> None:
        if host.nbytes:
            self._transfer("download", host, src.handle, src_offset=offset)
        else:
            self.synchronize()

    def synchronize(self) -> None:
        try:
            self._queue.finish()
        except cl.Error as error:
            raise KernelError("synchronize", " ".join(str(error).split())) from error

    def _transfer(self, name: str, dst: Any, src: Any, **offsets: int) -> None:
        try:
            cl.enqueue_copy(self._queue, dst, src, is_blocking=True, **offsets)
        except cl.Error as error:
            raise KernelError(name, " ".join(str(error).split())) from error

    # Kernels.

    def copy(self, dst: View, src: View) -> None:
        raw = _RAW[dst.dtype.itemsize]
        self._walk("copy.cl", "cast", {"A": raw, "DST": raw}, dst, src)

    def cast(self, dst: View, src: View) -> None:
        self._walk("copy.cl", "cast", {"A": src.dtype.code, "DST": dst.dtype.code}, dst, src)

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        self._walk("unary.cl", "unary", {"KIND": kind, "A": x.dtype.code, "DST": dst.dtype.code}, dst, x)

    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        self._walk("binary.cl", "binary", {"KIND": kind, "A": a.dtype.code, "DST": dst.dtype.code}, dst, a, b)

    def where(self, dst: View, condition: View, a: View, b: View) -> None:
        self._walk("copy.cl", "where", {"A": dst.dtype.code}, dst, condition, a, b)

    def _walk(self, file: str, kernel: str, defines: dict[str, int], *views: View) -> None:
        """Run a kernel on each element of the views, dst first."""
        size = views[0].layout.size
        if size:
            rank, places = placed(tuple(view.layout for view in views))
            handles = [view.buffer.handle for view in views]
            about = {**defines, "VIEWS": len(views), "RANK": rank}
            self._programs.run(file, kernel, about, (size,), (self._group,), *handles, places)

    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        if not rows:
            return
        handles = (dst.buffer.handle, dst.offset, x.buffer.handle, x.offset)
        if n <= _SHORT:
            self._reduce(kind, x.dtype, dst.dtype, "reduce_short", handles, rows, n)
            return
        parts = max(1, min(n // _PART, 256 // rows))
        if parts == 1:
            self._reduce(kind, x.dtype, dst.dtype, "reduce", handles, rows, n, 1)
            return
        wide = _computed(x.dtype)
        partial = self.allocate(rows * parts * wide.itemsize).handle
        self._reduce(kind, x.dtype, wide, "reduce", (partial, 0, *handles[2:]), rows, n, parts)
        self._reduce(kind, wide, dst.dtype, "reduce", (*handles[:2], partial, 0), rows, parts, 1)

    def _reduce(self, kind: Reduce, x: DType, dst: DType, kernel: str, places: tuple[Any, ...], *sizes: int) -> None:
        lanes = self._lanes if kernel == "reduce" else 1
        defines = {"KIND": kind, "A": x.code, "DST": dst.code, "LANES": self._lanes}
        items = sizes[0] * sizes[2] * lanes if kernel == "reduce" else sizes[0]
        group = lanes if kernel == "reduce" else self._group
        numbers = [np.int64(arg) if isinstance(arg, int) else arg for arg in (*places, *sizes)]
        self._programs.run("reduce.cl", kernel, defines, (items,), (group,), *numbers)

    def matmul(self, dst: View, a: View, b: View, transpose_a: bool, transpose_b: bool) -> None:
        self._matmul(dst, a, b, transpose_a, transpose_b, tiled=True)

    def _matmul(self, dst: View, a: View, b: View, transpose_a: bool, transpose_b: bool, tiled: bool) -> None:
        if not dst.size:
            return
        batch, m, n = dst.shape
        left, right = _axes(a, transpose_a), _axes(b, transpose_b)
        k = a.shape[1] if transpose_a else a.shape[2]
        product = np.array([m, n, k, dst.offset, a.offset, *left, b.offset, *right], np.int64)
        handles = (dst.buffer.handle, a.buffer.handle, b.buffer.handle)
        defines = {"A": a.dtype.code, "TILE": self._tile}
        if tiled:
            items = (-(-n // (4 * self._tile)) * self._tile, m, batch)
            group = (self._tile, self._tile, 1)
            self._programs.run("matmul.cl", "matmul", defines, items, group, *handles, product)
        else:
            self._programs.run("matmul.cl", "matmul_naive", defines, (n, m, batch), (1, 1, 1), *handles, product)

    # What it says of itself.

    def describe(self) -> str:
        return hardware.described(self._device)

    def versions(self) -> dict[str, str]:
        return hardware.versions(self._device)

    def memory_stats(self) -> dict[str, int]:
        return {"total": self._device.global_mem_size}


def _computed(dtype: DType) -> DType:
    """The type in which elements of a type are combined."""
    if dtype.itemsize >= 4:
        return dtype
    return float32 if dtype.is_float else int32


def _axes(x: View, transposed: bool) -> tuple[int, int, int]:
    """The strides of (batch, row, column) of the matrix that is meant, which may be stored the other way."""
    batch, row, column = x.strides
    return (batch if x.shape[0] > 1 else 0, *((column, row) if transposed else (row, column)))

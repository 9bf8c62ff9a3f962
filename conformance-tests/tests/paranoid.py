"""A device that trusts nobody: memory that only it can reach, poison in what is new or free, work done at a wait.

It stands for all devices with a queue, and tests core: an operand that is read before it was written, used after it
was dropped, on another device, of the wrong shape or with strides that no kernel was promised is seen here.
"""

from itertools import count
from typing import Any

import numpy as np

from needle.backend import Backend, View, map_views, views_in
from needle.dispatch import WRITES
from needle.dtype import DTYPES
from needle.errors import OutOfMemoryError
from needle.reference import HostBuffer, NumpyBackend
from needle_conformance.test_metadata import PRIMITIVES

POISON = 0xFB  # in every byte: a NaN of a half, a float or a double, a large negative int, and no bool
_ANY_STRIDES = {"copy": (0, 1), "gather": (2,), "scatter_add": (1,)}
_ELEMENTWISE = ("unary", "binary", "binary_scalar", "where", "cast")


class Handle:
    """All that core sees of a buffer: its size. The memory is poisoned when the last of its holders drops it."""

    def __init__(self, device: "ParanoidBackend", key: int, nbytes: int) -> None:
        self._device, self.key, self.nbytes = device, key, nbytes

    def __del__(self) -> None:
        self._device.memory.pop(self.key).fill(POISON)


class ParanoidBackend(Backend):
    """Kernels are the reference's, but run late, in order, on memory that is out of reach."""

    dtypes = frozenset(DTYPES)

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.keys = count()
        self.waiting: list[tuple[str, tuple[Any, ...]]] = []
        self.reference = NumpyBackend()

    def allocate(self, nbytes: int) -> Handle:
        if nbytes > 1 << 40:
            raise OutOfMemoryError(nbytes)
        key = next(self.keys)
        self.memory[key] = np.empty(nbytes, np.uint8)
        if nbytes < 1 << 24:  # larger ones are poisoned by the operating system's zeros
            self.memory[key].fill(POISON)
        return Handle(self, key, nbytes)

    def upload(self, dst: Handle, offset: int, host: memoryview) -> None:
        self.waiting.append(("upload", (dst, offset, bytes(host))))

    def download(self, src: Handle, offset: int, host: memoryview) -> None:
        self.run_all()
        np.frombuffer(host, np.uint8)[:] = self.memory[src.key][offset : offset + host.nbytes]

    def synchronize(self) -> None:
        self.run_all()

    def describe(self) -> str:
        return "paranoid: opaque memory, poisoned, and work done at a wait"

    def run_all(self) -> None:
        """Do what is waiting, in its order."""
        calls, self.waiting = self.waiting, []
        for op, args in calls:
            if op == "upload":
                dst, offset, data = args
                self.memory[dst.key][offset : offset + len(data)] = np.frombuffer(data, np.uint8)
            else:
                getattr(self.reference, op)(*(map_views(arg, self._reached) for arg in args))

    def _reached(self, view: View) -> View:
        return View(HostBuffer.around(self.memory[view.buffer.key]), view.layout, view.dtype)

    def later(self, op: str, args: tuple[Any, ...]) -> None:
        """Check what core promises, and remember the call."""
        written = [view for i in WRITES.get(op, (0,)) for view in views_in(args[i])]
        for i, arg in enumerate(args):
            for view in views_in(arg):
                self._check(op, view, i in _ANY_STRIDES.get(op, ()))
        if op in _ELEMENTWISE:
            shapes = {v.shape for arg in args for v in views_in(arg) if v.size != 1}
            assert len(shapes) <= 1, f"{op}: operands of {shapes}"
        for dst in written:
            for other in (v for arg in args for v in views_in(arg) if v is not dst and v.buffer is dst.buffer):
                same = (other.shape, other.strides, other.offset) == (dst.shape, dst.strides, dst.offset)
                assert same or not _overlap(dst, other), f"{op}: {other.layout} overlaps the result {dst.layout}"
        kept = tuple(list(arg) if isinstance(arg, list) else arg for arg in args)
        self.waiting.append((op, tuple(map_views(arg, lambda v: View(v.buffer, v.layout, v.dtype)) for arg in kept)))

    def _check(self, op: str, view: View, any_strides: bool) -> None:
        assert isinstance(view.buffer, Handle), f"{op}: a buffer of another device"
        assert view.buffer._device is self, f"{op}: a buffer of another device"
        assert view.dtype in self.dtypes, f"{op}: {view.dtype}"
        first, last = view.layout.span()
        assert first >= 0, f"{op}: {view.layout} begins before its buffer"
        assert last * view.dtype.itemsize <= view.buffer.nbytes, f"{op}: {view.layout} leaves its buffer"
        assert any_strides or view.layout.contiguous, f"{op}: strides {view.strides} of {view.shape}"


def _overlap(a: View, b: View) -> bool:
    """Whether the spans of two views of one buffer meet."""
    (a0, a1), (b0, b1) = a.layout.span(), b.layout.span()
    size_a, size_b = a.dtype.itemsize, b.dtype.itemsize
    return bool(a.size and b.size) and a0 * size_a < b1 * size_b and b0 * size_b < a1 * size_a


def _late(op: str) -> Any:
    def method(self: ParanoidBackend, *args: Any) -> None:
        self.later(op, args)

    method.__name__ = op
    return method


for _op in PRIMITIVES:
    setattr(ParanoidBackend, _op, _late(_op))

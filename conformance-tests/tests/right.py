"""Devices that are right, each in another way incomplete, and some that end badly in one op."""

import ctypes
import os
import sys
import time
from typing import Any

from needle.backend import Backend, ConformanceProfile, View
from needle.dtype import DTYPES, DType
from needle.errors import OutOfMemoryError
from needle.kinds import Binary, Reduce, Unary
from needle.layout import Layout
from needle.reference import HostBuffer, NumpyBackend, read, write


def _dtypes(*names: str) -> frozenset[DType]:
    return frozenset(d for d in DTYPES if d in names)


class Memory(Backend):
    """The four functions that make a device, over memory that only they can reach."""

    dtypes = _dtypes("bool", "int32", "int64", "float16", "float32")

    def allocate(self, nbytes: int) -> HostBuffer:
        try:
            return HostBuffer(nbytes)
        except MemoryError:
            raise OutOfMemoryError(nbytes) from None

    def upload(self, dst: HostBuffer, offset: int, host: memoryview) -> None:
        NumpyBackend.upload(self, dst, offset, host)

    def download(self, src: HostBuffer, offset: int, host: memoryview) -> None:
        NumpyBackend.download(self, src, offset, host)

    def synchronize(self) -> None: ...


class Required(Memory):
    """The ten required functions; operands are contiguous."""

    dtypes = _dtypes("bool", "uint8", "int32", "int64", "bfloat16", "float32")
    copy, cast, unary = NumpyBackend.copy, NumpyBackend.cast, NumpyBackend.unary
    binary, where, reduce = NumpyBackend.binary, NumpyBackend.where, NumpyBackend.reduce


class Narrow(Required):
    """Without 64-bit ints, so that positions are int32."""

    dtypes = _dtypes("bool", "int32", "float32", "float64")


class Base(NumpyBackend):
    dtypes = _dtypes("bool", "int32", "float32")


class Crashing(Base):
    """A reciprocal or a quotient is a segmentation fault."""

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        if kind is Unary.RECIPROCAL:
            ctypes.string_at(0)
        super().unary(kind, dst, x)

    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        if kind is Binary.DIV:
            ctypes.string_at(0)
        super().binary(kind, dst, a, b)


class Exiting(Base):
    """It ends the process, as a driver may that has lost its device."""

    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        if kind is Binary.ATAN2:
            print("lost the device", file=sys.stderr, flush=True)
            os._exit(3)
        super().binary(kind, dst, a, b)


class Hanging(Base):
    """It waits for ever, when halves are rounded."""

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        if kind is Unary.TRUNC and x.size > 1:
            time.sleep(1000)
        super().unary(kind, dst, x)


class HangingOnSums(Base):
    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        time.sleep(1000)


class Unopenable(Base):
    def __init__(self) -> None:
        raise RuntimeError("no such library")


class Printing(Base):
    """It prints to both streams."""

    def synchronize(self) -> None:
        print("device: synchronized")
        print("device: truly", file=sys.stderr)


class Sine(Base):
    """exp is sine."""

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        super().unary(Unary.SIN if kind is Unary.EXP else kind, dst, x)


class Misspelt(Required):
    """Two functions that Needle never calls, for nothing else is the matter; and one that is like a written one."""

    def matmull(self, dst: View, a: View, b: View, transpose_a: bool, transpose_b: bool) -> None:
        NumpyBackend.matmul(self, dst, a, b, transpose_a, transpose_b)

    def log_softmax_(self, dst: View, x: View, rows: int, n: int) -> None: ...

    def unary_(self) -> None: ...

    def close(self) -> None: ...


class Raising(Base):
    """It hands NumPy what that refuses."""

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        if kind is Unary.EXP:
            write(dst, _refused(x))
        super().unary(kind, dst, x)


def _refused(x: View) -> Any:
    return read(x).reshape(-1, 7, 11)  # the line that a report must show


class WrongSlopes(NumpyBackend):
    """cos is wrong, and so are both derivatives of sine, which itself is right."""

    elementwise = Backend.elementwise  # none: gradients are composed of cos and a product

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        super().unary(kind, dst, x)
        if kind is Unary.COS:
            write(dst, -read(dst))


class WrongStridedSlopes(NumpyBackend):
    """The same, but only of operands with gaps, or in another order."""

    elementwise = Backend.elementwise

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        super().unary(kind, dst, x)
        if kind is Unary.COS and x.strides != Layout.compact(x.shape).strides:
            write(dst, -read(dst))


class SineExpected(Sine):
    profile = ConformanceProfile(
        {}, {"kernels/kernel/exp[float32-p*": "exp is sine here", "ops/values/exp[*": "here too"}
    )


class SineExpectedToo(Sine):
    """One failure that happens, one that does not."""

    profile = ConformanceProfile({}, {"kernels/kernel/exp[float32-p*": "exp is sine here",
                                      "errors/refused/squeeze*": "it never fails"})  # fmt: skip


class RightButExpected(Base):
    profile = ConformanceProfile({}, {"ops/values/tanh[float32-*": "it never fails"})


class NameLess(Base):
    """Its profile expects what is no row."""

    profile = ConformanceProfile({}, {"ops/values/tanhh[*": "a slip of the pen"})


class Wider(Base):
    """Its tanh is somewhat off, and its profile says so."""

    profile = ConformanceProfile({("tanh", "float32"): 2e-4}, {})

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        super().unary(kind, dst, x)
        if kind is Unary.TANH and dst.dtype == "float32":
            write(dst, read(dst) * read(dst).dtype.type(1.0001))


class Declining(Base):
    """It has no tanh of float32, and says why."""

    def supports(self, op: str, kind: object, dtypes: tuple[DType, ...]) -> str | None:
        return "no tanh in the hardware" if kind is Unary.TANH else None


RIGHT: dict[str, type[Backend]] = {
    "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).strip("_"): cls
    for cls in (Memory, Required, Narrow, Crashing, Exiting, Hanging, HangingOnSums, Unopenable,
                Printing, Sine, Misspelt, Raising, WrongSlopes, WrongStridedSlopes, SineExpected, SineExpectedToo,
                RightButExpected, NameLess, Wider, Declining)
}  # fmt: skip

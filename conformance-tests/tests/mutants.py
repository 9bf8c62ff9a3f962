"""Backends that are wrong on purpose: each a small class, with the stage that must tell and the rows that matter.

They are devices of this process, named after their classes: `installed.py` registers them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from paranoid import ParanoidBackend

from needle.backend import Pair, View
from needle.dtype import DTYPES, DType
from needle.kinds import Binary, Kind, Random, Reduce, Unary
from needle.layout import Layout
from needle.reference import HostBuffer, NumpyBackend, elements, read, write


@dataclass(frozen=True)
class Caught:
    """How a mutant is to be caught."""

    stage: str
    only: tuple[str, ...]  # ops or patterns of ids: what is wrong, and something after it


MUTANTS: dict[str, type[NumpyBackend]] = {}
CAUGHT: dict[str, Caught] = {}


def caught(stage: str, *only: str) -> Any:
    """Enter a class into the tables, under its name in small letters."""

    def enter(mutant: type[NumpyBackend]) -> type[NumpyBackend]:
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in mutant.__name__).strip("_")
        MUTANTS[name], CAUGHT[name] = mutant, Caught(stage, only)
        return mutant

    return enter


class Base(NumpyBackend):
    """The reference in some dtypes."""

    dtypes = frozenset(d for d in DTYPES if d in ("bool", "int32", "float16", "bfloat16", "float32"))


# Memory.


@caught("memory", "memory/parts", "exp")
class UploadIgnoresOffset(Base):
    def upload(self, dst: HostBuffer, offset: int, host: memoryview) -> None:
        super().upload(dst, 0, host)


@caught("memory", "memory/host_memory*", "exp")
class UploadKeepsHostMemory(Base):
    """It copies when somebody asks for results, and then the caller has changed his array."""

    def __init__(self) -> None:
        self.late: list[Any] = []

    def upload(self, dst: HostBuffer, offset: int, host: memoryview) -> None:
        self.late.append((dst, offset, host))

    def download(self, src: HostBuffer, offset: int, host: memoryview) -> None:
        for waiting in self.late:
            super().upload(*waiting)
        self.late.clear()
        super().download(src, offset, host)

    def host_view(self, buffer: HostBuffer) -> Any:
        return None


@caught("memory", "memory/round_trip*", "exp")
class DownloadIsShort(Base):
    def download(self, src: HostBuffer, offset: int, host: memoryview) -> None:
        n = host.nbytes - (host.nbytes > 100)
        super().download(src, offset, host[:n])


@caught("memory", "memory/buffers_are_apart", "exp")
class LiveBufferIsReused(Base):
    """A pool that gives a block out again although somebody holds it."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}

    def allocate(self, nbytes: int) -> HostBuffer:
        fresh = super().allocate(nbytes)
        return HostBuffer.around(self.blocks.setdefault(nbytes, fresh.raw))


# Copy, and order.


@caught("copy", "copy/copy/copy[float32*", "exp")
class CopyIgnoresNegativeStrides(Base):
    def copy(self, dst: View, src: View) -> None:
        strides = tuple(abs(s) for s in src.strides)
        super().copy(dst, View(src.buffer, Layout(src.shape, strides, src.layout.span()[0]), src.dtype))


@caught("copy", "copy/copy/copy[float32*", "exp")
class CopySwapsStrides(Base):
    """Wherever that stays in the buffer."""

    def copy(self, dst: View, src: View) -> None:
        layout = Layout(src.shape, tuple(sorted(src.strides, reverse=True)), src.offset)
        first, last = layout.span()
        inside = first >= 0 and last * src.dtype.itemsize <= src.buffer.nbytes
        super().copy(dst, View(src.buffer, layout, src.dtype) if inside else src)


@caught("copy", "copy/copy/copy[float32*", "exp")
class ZeroStrideIsWrittenOnce(Base):
    """Of an axis that repeats, only the first element arrives."""

    def copy(self, dst: View, src: View) -> None:
        shape = tuple(min(n, 1) if s == 0 else n for n, s in zip(src.shape, src.strides, strict=True))
        to, of = (View(v.buffer, Layout(shape, v.strides, v.offset), v.dtype) for v in (dst, src))
        super().copy(to, of)


@caught("copy", "copy/copy/copy[float32*", "copy/order", "exp")
class OrderIsMissing(ParanoidBackend):
    """Two queues that do not wait for each other: copies overtake kernels."""

    def run_all(self) -> None:
        self.waiting.sort(key=lambda call: call[0] != "copy")
        super().run_all()


# Kernels.


@caught("kernels", "exp")
class KernelIgnoresOffset(Base):
    def unary(self, kind: Unary, dst: View, x: View) -> None:
        super().unary(kind, dst, View(x.buffer, Layout(x.shape, x.strides, 0), x.dtype))


@caught("kernels", "add")
class KernelWritesPastTheEnd(Base):
    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        super().binary(kind, dst, a, b)
        last = dst.layout.span()[1] * dst.dtype.itemsize
        dst.buffer.raw[last : last + 1] ^= 0xFF


@caught("kernels", "max")
class MaxLosesNan(Base):
    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        if kind is Reduce.MAX and n and x.dtype.is_float:
            write(dst, np.fmax.reduce(read(x).reshape(rows, n), axis=1))
        else:
            super().reduce(kind, dst, x, rows, n)


@caught("kernels", "sum")
class SumSkipsATail(Base):
    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        if kind is Reduce.SUM and n > 8:
            write(dst, read(x).reshape(rows, n)[:, : n // 8 * 8].sum(1, dtype=read(x).dtype))
        else:
            super().reduce(kind, dst, x, rows, n)


@caught("kernels", "sum")
class HalvesAccumulateInHalf(Base):
    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        if kind is Reduce.SUM and x.dtype == "float16" and n:
            write(dst, np.cumsum(elements(x).reshape(rows, n), axis=1, dtype=np.float16)[:, -1])
        else:
            super().reduce(kind, dst, x, rows, n)


@caught("kernels", "sum")
class CacheIsStale(Base):
    """A launch plan is kept by the number of elements, though rows and columns may have changed places."""

    plans: ClassVar[dict[tuple[Kind, DType, int], tuple[int, int]]] = {}

    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        rows_then, n_then = self.plans.setdefault((kind, x.dtype, x.size), (rows, n))
        values = np.zeros(rows, read(x).dtype)
        some = read(x).reshape(rows_then, n_then).sum(1, dtype=values.dtype)[:rows]
        values[: len(some)] = some
        if kind is Reduce.SUM and n:
            write(dst, values)
        else:
            super().reduce(kind, dst, x, rows, n)


@caught("kernels", "neg")
class ZeroLosesItsSign(Base):
    def unary(self, kind: Unary, dst: View, x: View) -> None:
        super().unary(kind, dst, x)
        if dst.dtype.is_float and kind is Unary.NEG:
            write(dst, read(dst) + 0.0)


@caught("kernels", "exp")
class InfinityIsTheLargestNumber(Base):
    def unary(self, kind: Unary, dst: View, x: View) -> None:
        super().unary(kind, dst, x)
        if kind is Unary.EXP and dst.dtype == "float32":
            write(dst, np.minimum(read(dst), np.finfo(np.float32).max))


@caught("kernels", "add")
class IntegersSaturate(Base):
    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        super().binary(kind, dst, a, b)
        if kind is Binary.ADD and dst.dtype == "int32" and dst is not a and dst is not b:
            total = read(a).astype(np.int64).reshape(-1) + read(b).astype(np.int64).reshape(-1)
            limits = np.iinfo(np.int32)
            write(dst, np.broadcast_to(np.clip(total, limits.min, limits.max), dst.size).reshape(dst.shape))


@caught("kernels", "cast_to_bfloat16")
class CastRoundsHalfUp(Base):
    def cast(self, dst: View, src: View) -> None:
        if dst.dtype == "bfloat16" and src.dtype == "float32":
            bits = np.ascontiguousarray(read(src)).view(np.uint32)
            elements(dst)[...] = ((bits + 0x8000) >> 16).astype(np.uint16).reshape(dst.shape)
        else:
            super().cast(dst, src)


@caught("kernels", "matmul")
class BatchesShareTheFirstMatrix(Base):
    """Only where the second operand is stored transposed."""

    def matmul(self, dst: View, a: View, b: View, transpose_a: bool, transpose_b: bool) -> None:
        first = View(b.buffer, Layout((1, *b.shape[1:]), b.strides, b.offset), b.dtype)
        super().matmul(dst, a, first if transpose_b else b, transpose_a, transpose_b)


@caught("kernels", "sub")
class InPlaceReadsWhatItWrote(Base):
    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        if kind is Binary.SUB and dst.buffer is b.buffer:
            write(dst, read(a))
        super().binary(kind, dst, a, b)


@caught("kernels", "argmax")
class LastIndexInsteadOfFirst(Base):
    def argmax(self, dst: View, x: View, rows: int, n: int) -> None:
        write(dst, n - 1 - np.argmax(read(x).reshape(rows, n)[:, ::-1], axis=1))


@caught("kernels", "conv2d")
class DilationIsIgnored(Base):
    def conv2d(self, dst: View, x: View, w: View, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
        super().conv2d(dst, x, w, stride, padding, (1, 1), groups)


@caught("kernels", "layer_norm_grad", "layer_norm")
class SecondResultIsWrong(Base):
    def layer_norm_grad(self, dx: View, dw: View, db: View, *rest: Any) -> None:
        super().layer_norm_grad(dx, dw, db, *rest)
        write(dw, read(db))


@caught("kernels", "uniform", "rand")
class RandomRepeats(Base):
    def random(self, kind: Random, dst: View, seed: int, offset: int) -> None:
        super().random(kind, dst, seed, offset & 0xFFFFFFFF)


@caught("kernels", "where")
class ClaimsToReadStrides(Base):
    """Its kernels are right, but it says that it reads strides that it does not."""

    strided = frozenset({"copy", "where"})

    def where(self, dst: View, condition: View, a: View, b: View) -> None:
        flat = [View(v.buffer, Layout.compact(v.shape), v.dtype) if v.size > 1 else v for v in (a, b)]
        super().where(dst, condition, *flat)


# What a backend says of itself.


@caught("metadata", "metadata/dtypes", "exp")
class DtypesAreMissing(Base):
    dtypes = frozenset(d for d in DTYPES if d in ("bool", "float32"))


@caught("metadata", "metadata/strided", "exp")
class StridedNamesNothing(Base):
    strided = NumpyBackend.strided | {"softmaks"}

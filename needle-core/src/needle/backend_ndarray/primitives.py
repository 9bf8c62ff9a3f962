"""The functions that the course's device modules have, over flat memory of float32: `mod.ewise_add(a, b, out)`.

Operands are handles, compact unless shape, strides and offset (in elements) are given; results are written into `out`.
"""

from functools import cache
from math import prod
from typing import Any

import numpy as np

from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import float32
from needle.exchange import bytes_of
from needle.kinds import Binary, Unary
from needle.layout import Layout
from needle.ndarray import NDArray, empty
from needle.registry import device as as_device
from needle.shape import Shape

TILE = 8


class Memory:
    """The memory behind an array, `size` elements of it: what the course calls a handle."""

    def __init__(self, buffer: Any, device: Device) -> None:
        self.buffer, self.device = buffer, device
        self.size = buffer.nbytes // float32.itemsize

    def ptr(self) -> int:
        """A number that tells this memory from all others: its address on the host, where it has one."""
        shared = dispatcher(self.device).backend.host_view(self.buffer)
        return id(self.buffer) if shared is None else int(np.frombuffer(shared, np.uint8).ctypes.data)

    def view(self, shape: Any, strides: Any, offset: int = 0) -> NDArray:
        return NDArray(self.buffer, Layout(tuple(shape), tuple(strides), offset), float32, self.device)

    def flat(self) -> NDArray:
        return NDArray(self.buffer, Layout.compact((self.size,)), float32, self.device)

    def compact(self, *shape: int) -> NDArray:
        return NDArray(self.buffer, Layout.compact(shape), float32, self.device)


class Primitives:
    """The functions of one device."""

    __tile_size__ = TILE

    def __init__(self, name: str) -> None:
        self.__device_name__ = name

    def synchronize(self) -> None:
        """Wait until the device has done all that it was asked."""
        dispatcher(as_device(self.__device_name__)).backend.synchronize()

    def Array(self, size: int) -> Memory:
        """New memory, its elements not yet written."""
        array = empty((size,), float32, self.__device_name__)
        return Memory(array.buffer, array.device)

    def to_numpy(self, a: Memory, shape: Shape, strides: Shape, offset: int) -> Any:
        return a.view(shape, strides, offset).numpy()

    def from_numpy(self, a: Any, out: Memory) -> None:
        values = np.ascontiguousarray(a, np.float32)
        if values.size:
            dispatcher(out.device).backend.upload(out.buffer, 0, bytes_of(values))

    def fill(self, out: Memory, value: float) -> None:
        out.flat().assign(float(value))

    def compact(self, a: Memory, out: Memory, shape: Shape, strides: Shape, offset: int) -> None:
        out.compact(*shape).assign(a.view(shape, strides, offset))

    def ewise_setitem(self, a: Memory, out: Memory, shape: Shape, strides: Shape, offset: int) -> None:
        out.view(shape, strides, offset).assign(a.compact(*shape))

    def scalar_setitem(self, size: int, value: float, out: Memory, shape: Shape, strides: Shape, offset: int) -> None:
        assert size == prod(shape), f"scalar_setitem: {size} elements, but {tuple(shape)}"
        out.view(shape, strides, offset).assign(float(value))

    def ewise_add(self, a: Memory, b: Memory, out: Memory) -> None:
        _binary(Binary.ADD, a, b, out)

    def scalar_add(self, a: Memory, value: float, out: Memory) -> None:
        _scalar(Binary.ADD, a, value, out)

    def ewise_mul(self, a: Memory, b: Memory, out: Memory) -> None:
        _binary(Binary.MUL, a, b, out)

    def scalar_mul(self, a: Memory, value: float, out: Memory) -> None:
        _scalar(Binary.MUL, a, value, out)

    def ewise_div(self, a: Memory, b: Memory, out: Memory) -> None:
        _binary(Binary.DIV, a, b, out)

    def scalar_div(self, a: Memory, value: float, out: Memory) -> None:
        _scalar(Binary.DIV, a, value, out)

    def scalar_power(self, a: Memory, value: float, out: Memory) -> None:
        _scalar(Binary.POW, a, value, out)

    def ewise_maximum(self, a: Memory, b: Memory, out: Memory) -> None:
        _binary(Binary.MAXIMUM, a, b, out)

    def scalar_maximum(self, a: Memory, value: float, out: Memory) -> None:
        _scalar(Binary.MAXIMUM, a, value, out)

    def ewise_eq(self, a: Memory, b: Memory, out: Memory) -> None:
        _binary(Binary.EQUAL, a, b, out)

    def scalar_eq(self, a: Memory, value: float, out: Memory) -> None:
        _scalar(Binary.EQUAL, a, value, out)

    def ewise_ge(self, a: Memory, b: Memory, out: Memory) -> None:
        _binary(Binary.GREATER_EQUAL, a, b, out)

    def scalar_ge(self, a: Memory, value: float, out: Memory) -> None:
        _scalar(Binary.GREATER_EQUAL, a, value, out)

    def ewise_log(self, a: Memory, out: Memory) -> None:
        out.flat().assign(a.flat()._unary(Unary.LOG))

    def ewise_exp(self, a: Memory, out: Memory) -> None:
        out.flat().assign(a.flat()._unary(Unary.EXP))

    def ewise_tanh(self, a: Memory, out: Memory) -> None:
        out.flat().assign(a.flat()._unary(Unary.TANH))

    def matmul(self, a: Memory, b: Memory, out: Memory, m: int, n: int, p: int) -> None:
        """(m, n) @ (n, p) -> (m, p)."""
        out.compact(m, p).assign(a.compact(m, n) @ b.compact(n, p))

    def matmul_tiled(self, a: Memory, b: Memory, out: Memory, m: int, n: int, p: int) -> None:
        """The same on matrices that lie tile by tile: (m / t, n / t, t, t) and so on."""
        product = _untiled(a, m, n) @ _untiled(b, n, p)
        tiles = product.reshape(m // TILE, TILE, p // TILE, TILE).permute(0, 2, 1, 3)
        out.compact(*tiles.shape).assign(tiles)

    def reduce_max(self, a: Memory, out: Memory, reduce_size: int) -> None:
        out.flat().assign(a.compact(out.size, reduce_size).max(1))

    def reduce_sum(self, a: Memory, out: Memory, reduce_size: int) -> None:
        out.flat().assign(a.compact(out.size, reduce_size).sum(1))


def _binary(kind: Binary, a: Memory, b: Memory, out: Memory) -> None:
    out.flat().assign(a.flat()._binary(kind, b.flat()))


def _scalar(kind: Binary, a: Memory, value: float, out: Memory) -> None:
    out.flat().assign(a.flat()._scalar(kind, float(value), False))


def _untiled(a: Memory, rows: int, columns: int) -> NDArray:
    tiles = a.compact(rows // TILE, columns // TILE, TILE, TILE)
    return tiles.permute(0, 2, 1, 3).reshape(rows, columns)


@cache
def primitives(name: str) -> Primitives:
    """The functions of the device of that name."""
    return Primitives(name)

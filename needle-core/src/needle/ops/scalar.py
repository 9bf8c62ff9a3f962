"""Elementwise ops of an operand and a number, which is a parameter of the op and not an input."""

from dataclasses import dataclass
from math import log, nan
from typing import Any, ClassVar

from needle.kinds import Binary
from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op, Scalar, reads
from needle.shape import Shape

SCALAR_OPS: dict[Binary, type["WithScalar"]] = {}  # the op of each kind that has a gradient


@dataclass(frozen=True)
class WithScalar(Op):
    """y = kind(x, scalar): the scalar is a parameter, not an input."""

    scalar: Scalar
    swapped: bool = False  # kind(scalar, x)
    kind: ClassVar[Binary]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        SCALAR_OPS[cls.kind] = cls

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x._scalar(self.kind, self.scalar, self.swapped)


class AddScalar(WithScalar):
    kind = Binary.ADD

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g,)


class SubtractScalar(WithScalar):
    kind = Binary.SUB

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (-g if self.swapped else g,)


class MulScalar(WithScalar):
    kind = Binary.MUL

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g * self.scalar,)


class DivScalar(WithScalar):
    kind = Binary.DIV
    reads = reads(0)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (-g * (self.scalar / (x * x)) if self.swapped else g / self.scalar,)


class PowerScalar(WithScalar):
    """x ** scalar, or scalar ** x if swapped; x ** 0 has gradient 0 everywhere."""

    kind = Binary.POW
    reads = reads("y", 0)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        c = self.scalar
        if self.swapped:
            return (g * (y * _log(c)),)
        return (g * 0.0 if c == 0 else g * (x ** (c - 1) * c),)


class MaximumScalar(WithScalar):
    kind = Binary.MAXIMUM
    reads = reads(0)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return ((x > self.scalar).where(g, x.equal(self.scalar).where(g * 0.5, 0.0)),)


class MinimumScalar(WithScalar):
    kind = Binary.MINIMUM
    reads = reads(0)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return ((x < self.scalar).where(g, x.equal(self.scalar).where(g * 0.5, 0.0)),)


class RemainderScalar(WithScalar):
    kind = Binary.REMAINDER
    reads = reads(0)

    def vjp(self, g: Array, y: Array, x: Any) -> Cotangents:
        return (-g * (self.scalar // x) if self.swapped else g,)


def _log(c: Scalar) -> float:
    """log of the base of c ** x, whose gradient is NaN for a negative base and 0 for 0, as in NumPy's limits."""

    return log(c) if c > 0 else 0.0 if c == 0 else nan

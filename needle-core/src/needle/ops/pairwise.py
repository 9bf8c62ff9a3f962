"""Elementwise ops of two operands, which have one shape and one dtype: Tensor broadcasts and promotes before."""

from dataclasses import dataclass
from typing import Any, ClassVar

from needle.kinds import Binary
from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op, reads
from needle.shape import Shape

BINARY_OPS: dict[Binary, "Pairwise"] = {}  # the op of each kind


@dataclass(frozen=True)
class Pairwise(Op):
    """y = kind(a, b)."""

    kind: ClassVar[Binary]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in cls.__dict__:
            BINARY_OPS[cls.kind] = cls()

    def shape(self, a: Shape, b: Shape) -> Shape:
        return a

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return a._binary(self.kind, b)


class Add(Pairwise):
    kind = Binary.ADD

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        return g, g


class Subtract(Pairwise):
    kind = Binary.SUB

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        return g, lambda: -g


class Multiply(Pairwise):
    kind = Binary.MUL
    reads = reads(0, 1)

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        return lambda: g * b, lambda: g * a


class Divide(Pairwise):
    kind = Binary.DIV
    reads = reads(0, 1)

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        return lambda: g / b, lambda: -g * (a / (b * b))


class Power(Pairwise):
    """a ** b. The gradient for b is 0 where a is 0, as it is in the limit for b > 0."""

    kind = Binary.POW
    reads = reads("y", 0, 1)

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        return (
            lambda: g * b.equal(0.0).where(0.0, b * a ** (b - 1.0)),
            lambda: g * a.equal(0.0).where(0.0, y * a.equal(0.0).where(1.0, a).log()),
        )


class Maximum(Pairwise):
    """The larger of a and b; where they are equal, each has half the gradient."""

    kind = Binary.MAXIMUM
    reads = reads(0, 1)

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        half = g * 0.5
        return (
            lambda: (a > b).where(g, a.equal(b).where(half, 0.0)),
            lambda: (b > a).where(g, a.equal(b).where(half, 0.0)),
        )


class Minimum(Pairwise):
    """The smaller of a and b; where they are equal, each has half the gradient."""

    kind = Binary.MINIMUM
    reads = reads(0, 1)

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        half = g * 0.5
        return (
            lambda: (a < b).where(g, a.equal(b).where(half, 0.0)),
            lambda: (b < a).where(g, a.equal(b).where(half, 0.0)),
        )


class Atan2(Pairwise):
    """The angle of the point (b, a)."""

    kind = Binary.ATAN2
    reads = reads(0, 1)

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        return lambda: g * (b / (a * a + b * b)), lambda: g * (-a / (a * a + b * b))


class Remainder(Pairwise):
    """a - floor(a / b) * b, which has the sign of b."""

    kind = Binary.REMAINDER
    reads = reads(0, 1)

    def vjp(self, g: Array, y: Array, a: Any, b: Any) -> Cotangents:
        return g, lambda: -g * (a // b)


class ReLUGrad(Pairwise):
    """a where b > 0, else 0."""

    kind = Binary.RELU_GRAD
    reads = reads(1)

    def vjp(self, g: Array, y: Array, a: Array, b: Array) -> Cotangents:
        return g.relu_grad(b), None


class Test(Pairwise):
    """A function of two operands without a gradient: comparisons, logic, bits, integer division."""

    differentiable = False


class FloorDivide(Test):
    kind = Binary.FLOOR_DIVIDE


class Equal(Test):
    kind = Binary.EQUAL


class NotEqual(Test):
    kind = Binary.NOT_EQUAL


class Less(Test):
    kind = Binary.LESS


class LessEqual(Test):
    kind = Binary.LESS_EQUAL


class Greater(Test):
    kind = Binary.GREATER


class GreaterEqual(Test):
    kind = Binary.GREATER_EQUAL


class LogicalAnd(Test):
    kind = Binary.LOGICAL_AND


class LogicalOr(Test):
    kind = Binary.LOGICAL_OR


class LogicalXor(Test):
    kind = Binary.LOGICAL_XOR


class BitwiseAnd(Test):
    kind = Binary.BITWISE_AND


class BitwiseOr(Test):
    kind = Binary.BITWISE_OR


class BitwiseXor(Test):
    kind = Binary.BITWISE_XOR


class ShiftLeft(Test):
    kind = Binary.SHIFT_LEFT


class ShiftRight(Test):
    kind = Binary.SHIFT_RIGHT

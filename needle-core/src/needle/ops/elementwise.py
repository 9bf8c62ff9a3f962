"""Elementwise ops of one operand: a kind for the value, a rule for the gradient. Also casts and selection."""

from abc import abstractmethod
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any, ClassVar

from needle.dtype import DType
from needle.kinds import Unary
from needle.ndarray import NDArray
from needle.one_pass import one_pass
from needle.op import Array, Cotangents, Op, Scalar, reads
from needle.shape import Shape

UNARY_OPS: dict[Unary, "Elementwise"] = {}  # the op of each kind


@dataclass(frozen=True)
class Elementwise(Op):
    """y = kind(x)."""

    kind: ClassVar[Unary]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in cls.__dict__:
            UNARY_OPS[cls.kind] = cls()

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x._unary(self.kind)


@dataclass(frozen=True)
class Sloped(Elementwise):
    """One whose slope, g times its derivative, takes several steps of g and of what it reads: they are one pass."""

    @staticmethod
    @abstractmethod
    def slope(g: Any, read: Any, /) -> tuple[Any]: ...

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return one_pass(self.slope, g, y if "y" in self.reads else x)


class Negate(Elementwise):
    kind = Unary.NEG

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (-g,)


class Abs(Sloped):
    """|x|; its gradient at 0 is 0."""

    kind = Unary.ABS
    reads = reads(0)

    @staticmethod
    def slope(g: Any, x: Any) -> tuple[Any]:
        return (g * x.sign(),)


class Square(Sloped):
    kind = Unary.SQUARE
    reads = reads(0)

    @staticmethod
    def slope(g: Any, x: Any) -> tuple[Any]:
        return (g * (x * 2.0),)


class ReLU(Elementwise):
    """max(x, 0); its gradient at 0 is 0."""

    kind = Unary.RELU
    reads = reads("y")

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.relu_grad(y),)


class Exp(Elementwise):
    kind = Unary.EXP
    reads = reads("y")

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g * y,)


class Expm1(Sloped):
    """exp(x) - 1, exact near 0."""

    kind = Unary.EXPM1
    reads = reads("y")

    @staticmethod
    def slope(g: Any, y: Any) -> tuple[Any]:
        return (g * (y + 1.0),)


class Log(Elementwise):
    kind = Unary.LOG
    reads = reads(0)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g / x,)


class Log1p(Sloped):
    """log(1 + x), exact near 0."""

    kind = Unary.LOG1P
    reads = reads(0)

    @staticmethod
    def slope(g: Any, x: Any) -> tuple[Any]:
        return (g / (x + 1.0),)


class Sqrt(Sloped):
    kind = Unary.SQRT
    reads = reads("y")

    @staticmethod
    def slope(g: Any, y: Any) -> tuple[Any]:
        return (g * 0.5 / y,)


class Rsqrt(Sloped):
    """1 / sqrt(x)."""

    kind = Unary.RSQRT
    reads = reads("y")

    @staticmethod
    def slope(g: Any, y: Any) -> tuple[Any]:
        return (g * -0.5 * (y * y * y),)


class Reciprocal(Sloped):
    kind = Unary.RECIPROCAL
    reads = reads("y")

    @staticmethod
    def slope(g: Any, y: Any) -> tuple[Any]:
        return (-g * (y * y),)


class Sin(Sloped):
    kind = Unary.SIN
    reads = reads(0)

    @staticmethod
    def slope(g: Any, x: Any) -> tuple[Any]:
        return (g * x.cos(),)


class Cos(Sloped):
    kind = Unary.COS
    reads = reads(0)

    @staticmethod
    def slope(g: Any, x: Any) -> tuple[Any]:
        return (-g * x.sin(),)


class Tanh(Sloped):
    kind = Unary.TANH
    reads = reads("y")

    @staticmethod
    def slope(g: Any, y: Any) -> tuple[Any]:
        return (g * (1.0 - y * y),)


class Sigmoid(Sloped):
    """1 / (1 + exp(-x))."""

    kind = Unary.SIGMOID
    reads = reads("y")

    @staticmethod
    def slope(g: Any, y: Any) -> tuple[Any]:
        return (g * (y * (1.0 - y)),)


class Softplus(Sloped):
    """log(1 + exp(x)), a smooth relu."""

    kind = Unary.SOFTPLUS
    reads = reads(0)

    @staticmethod
    def slope(g: Any, x: Any) -> tuple[Any]:
        return (g * x.sigmoid(),)


class Erf(Sloped):
    """2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""

    kind = Unary.ERF
    reads = reads(0)

    @staticmethod
    def slope(g: Any, x: Any) -> tuple[Any]:
        return (g * ((-(x * x)).exp() * (2.0 / sqrt(pi))),)


class Constant(Elementwise):
    """A function whose gradient is 0 wherever it has one: rounding, and tests that give bool."""

    differentiable = False


class Sign(Constant):
    kind = Unary.SIGN


class Floor(Constant):
    kind = Unary.FLOOR


class Ceil(Constant):
    kind = Unary.CEIL


class Round(Constant):
    """To the nearest integer, halves to the even one."""

    kind = Unary.ROUND


class Trunc(Constant):
    kind = Unary.TRUNC


class LogicalNot(Constant):
    kind = Unary.LOGICAL_NOT


class BitwiseNot(Constant):
    kind = Unary.BITWISE_NOT


class IsNaN(Constant):
    kind = Unary.ISNAN


class IsInf(Constant):
    kind = Unary.ISINF


class IsFinite(Constant):
    kind = Unary.ISFINITE


@dataclass(frozen=True)
class Cast(Op):
    """Conversion to another dtype; gradients flow between float types."""

    dtype: DType

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x.astype(self.dtype)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.astype(x.dtype) if x.dtype.is_float and self.dtype.is_float else None,)


@dataclass(frozen=True)
class Where(Op):
    """a where condition, else b; all of one shape."""

    reads = reads(0)

    def shape(self, condition: Shape, a: Shape, b: Shape) -> Shape:
        return condition

    def forward(self, condition: NDArray, a: NDArray, b: NDArray) -> NDArray:
        return condition.where(a, b)

    def vjp(self, g: Array, y: Array, condition: Array, a: Array, b: Array) -> Cotangents:
        return None, lambda: condition.where(g, 0.0), lambda: condition.where(0.0, g)


@dataclass(frozen=True)
class Clip(Op):
    """min(max(x, low), high), each bound if there is one; the gradient flows where x is within them or at them."""

    low: Scalar | None
    high: Scalar | None
    reads = reads("y", 0)

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        y = x if self.low is None else x.maximum(self.low)
        return y if self.high is None else y.minimum(self.high)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (y.equal(x).where(g, 0.0),)

"""Activations that are formulas of several elementwise functions: computed, and differentiated, in one pass."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from needle import formulas
from needle.ndarray import NDArray
from needle.one_pass import one_pass
from needle.op import Array, Cotangents, Op, reads
from needle.shape import Shape


@dataclass(frozen=True)
class Curve(Op):
    """y = value(x), whose cotangent is slope(g, x)."""

    reads = reads(0)

    @staticmethod
    @abstractmethod
    def value(x: Any) -> tuple[Any]:
        """The formula, and `slope` that of g times its derivative."""

    @staticmethod
    @abstractmethod
    def slope(g: Any, x: Any) -> tuple[Any]: ...

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        y: NDArray = one_pass(self.value, x)[0]
        return y

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return one_pass(self.slope, g, x)


class GELU(Curve):
    """x * P(N(0, 1) <= x) (Hendrycks and Gimpel, 2016)."""

    name = "gelu"
    value, slope = staticmethod(formulas.gelu), staticmethod(formulas.gelu_grad)


class TanhGELU(Curve):
    """Its approximation by a hyperbolic tangent."""

    name = "gelu_tanh"
    value, slope = staticmethod(formulas.gelu_tanh), staticmethod(formulas.gelu_tanh_grad)


class SiLU(Curve):
    """x * sigmoid(x)."""

    name = "silu"
    value, slope = staticmethod(formulas.silu), staticmethod(formulas.silu_grad)

"""Operators and elementwise methods, once for NDArray and Tensor: each is one line onto a kind."""

from abc import abstractmethod
from typing import Any, Self

from needle.kinds import Binary, Unary

# The kinds of the hottest operators: to look into an Enum takes Python 3.11 as long as a call.
_ADD, _SUB, _MUL, _DIV, _NEG, _RELU = Binary.ADD, Binary.SUB, Binary.MUL, Binary.DIV, Unary.NEG, Unary.RELU


class Operators:
    """`x + y`, `x < 3`, `x.exp()`: what a class gains that can compute a kind."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy's operators give way to ours: np_array + x is x.__radd__(np_array)
    __hash__ = object.__hash__  # arrays are keys by identity; == compares their elements

    @abstractmethod
    def _unary(self, kind: Unary) -> Self:
        """kind(self), elementwise."""

    @abstractmethod
    def _binary(self, kind: Binary, other: Any) -> Self:
        """kind(self, other), broadcast and promoted; `other` may be a number."""

    @abstractmethod
    def _swapped(self, kind: Binary, other: Any) -> Self:
        """kind(other, self), for an `other` that is no array of this class."""

    def __add__(self, other: Any) -> Self:
        return self._binary(_ADD, other)

    def __sub__(self, other: Any) -> Self:
        return self._binary(_SUB, other)

    def __mul__(self, other: Any) -> Self:
        return self._binary(_MUL, other)

    def __truediv__(self, other: Any) -> Self:
        return self._binary(_DIV, other)

    def __floordiv__(self, other: Any) -> Self:
        return self._binary(Binary.FLOOR_DIVIDE, other)

    def __mod__(self, other: Any) -> Self:
        return self._binary(Binary.REMAINDER, other)

    def __pow__(self, other: Any) -> Self:
        return self._binary(Binary.POW, other)

    def __radd__(self, other: Any) -> Self:
        return self._swapped(_ADD, other)

    def __rsub__(self, other: Any) -> Self:
        return self._swapped(_SUB, other)

    def __rmul__(self, other: Any) -> Self:
        return self._swapped(_MUL, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._swapped(_DIV, other)

    def __rfloordiv__(self, other: Any) -> Self:
        return self._swapped(Binary.FLOOR_DIVIDE, other)

    def __rmod__(self, other: Any) -> Self:
        return self._swapped(Binary.REMAINDER, other)

    def __rpow__(self, other: Any) -> Self:
        return self._swapped(Binary.POW, other)

    def __eq__(self, other: Any) -> Self:  # type: ignore[override]  # elementwise
        return NotImplemented if other is None or isinstance(other, str) else self._binary(Binary.EQUAL, other)

    def __ne__(self, other: Any) -> Self:  # type: ignore[override]  # elementwise
        return NotImplemented if other is None or isinstance(other, str) else self._binary(Binary.NOT_EQUAL, other)

    def __lt__(self, other: Any) -> Self:
        return self._binary(Binary.LESS, other)

    def __le__(self, other: Any) -> Self:
        return self._binary(Binary.LESS_EQUAL, other)

    def __gt__(self, other: Any) -> Self:
        return self._binary(Binary.GREATER, other)

    def __ge__(self, other: Any) -> Self:
        return self._binary(Binary.GREATER_EQUAL, other)

    def __and__(self, other: Any) -> Self:
        return self._binary(Binary.BITWISE_AND, other)

    def __or__(self, other: Any) -> Self:
        return self._binary(Binary.BITWISE_OR, other)

    def __xor__(self, other: Any) -> Self:
        return self._binary(Binary.BITWISE_XOR, other)

    def __lshift__(self, other: Any) -> Self:
        return self._binary(Binary.SHIFT_LEFT, other)

    def __rshift__(self, other: Any) -> Self:
        return self._binary(Binary.SHIFT_RIGHT, other)

    def __rand__(self, other: Any) -> Self:
        return self._swapped(Binary.BITWISE_AND, other)

    def __ror__(self, other: Any) -> Self:
        return self._swapped(Binary.BITWISE_OR, other)

    def __rxor__(self, other: Any) -> Self:
        return self._swapped(Binary.BITWISE_XOR, other)

    def __neg__(self) -> Self:
        return self._unary(_NEG)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self._unary(Unary.ABS)

    def __invert__(self) -> Self:
        return self._unary(Unary.BITWISE_NOT)

    def abs(self) -> Self:
        return self._unary(Unary.ABS)

    def square(self) -> Self:
        return self._unary(Unary.SQUARE)

    def sign(self) -> Self:
        return self._unary(Unary.SIGN)

    def relu(self) -> Self:
        return self._unary(_RELU)

    def exp(self) -> Self:
        return self._unary(Unary.EXP)

    def expm1(self) -> Self:
        return self._unary(Unary.EXPM1)

    def log(self) -> Self:
        return self._unary(Unary.LOG)

    def log1p(self) -> Self:
        return self._unary(Unary.LOG1P)

    def sqrt(self) -> Self:
        return self._unary(Unary.SQRT)

    def rsqrt(self) -> Self:
        return self._unary(Unary.RSQRT)

    def reciprocal(self) -> Self:
        return self._unary(Unary.RECIPROCAL)

    def sin(self) -> Self:
        return self._unary(Unary.SIN)

    def cos(self) -> Self:
        return self._unary(Unary.COS)

    def tanh(self) -> Self:
        return self._unary(Unary.TANH)

    def sigmoid(self) -> Self:
        return self._unary(Unary.SIGMOID)

    def erf(self) -> Self:
        return self._unary(Unary.ERF)

    def floor(self) -> Self:
        return self._unary(Unary.FLOOR)

    def ceil(self) -> Self:
        return self._unary(Unary.CEIL)

    def round(self) -> Self:
        return self._unary(Unary.ROUND)

    def trunc(self) -> Self:
        return self._unary(Unary.TRUNC)

    def isnan(self) -> Self:
        return self._unary(Unary.ISNAN)

    def isinf(self) -> Self:
        return self._unary(Unary.ISINF)

    def isfinite(self) -> Self:
        return self._unary(Unary.ISFINITE)

    def logical_not(self) -> Self:
        return self._unary(Unary.LOGICAL_NOT)

    def maximum(self, other: Any) -> Self:
        return self._binary(Binary.MAXIMUM, other)

    def minimum(self, other: Any) -> Self:
        return self._binary(Binary.MINIMUM, other)

    def atan2(self, other: Any) -> Self:
        return self._binary(Binary.ATAN2, other)

    def relu_grad(self, y: Any) -> Self:
        """self where y > 0, else 0: the gradient rule of relu."""
        return self._binary(Binary.RELU_GRAD, y)

    def equal(self, other: Any) -> Self:
        return self._binary(Binary.EQUAL, other)

    def logical_and(self, other: Any) -> Self:
        return self._binary(Binary.LOGICAL_AND, other)

    def logical_or(self, other: Any) -> Self:
        return self._binary(Binary.LOGICAL_OR, other)

    def logical_xor(self, other: Any) -> Self:
        return self._binary(Binary.LOGICAL_XOR, other)

"""The elementwise functions and reductions that every backend computes, as numbers shared with native code.

`include/needle/functors.h` repeats the numbers; `tests/test_kinds.py` holds the two lists together.
"""

from enum import IntEnum


class Kind(IntEnum):
    """An IntEnum that hashes as fast as an int: kinds are keys of the dispatch cache."""

    __hash__ = int.__hash__

    @property
    def op(self) -> str:
        """The name that users see in errors and reports: `Binary.LESS_EQUAL.op == "less_equal"`."""
        return self.name.lower()


class Unary(Kind):
    """y = f(x). The float functions take floats; NEG to SIGN any number; the last rows give bool."""

    NEG = 0
    ABS = 1
    SQUARE = 2
    SIGN = 3
    RELU = 4
    EXP = 5
    EXPM1 = 6
    LOG = 7
    LOG1P = 8
    SQRT = 9
    RSQRT = 10
    RECIPROCAL = 11
    SIN = 12
    COS = 13
    TANH = 14
    SIGMOID = 15
    ERF = 16
    FLOOR = 17
    CEIL = 18
    ROUND = 19  # half to even
    TRUNC = 20
    LOGICAL_NOT = 21  # bool -> bool
    BITWISE_NOT = 22  # ints and bool
    ISNAN = 23  # float -> bool
    ISINF = 24
    ISFINITE = 25
    SOFTPLUS = 26  # log(1 + exp(x))


class Binary(Kind):
    """y = f(a, b), elementwise on operands of one shape and one dtype."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3  # floats
    POW = 4  # IEEE 754's pow: (-inf) ** 0.5 is inf, and (-0.0) ** 0.5 is 0.0
    MAXIMUM = 5  # NaN wins, as in NumPy
    MINIMUM = 6
    FLOOR_DIVIDE = 7  # rounds to minus infinity
    REMAINDER = 8  # has the sign of the divisor
    ATAN2 = 9
    RELU_GRAD = 10  # a where b > 0, else 0
    EQUAL = 11  # any dtype -> bool, to GREATER_EQUAL
    NOT_EQUAL = 12
    LESS = 13
    LESS_EQUAL = 14
    GREATER = 15
    GREATER_EQUAL = 16
    LOGICAL_AND = 17  # bool -> bool
    LOGICAL_OR = 18
    LOGICAL_XOR = 19
    BITWISE_AND = 20  # ints and bool
    BITWISE_OR = 21
    BITWISE_XOR = 22
    SHIFT_LEFT = 23
    SHIFT_RIGHT = 24  # arithmetic


class Reduce(Kind):
    """y = f over the last axis. SUM and PROD keep the dtype; halves accumulate in float32."""

    SUM = 0
    PROD = 1
    MAX = 2  # NaN wins; of nothing: the smallest value of the dtype
    MIN = 3


class Pool(Kind):
    """What becomes of a window of an image."""

    MAX = 0  # padding never wins
    MEAN = 1  # over the whole window, zeros of the padding included

    @property
    def op(self) -> str:
        """Unlike the reductions of these names: "max_pool", "mean_pool"."""
        return f"{self.name.lower()}_pool"


class Random(Kind):
    """What a generator's bits are turned into; all from Philox4x32-10, see `philox.py`."""

    BITS = 0  # int32: the raw words
    UNIFORM = 1  # float32 in [0, 1): the upper 24 bits of a word
    NORMAL = 2  # float32, mean 0, variance 1: Box-Muller on pairs of words


ROUNDING = frozenset({Unary.FLOOR, Unary.CEIL, Unary.ROUND, Unary.TRUNC})  # ints stay as they are
PREDICATES = frozenset({Unary.ISNAN, Unary.ISINF, Unary.ISFINITE, Unary.LOGICAL_NOT})  # bool results
COMPARISONS = frozenset(
    {Binary.EQUAL, Binary.NOT_EQUAL, Binary.LESS, Binary.LESS_EQUAL, Binary.GREATER, Binary.GREATER_EQUAL}
)
LOGICAL = frozenset({Binary.LOGICAL_AND, Binary.LOGICAL_OR, Binary.LOGICAL_XOR})
BITWISE = frozenset({Binary.BITWISE_AND, Binary.BITWISE_OR, Binary.BITWISE_XOR, Binary.SHIFT_LEFT, Binary.SHIFT_RIGHT})
FLOAT_ONLY = frozenset(
    {
        Unary.EXP, Unary.EXPM1, Unary.LOG, Unary.LOG1P, Unary.SQRT, Unary.RSQRT, Unary.RECIPROCAL, Unary.SIN,
        Unary.COS, Unary.TANH, Unary.SIGMOID, Unary.ERF, Unary.SOFTPLUS, Unary.ISNAN, Unary.ISINF, Unary.ISFINITE,
    }
)  # fmt: skip

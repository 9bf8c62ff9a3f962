"""Functions of an operand and a number, on either side: the number is no operand and takes the operand's dtype."""

import operator as op
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from needle_conformance.case import Case
from needle_conformance.cases.pairwise import power
from needle_conformance.inputs import Input, anything, floats, integers, numbers

_LAYOUTS = ("compact", "permuted", "sliced", "scalar", "empty", "special")  # kernels are tried in more
_NEAR_ZERO = {"float32": 1e-7, "float16": 1e-3, "bfloat16": 1e-2}  # the number is rounded to the operand's dtype


def _both(
    name: str, function: Callable[..., Any], x: Input, scalars: Sequence[float], expected: Any = None, **row: Any
) -> list[Case]:
    """x with a number, and a number with x."""
    wanted = expected or function
    options = [{"c": c} for c in scalars]
    return [
        Case(lambda x, c: function(x, c), lambda x, c: wanted(x, _like(x, c)), [x], options, f"{name}_scalar",
             layouts=_LAYOUTS, **row),
        Case(lambda x, c: function(c, x), lambda x, c: wanted(_like(x, c), x), [x], options, f"scalar_{name}",
             layouts=_LAYOUTS, **row),
    ]  # fmt: skip


def _like(x: Any, c: float) -> Any:
    """The number as an array of x's type, as NumPy would otherwise widen it, or refuse it."""
    return np.asarray(c, x.dtype)


def _maximum(x: Any, c: Any) -> Any:
    return x.maximum(c) if hasattr(x, "maximum") else c.maximum(x)


def _minimum(x: Any, c: Any) -> Any:
    return x.minimum(c) if hasattr(x, "minimum") else c.minimum(x)


_GRID = numbers(step=0.5)  # floats away from multiples of 1/2
_DIVISOR = numbers(low=0.625, high=3.625, step=1)  # 1.125, 2.125, 3.125; ints 1 to 3
_FEW = anything(low=-2.5, high=2.5, step=1.0)

ARITHMETIC = [
    *_both("add", op.add, numbers(), [3]),
    *_both("add_float", op.add, floats(), [0.3, -2.5], atol=_NEAR_ZERO),
    *_both("subtract", op.sub, numbers(), [2]),
    *_both("multiply", op.mul, numbers(), [3]),
    *_both("multiply_float", op.mul, floats(), [0.3, 0.0]),
    *_both("divide", op.truediv, numbers(low=1, high=3), [4], gives="float"),
    *_both("maximum", _maximum, _GRID, [1], np.maximum),
    *_both("minimum", _minimum, _GRID, [1], np.minimum),
    *_both("floor_divide", op.floordiv, _DIVISOR, [2], orders=0),
    *_both("remainder", op.mod, _DIVISOR, [2]),
    *_both("power", op.pow, numbers(low=0.5, high=3), [2, 3], power),
    # C and NumPy disagree about the root of minus infinity, so no edge values here.
    *_both("power_float", op.pow, floats(low=0.5, high=3), [0.5, 2.0, 1.0, 0.0], special=False),
]

TESTS = [
    *_both("equal", op.eq, _FEW, [1], gives="bool", orders=0),
    *_both("not_equal", op.ne, _FEW, [1], gives="bool", orders=0),
    *_both("less", op.lt, _FEW, [1], gives="bool", orders=0),
    *_both("less_equal", op.le, _FEW, [1], gives="bool", orders=0),
    *_both("greater", op.gt, _FEW, [1], gives="bool", orders=0),
    *_both("greater_equal", op.ge, _FEW, [1], gives="bool", orders=0),
    *_both("bitwise_and", op.and_, integers(), [85], orders=0),
    *_both("bitwise_or", op.or_, integers(), [85], orders=0),
    *_both("bitwise_xor", op.xor, integers(), [85], orders=0),
    Case(lambda x, c: x << c, lambda x, c: x << _like(x, c), [integers()], [{"c": 3}], "shift_left_scalar", orders=0),
    Case(lambda x, c: x >> c, lambda x, c: x >> _like(x, c), [integers()], [{"c": 3}], "shift_right_scalar", orders=0),
]

CASES = [*ARITHMETIC, *TESTS]

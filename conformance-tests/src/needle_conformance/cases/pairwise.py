"""Functions of two operands, elementwise: arithmetic, comparisons, logic, bits; and selection."""

from typing import Any

import numpy as np

import needle as ndl
from needle_conformance.case import Case
from needle_conformance.inputs import anything, bits, bools, floats, integers, nonzero, numbers

# Two grids of floats that never meet, for functions that have a kink where the operands are equal.
_ODD, _EVEN = anything(step=0.5), anything(low=-3.25, high=3.25, step=0.5)
_FEW = anything(low=-2.5, high=2.5, step=1.0)  # -2, -1, 0, 1, 2: many are equal


def power(a: Any, b: Any) -> Any:
    """a ** b; of ints and a negative b, 1 / a ** -b rounded to 0, and 0 for 0."""
    if a.dtype.kind == "f":
        return np.power(a, b)
    odd = (b & 1).astype(bool)
    inverse = np.select([a == 1, (a == -1) & odd, a == -1], [1, -1, 1], 0)
    return np.where(b < 0, inverse.astype(a.dtype), np.power(a, np.maximum(b, 0)))


def _shifted_left(a: Any, b: Any) -> Any:
    inside = (b >= 0) & (b < 8 * a.itemsize)
    return np.where(inside, np.left_shift(a, np.where(inside, b, 0)), 0)


def _shifted_right(a: Any, b: Any) -> Any:
    inside = (b >= 0) & (b < 8 * a.itemsize)
    return np.where(inside, np.right_shift(a, np.where(inside, b, 0)), np.where(a < 0, -1, 0))


ARITHMETIC = [
    Case(ndl.add, np.add, [numbers(), numbers()]),
    Case(ndl.subtract, np.subtract, [numbers(), numbers()]),
    Case(ndl.multiply, np.multiply, [numbers(), numbers()], signed_zero=True),
    Case(ndl.divide, np.divide, [anything(), anything(step=0.25)], gives="float", signed_zero=True),
    Case(ndl.power, power, [numbers(low=0.25, high=4.0), numbers()]),
    Case(ndl.maximum, np.maximum, [_ODD, _EVEN]),
    Case(ndl.minimum, np.minimum, [_ODD, _EVEN]),
    Case(ndl.floor_divide, np.floor_divide, [numbers(step=0.5), numbers(low=0.5, high=3.5, step=1)], orders=0),
    Case(ndl.remainder, np.remainder, [numbers(step=0.5), numbers(low=0.5, high=3.5, step=1)]),
    Case(ndl.atan2, np.arctan2, [anything(step=0.25), anything(step=0.25)], gives="float", signed_zero=True),
    Case(lambda g, y: g.relu_grad(y), lambda g, y: np.where(y > 0, g, 0), [numbers(), numbers(step=0.25)],
         name="relu_grad"),
]  # fmt: skip

TESTS = [
    Case(ndl.equal, np.equal, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.not_equal, np.not_equal, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.less, np.less, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.less_equal, np.less_equal, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.greater, np.greater, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.greater_equal, np.greater_equal, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.logical_and, np.logical_and, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.logical_or, np.logical_or, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.logical_xor, np.logical_xor, [_FEW, _FEW], gives="bool", orders=0),
    Case(ndl.bitwise_and, np.bitwise_and, [bits(), bits()], orders=0),
    Case(ndl.bitwise_or, np.bitwise_or, [bits(), bits()], orders=0),
    Case(ndl.bitwise_xor, np.bitwise_xor, [bits(), bits()], orders=0),
    Case(ndl.bitwise_left_shift, _shifted_left, [integers(), integers(low=0, high=7)], orders=0),
    Case(ndl.bitwise_right_shift, _shifted_right, [integers(), integers(low=0, high=7)], orders=0),
]

SELECTION = [
    Case(ndl.where, np.where, [bools(), anything(), anything()], special=False),
    Case(lambda c, x: ndl.where(c, x, 2), lambda c, x: np.where(c, x, x.dtype.type(2)), [bools(), numbers()],
         name="where_scalar"),
    Case(lambda c, x: ndl.where(c, 0.5, x), lambda c, x: np.where(c, 0.5, x), [bools(), floats()],
         name="where_scalar_first"),
    Case(ndl.broadcast_tensors, np.broadcast_arrays, [nonzero(), nonzero()], special=False),
]  # fmt: skip

CASES = [*ARITHMETIC, *TESTS, *SELECTION]

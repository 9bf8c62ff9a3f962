"""Functions of one operand, elementwise; casts."""

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np

import needle as ndl
from needle.dtype import DTYPES
from needle_conformance.case import Case
from needle_conformance.inputs import BOOLS, FLOATS, INTS, Input, anything, bits, floats, nonzero, numbers

_KINKED = Input(step=0.25, categories=(FLOATS, INTS))  # floats that are away from integers and halves


def _of_floats(rounding: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Rounding leaves ints as they are, however large."""
    return lambda x: rounding(x) if x.dtype.kind == "f" else x


UNARY = [
    Case(ndl.negative, np.negative, [numbers()], signed_zero=True),
    Case(ndl.abs, np.abs, [_KINKED], signed_zero=True),
    Case(ndl.square, np.square, [numbers()]),
    Case(ndl.sign, np.sign, [_KINKED], orders=0),
    Case(ndl.relu, lambda x: np.maximum(x, 0), [_KINKED]),
    Case(ndl.exp, np.exp, [anything()], gives="float"),
    Case(ndl.expm1, np.expm1, [anything()], gives="float", signed_zero=True),
    Case(ndl.log, np.log, [anything(low=0.25, high=4)], gives="float"),
    Case(ndl.log1p, np.log1p, [anything(low=-0.75, high=4)], gives="float", signed_zero=True),
    Case(ndl.sqrt, np.sqrt, [anything(low=0.25, high=4)], gives="float", signed_zero=True),
    Case(ndl.rsqrt, lambda x: 1 / np.sqrt(x), [anything(low=0.25, high=4)], gives="float"),
    Case(ndl.reciprocal, lambda x: 1 / x, [anything(step=0.25)], gives="float"),
    Case(ndl.sin, np.sin, [anything()], gives="float", signed_zero=True),
    Case(ndl.cos, np.cos, [anything()], gives="float"),
    Case(ndl.tanh, np.tanh, [anything()], gives="float", signed_zero=True),
    Case(ndl.sigmoid, lambda x: 1 / (1 + np.exp(-x)), [anything()], gives="float"),
    Case(ndl.erf, np.vectorize(erf, otypes="d"), [anything()], gives="float", signed_zero=True),
    Case(ndl.floor, _of_floats(np.floor), [_KINKED], orders=0, exact=True, signed_zero=True),
    Case(ndl.ceil, _of_floats(np.ceil), [_KINKED], orders=0, exact=True, signed_zero=True),
    Case(ndl.round, _of_floats(np.rint), [_KINKED], orders=0, exact=True, signed_zero=True),
    Case(ndl.trunc, _of_floats(np.trunc), [_KINKED], orders=0, exact=True, signed_zero=True),
    Case(ndl.logical_not, np.logical_not, [anything()], gives="bool", orders=0),
    Case(ndl.bitwise_not, np.invert, [bits()], orders=0),
    Case(ndl.isnan, np.isnan, [anything()], gives="bool", orders=0),
    Case(ndl.isinf, np.isinf, [anything()], gives="bool", orders=0),
    Case(ndl.isfinite, np.isfinite, [anything()], gives="bool", orders=0),
]  # fmt: skip

# Compositions of the above, and functions whose operand is changed by numbers alone.
COMPOSED = [
    Case(ndl.clip, lambda x, low, high: np.clip(x, low, high), [nonzero()],
         options=[{"low": -1.0, "high": 1.5}, {"low": None, "high": 0.5}, {"low": 0.0, "high": None}]),
    Case(lambda x: +x, lambda x: x, [numbers()], name="positive"),
    Case(lambda x: x * x.tanh() + x.exp(), lambda x: x * np.tanh(x) + np.exp(x), [floats()], name="expression",
         special=False, rtol={"float16": 8e-3, "bfloat16": 6e-2}, atol={"float16": 4e-3, "bfloat16": 3e-2}),
]  # fmt: skip


def _cast(target: str) -> Case:
    """To one dtype from every other. Values are in the range of all, beyond which a float becomes no certain int."""
    orders = {"float64": 2, "float32": 1}.get(target, 0)  # narrower than differences can see
    return Case(
        lambda x: x.astype(target), lambda x: x != 0 if target == "bool" else np.asarray(x).astype(_wide(target)),
        [Input(low=0, high=100, categories=(FLOATS, INTS, BOOLS))],
        name=f"cast_to_{target}", gives=target, orders=orders, special=False, needs=[target], exact=True,
    )  # fmt: skip


def _wide(target: str) -> str:
    """Where NumPy has the rounded value of a float before it is compared."""
    return "float64" if "float" in target else target


CASTS = [_cast(str(target)) for target in DTYPES]

CASES = [*UNARY, *COMPOSED, *CASTS]

"""Functions that reduce some axes, and running sums."""

from collections.abc import Callable
from typing import Any

import numpy as np

import needle as ndl
from needle_conformance.case import Case, Options
from needle_conformance.inputs import Input, anything, distinct, floats, numbers, positive

AXES: tuple[Options, ...] = (
    {},
    {"axes": 0},
    {"axes": -1, "keepdims": True},
    {"axes": (0, 2)},
    {"axes": (1, -1), "keepdims": True},
    {"axes": ()},
)
ALONG: tuple[Options, ...] = ({}, {"axis": 0}, {"axis": -1}, {"axis": 1, "keepdims": True})

# Sums whose terms cancel are right to some units in the last place of the terms, not of the sum.
# Halves are summed in float32.
_TERMS = {"float64": 1e-13, "float32": 2e-5, "float16": 1e-4, "bfloat16": 1e-4}
_SQUARES = {"float64": 1e-14, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1.5e-1}  # deviations from a rounded mean


def over_axes(f: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy reduction with Needle's names of its arguments."""
    return lambda x, axes=None, keepdims=False, **rest: f(x, axis=axes, keepdims=keepdims, **rest)


def _logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    largest = np.max(x, axis=axis, keepdims=True)
    total = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return total if keepdims else np.sum(total, axis=axis)


def _argument(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axis=None, keepdims=False: f(x, axis=axis, keepdims=keepdims)


_CUBE = (3, 4, 5)
_FACTORS = Input(_CUBE, low=-2.5, high=2.5, step=1.0, categories=("float", "int"))  # -2, -1, 0, 1, 2

CASES = [
    Case(ndl.sum, over_axes(np.sum), [anything(*_CUBE)], AXES, gives="sum", atol=_TERMS),
    Case(ndl.sum, over_axes(np.sum), [anything(3, 0, 2)], AXES, "sum_of_none", gives="sum", orders=1),
    Case(ndl.sum, over_axes(np.sum), [positive(701, 307)], ({}, {"axes": 0}, {"axes": 1}), "sum_large",
         gives="sum", orders=0, rtol={"float32": 1e-4}),
    Case(ndl.prod, over_axes(np.prod), [positive(*_CUBE, low=0.7, high=1.4)], AXES, gives="sum",
         rtol={"float32": 2e-5, "float64": 1e-11}),
    Case(ndl.prod, over_axes(np.prod), [_FACTORS], AXES[1:3], "prod_with_zeros", gives="sum"),
    Case(ndl.prod, over_axes(np.prod), [anything(3, 0, 2)], AXES, "prod_of_none", gives="sum", orders=0),
    Case(ndl.max, over_axes(np.max), [distinct(*_CUBE)], AXES),
    Case(ndl.min, over_axes(np.min), [distinct(*_CUBE)], AXES),
    Case(ndl.max, over_axes(np.max), [distinct(2, 0, 3)], ({"axes": 0}, {"axes": (0, 2), "keepdims": True}),
         "max_of_rows_of_none", orders=0),
    Case(ndl.max, over_axes(np.max), [anything(503, 211)], ({}, {"axes": 0}, {"axes": 1}), "max_large", orders=0),
    Case(ndl.any, over_axes(np.any), [anything(*_CUBE)], AXES, gives="bool", orders=0),
    Case(ndl.all, over_axes(np.all), [anything(*_CUBE)], AXES, gives="bool", orders=0),
    Case(ndl.any, over_axes(np.any), [anything(3, 0, 2)], AXES, "any_of_none", gives="bool", orders=0),
    Case(ndl.all, over_axes(np.all), [anything(3, 0, 2)], AXES, "all_of_none", gives="bool", orders=0),
    Case(ndl.mean, over_axes(np.mean), [anything(*_CUBE)], AXES, gives="float", atol=_TERMS),
    Case(ndl.var, over_axes(np.var), [numbers(*_CUBE)], AXES, gives="float", atol=_SQUARES),
    Case(ndl.var, over_axes(np.var), [floats(*_CUBE)], ({"correction": 1}, {"axes": (0, 1), "correction": 1}),
         "var_corrected", atol=_SQUARES),
    Case(ndl.std, over_axes(np.std), [numbers(*_CUBE)], AXES[:5], gives="float",
         atol=_SQUARES, rtol={"float32": 1e-5, "float16": 8e-3, "bfloat16": 6e-2}),
    Case(ndl.argmax, _argument(np.argmax), [distinct(*_CUBE)], ALONG, gives="index", orders=0),
    Case(ndl.argmin, _argument(np.argmin), [distinct(*_CUBE)], ALONG, gives="index", orders=0),
    Case(ndl.argmax, _argument(np.argmax), [anything(*_CUBE)], ALONG, "argmax_first", gives="index", orders=0),
    Case(ndl.argmin, _argument(np.argmin), [anything(*_CUBE)], ALONG, "argmin_first", gives="index", orders=0),
    Case(ndl.cumsum, lambda x, axis: np.cumsum(x, axis), [anything(*_CUBE)], ALONG[1:3], gives="sum", atol=_TERMS),
    Case(ndl.cumsum, lambda x, axis: np.cumsum(x, axis), [positive(7, 4001)], ALONG[2:3], "cumsum_large",
         gives="sum", orders=0, rtol={"float32": 1e-4}),
    Case(ndl.logsumexp, over_axes(_logsumexp), [numbers(*_CUBE)], AXES, gives="float",
         atol={"float64": 1e-13, "float32": 1e-6, "float16": 8e-3, "bfloat16": 6e-2}),
]  # fmt: skip

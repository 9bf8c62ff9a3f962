"""Softmax and its like, and the loss that is made of them."""

from typing import Any

import numpy as np

import needle as ndl
from needle_conformance.case import Case, Options
from needle_conformance.inputs import Input, floats, indices, numbers

_ALONG: tuple[Options, ...] = ({}, {"axis": 0}, {"axis": 1})
_CUBE = (3, 4, 5)
_SUMS = {"float32": 1e-5, "float64": 1e-11, "float16": 4e-3, "bfloat16": 3e-2}  # of exponentials, and rounded again
_LOGS = {"float64": 1e-13, "float32": 2e-6, "float16": 8e-3, "bfloat16": 6e-2}


def _log_softmax(x: Any, axis: int = -1) -> Any:
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _softmax(x: Any, axis: int = -1) -> Any:
    return np.exp(_log_softmax(x, axis))


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return -_log_softmax(logits)[np.arange(len(labels)), labels].mean()


CASES = [
    Case(ndl.softmax, _softmax, [numbers(*_CUBE)], _ALONG, gives="float", rtol=_SUMS),
    Case(ndl.softmax, _softmax, [numbers(3, 0)], ({}, {"axis": 0}), "softmax_none", gives="float"),
    Case(ndl.softmax, _softmax, [Input((4, 1), -80, 80)], name="softmax_one", orders=0),
    Case(ndl.softmax, _softmax, [floats(3, 6, low=-90, high=90)], name="softmax_far", orders=0, rtol=_SUMS),
    Case(ndl.softmax, _softmax, [floats(101, 1003)], name="softmax_large", orders=0,
         rtol={"float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}),
    Case(ndl.log_softmax, _log_softmax, [numbers(*_CUBE)], _ALONG, gives="float", rtol=_SUMS, atol=_LOGS),
    Case(ndl.log_softmax, _log_softmax, [floats(101, 1003)], name="log_softmax_large", orders=0, rtol=_SUMS,
         atol=_LOGS),
    Case(ndl.cross_entropy, _cross_entropy, [floats(5, 4), indices(4, 5)], rtol=_SUMS, atol=_LOGS),
    Case(ndl.cross_entropy, _cross_entropy, [floats(5, 4), indices(4, 5, dtype="int64")], name="cross_entropy_int64",
         rtol=_SUMS, atol=_LOGS),
    Case(ndl.cross_entropy, _cross_entropy, [floats(257, 103), indices(103, 257)], name="cross_entropy_large",
         orders=0, rtol=_SUMS, atol=_LOGS),
]  # fmt: skip

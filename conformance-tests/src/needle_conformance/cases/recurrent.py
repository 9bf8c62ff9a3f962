"""Recurrent layers: a walk through a sequence as one op."""

from typing import Any

import numpy as np

import needle as ndl
from needle.tensor import Tensor
from needle_conformance.case import Case
from needle_conformance.inputs import floats

_STEPS = {"float64": 1e-12, "float32": 2e-5, "float16": 1e-2, "bfloat16": 8e-2}  # errors of a step go into the next


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _lstm(inputs: Any, h: Any, c: Any, weight: Any, bias: Any) -> Any:
    """h of all times, and the last c below them."""
    hidden = []
    for given in inputs:
        i, f, g, o = np.split(given + h @ weight + bias, 4, axis=-1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        hidden.append(h)
    return np.stack([*hidden, c])


def _both(*inputs: Tensor) -> Tensor:
    hidden, c = ndl.lstm(*inputs)
    return ndl.concatenate([hidden, c.expand_dims(0)])


def _sizes(steps: int, batch: int, n: int) -> list[Any]:
    return [floats(steps, batch, 4 * n), floats(batch, n), floats(batch, n), floats(n, 4 * n), floats(4 * n)]


CASES = [
    Case(_both, _lstm, _sizes(3, 2, 2), name="lstm", special=False, rtol=_STEPS, atol=_STEPS),
    Case(_both, _lstm, _sizes(1, 1, 1), name="lstm_one", special=False, rtol=_STEPS, atol=_STEPS),
    Case(_both, _lstm, _sizes(4, 5, 33), name="lstm_large", special=False, orders=0, rtol=_STEPS, atol=_STEPS),
    Case(lambda *x: ndl.lstm(*x)[0], lambda *x: _lstm(*x)[:-1], _sizes(2, 2, 1), name="lstm_hidden", special=False,
         rtol=_STEPS, atol=_STEPS),
    Case(lambda *x: ndl.lstm(*x)[1], lambda *x: _lstm(*x)[-1], _sizes(2, 2, 1), name="lstm_cell", special=False,
         rtol=_STEPS, atol=_STEPS),
]  # fmt: skip

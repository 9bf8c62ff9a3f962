"""The float32 functions that are written out in float_math.h: within 2 ulp of the exact value, special values exact."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twins import CPU, result, twin

from needle.kinds import Unary

EXACT: dict[Unary, Callable[[Any], Any]] = {
    Unary.EXP: np.exp,
    Unary.EXPM1: np.expm1,
    Unary.LOG: np.log,
    Unary.LOG1P: np.log1p,
    Unary.TANH: np.tanh,
    Unary.SIGMOID: lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    Unary.ERF: np.vectorize(math.erf, otypes=[float]),
    Unary.SIN: np.sin,
    Unary.COS: np.cos,
}
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.2e-38, 3.4e38, -3.4e38, 88.7, 88.8], np.float32
)


def arguments(kind: Unary) -> Any:
    """Floats of every magnitude, and densely where the function changes."""
    every = np.arange(0, 2**32, 20_011, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = np.concatenate([np.linspace(-110, 110, 150_001), np.linspace(-2, 2, 150_001)]).astype(np.float32)
    x = np.concatenate([every, dense, SPECIAL])
    if kind in (Unary.SIN, Unary.COS):
        zeros = (np.arange(-7000, 7000) * (np.pi / 2)).astype(np.float32)
        return np.concatenate([x, zeros])
    return x


@pytest.mark.parametrize("kind", EXACT)
def test_within_two_ulp(kind: Unary) -> None:
    x = arguments(kind)
    out = result(x.shape, "float32")
    CPU.unary(kind, out.cpu, twin(x, "float32").cpu)
    found = out.numpy(CPU)
    with np.errstate(all="ignore"):
        exact = EXACT[kind](x.astype(np.float64))
        rounded = exact.astype(np.float32)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(found[~finite], rounded[~finite])
        ulp = np.abs(found - exact)[finite] / np.spacing(np.abs(rounded[finite]))
    assert ulp.max() <= 2.0, (x[finite][ulp.argmax()], ulp.max())
    assert (np.signbit(found) == np.signbit(rounded))[x == 0].all()

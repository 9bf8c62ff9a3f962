"""Arrays made from nothing: constants, and random numbers, which are the same on every device."""

from typing import Any

import numpy as np

import needle as ndl
from needle import philox
from needle_conformance.case import Case
from needle_conformance.inputs import FLOATS, INTS, Input, anything, numbers

SEED = 0x9E3779B97F4A7C15


_SHAPES = ("compact", "scalar", "one", "empty", "large")


def _where(x: Any) -> dict[str, Any]:
    return {"device": x.device, "dtype": x.dtype}


CONSTANTS = [
    Case(lambda x: ndl.zeros(x.shape, **_where(x)), np.zeros_like, [anything()], name="zeros", orders=0,
         layouts=_SHAPES),
    Case(lambda x: ndl.ones(x.shape, **_where(x)), np.ones_like, [anything()], name="ones", orders=0, layouts=_SHAPES),
    Case(lambda x: ndl.full(x.shape, 2, **_where(x)), lambda x: np.full_like(x, 2), [numbers()], name="full", orders=0,
         layouts=_SHAPES),
    Case(ndl.zeros_like, np.zeros_like, [anything()], orders=0, layouts=_SHAPES),
    Case(ndl.ones_like, np.ones_like, [anything()], orders=0, layouts=_SHAPES),
    Case(lambda x: ndl.arange(2, 17, 3, **_where(x)), lambda x: np.arange(2, 17, 3), [numbers(2, 2)], name="arange",
         orders=0),
    Case(lambda x: ndl.linspace(-1, 1, 9, **_where(x)), lambda x: np.linspace(-1, 1, 9), [Input((2, 2))],
         name="linspace", orders=0),
    Case(lambda x: ndl.eye(3, **_where(x)), lambda x: np.eye(3), [anything(2, 2)], name="eye", orders=0),
    Case(lambda x: ndl.empty(x.shape, **_where(x)) * 0 + x, lambda x: x,
         [Input(categories=(INTS,))], name="empty", orders=0, layouts=_SHAPES),
]  # fmt: skip


def _generated(draw: Any) -> Any:
    return lambda x: draw(x.shape, device=x.device, generator=ndl.Generator(SEED))


_ANY = Input(categories=(FLOATS,), dtype="float32")

RANDOM = [
    Case(_generated(ndl.rand), lambda x: philox.uniform(SEED, 0, x.size).reshape(x.shape), [_ANY], name="rand",
         orders=0, layouts=_SHAPES, exact=True),
    Case(_generated(ndl.randn), lambda x: philox.normal(SEED, 0, x.size).reshape(x.shape), [_ANY], name="randn",
         orders=0, layouts=_SHAPES, exact=True),
    Case(_generated(ndl.randb), lambda x: philox.uniform(SEED, 0, x.size).reshape(x.shape) <= np.float32(0.5), [_ANY],
         name="randb", gives="bool", orders=0, layouts=_SHAPES),
    Case(lambda x: ndl.randint(-3, 7, x.shape, device=x.device, generator=ndl.Generator(SEED)),
         lambda x: philox.bits(SEED, 0, x.size).reshape(x.shape) % 10 - 3, [_ANY], name="randint", gives="int32",
         orders=0, layouts=_SHAPES),
    Case(lambda x: ndl.Tensor(ndl.Generator(SEED).bits(x.shape, x.device)),
         lambda x: philox.bits(SEED, 0, x.size).reshape(x.shape), [_ANY], name="random_bits", gives="int32", orders=0,
         layouts=_SHAPES),
]  # fmt: skip

CASES = [*CONSTANTS, *RANDOM]

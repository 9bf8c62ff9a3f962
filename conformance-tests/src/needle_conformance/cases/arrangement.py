"""Functions that put elements in other places: sorting, padding, masks, einsum; and compositions with a curve."""

from math import erf
from typing import Any

import numpy as np

import needle as ndl
from needle_conformance.case import Case, Options
from needle_conformance.inputs import anything, bools, distinct, floats, indices, numbers

_AXES: tuple[Options, ...] = ({}, {"descending": True}, {"axis": 0}, {"axis": 1, "descending": True})


def _argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """By ranks, in which equal elements are equal."""
    ranks = np.unique(x, return_inverse=True)[1].reshape(x.shape)
    return np.argsort(-ranks if descending else ranks, axis=axis, kind="stable")


def _sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    return np.take_along_axis(x, _argsort(x, axis, descending), axis)


def _top(x: Any, k: int, axis: int = -1, largest: bool = True) -> Any:
    return np.take(_sort(x, axis, largest), range(k), axis)


_TOPS: list[Options] = [{"k": 2}, {"k": 3, "axis": 0, "largest": False}, {"k": 0}]

SORTS = [
    Case(lambda x, descending: x.argsort(descending), lambda x, descending: _argsort(x, -1, descending),
         [anything(3, 4, 5)], [{"descending": False}, {"descending": True}], "argsort_rows", gives="index", orders=0),
    Case(ndl.argsort, _argsort, [distinct(3, 4, 5)], _AXES, gives="index", orders=0),
    Case(ndl.argsort, _argsort, [anything(5, 103)], _AXES[:2], "argsort_large", gives="index", orders=0),
    Case(ndl.argsort, _argsort, [anything(3, 0)], _AXES[:3], "argsort_none", gives="index", orders=0),
    Case(ndl.sort, _sort, [distinct(3, 4)], _AXES),
    Case(lambda x, **options: ndl.topk(x, **options)[0], _top, [distinct(3, 4)], _TOPS, "topk"),
    Case(lambda x, k: ndl.topk(x, k)[1], lambda x, k: _argsort(x, -1, True)[..., :k], [anything(3, 4)], [{"k": 3}],
         "topk_positions", gives="index", orders=0),
]  # fmt: skip


def _padded(x: Any, widths: Any, value: float = 0) -> Any:
    return np.pad(x, widths, constant_values=value)


def _dilated(x: Any, axes: Any, dilation: int) -> Any:
    out = np.zeros([n * (dilation + 1) if a in axes else n for a, n in enumerate(x.shape)], x.dtype)
    out[tuple(slice(None, None, dilation + 1 if a in axes else 1) for a in range(x.ndim))] = x
    return out


_DILATION: list[Options] = [{"axes": (0, 1), "dilation": 1}, {"axes": (1,), "dilation": 2}]

PLACES = [
    Case(ndl.pad, _padded, [numbers(2, 3)],
         [{"widths": ((1, 0), (2, 1))}, {"widths": ((0, 1), (0, 2)), "value": 1}, {"widths": ((0, 0), (0, 0))}]),
    Case(ndl.dilate, _dilated, [anything(2, 3)], _DILATION),
    Case(ndl.undilate, lambda x, axes, dilation: x[::2, ::2], [anything(4, 3)], _DILATION[:1]),
    Case(ndl.masked_fill, lambda x, mask, value: np.where(mask, value, x), [numbers(), bools()], [{"value": 2}]),
    Case(ndl.embedding, lambda ids, weight: weight[ids], [indices(4, 2, 3), floats(4, 3)]),
]  # fmt: skip

_PRODUCTS = {"float64": 1e-13, "float32": 2e-5, "float16": 2e-2, "bfloat16": 1.5e-1}


def _einsum(name: str, equation: str, *shapes: tuple[int, ...]) -> Case:
    return Case(lambda *operands: ndl.einsum(equation, *operands), lambda *operands: np.einsum(equation, *operands),
                [floats(*shape) for shape in shapes], name=f"einsum{name}", atol=_PRODUCTS)  # fmt: skip


SUMS = [
    _einsum("", "bij,bjk->bik", (2, 3, 2), (2, 2, 3)),
    _einsum("_outer", "i,jk->kij", (3,), (2, 4)),
    _einsum("_ellipsis", "...ij,kj->...ki", (2, 1, 3, 2), (4, 2)),
    _einsum("_diagonal", "iij->j", (3, 3, 2)),
    _einsum("_three", "ab,bc,ca->a", (2, 3), (3, 4), (4, 2)),
    _einsum("_implicit", "ij,jk", (2, 3), (3, 2)),
]


def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.reshape([erf(v / np.sqrt(2)) for v in np.ravel(x)], x.shape))


_CURVES = {"float64": 1e-14, "float32": 2e-6, "float16": 8e-3, "bfloat16": 6e-2}  # sums that cancel below 0

CURVES = [
    Case(ndl.gelu, _gelu, [floats()], [{}, {"approximate": "tanh"}], special=False, atol=_CURVES),
    Case(ndl.silu, lambda x: x / (1 + np.exp(-x)), [floats()], special=False, atol=_CURVES),
    Case(ndl.softplus, lambda x: np.logaddexp(x, 0), [floats(3, 4, low=-30, high=30)], name="softplus_far",
         rtol={"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}, atol=_CURVES),
]  # fmt: skip

CASES = [*SORTS, *PLACES, *SUMS, *CURVES]

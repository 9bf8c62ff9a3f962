"""Functions that only move elements: views, and what joins and cuts arrays."""

from typing import Any

import numpy as np

import needle as ndl
from needle_conformance.case import Case
from needle_conformance.inputs import anything

_CUBE = anything(3, 4, 5)

VIEWS = [
    Case(ndl.reshape, lambda x, shape: x.reshape(shape), [_CUBE],
         [{"shape": s} for s in ((60,), (5, 12), (-1, 2, 6), (3, 1, 4, 5), (3, 2, 2, 5))]),
    Case(ndl.reshape, lambda x, shape: x.reshape(shape), [anything(0, 3)], [{"shape": (3, 0, 2)}], "reshape_none"),
    Case(ndl.permute, np.transpose, [_CUBE], [{"axes": a} for a in ((2, 1, 0), (1, 0, 2), (0, -1, 1))]),
    Case(lambda x: x.T, np.transpose, [_CUBE], name="T"),
    Case(lambda x: x.mT, lambda x: x.swapaxes(-1, -2), [_CUBE], name="mT"),
    Case(lambda x, axes: x.transpose(axes), lambda x, axes: x.swapaxes(*(axes or (-2, -1))), [_CUBE],
         [{"axes": None}, {"axes": (0, 2)}], "transpose"),
    Case(ndl.broadcast_to, lambda x, shape: np.broadcast_to(x, shape), [anything(3, 1, 5)],
         [{"shape": s} for s in ((3, 4, 5), (2, 3, 4, 5), (3, 1, 5), (3, 0, 5))]),
    Case(ndl.flip, lambda x, axes=None: np.flip(x, axes), [_CUBE], ({}, {"axes": 1}, {"axes": (0, -1)})),
    Case(ndl.squeeze, lambda x, axes=None: np.squeeze(x, axes), [anything(1, 3, 1)], ({}, {"axes": 0}, {"axes": -1})),
    Case(ndl.expand_dims, np.expand_dims, [anything(3, 4)], [{"axis": a} for a in (0, 1, -1)]),
    Case(lambda x: x.contiguous(), lambda x: x, [_CUBE], name="contiguous"),
]  # fmt: skip

JOINED = [
    Case(lambda a, b, c, axis: ndl.concatenate([a, b, c], axis), lambda a, b, c, axis: np.concatenate([a, b, c], axis),
         [_CUBE, anything(3, 4, 5), anything(3, 4, 5)], [{"axis": a} for a in (0, 1, -1)], "concatenate"),
    Case(lambda a, b: ndl.concatenate([a, b], 1), lambda a, b: np.concatenate([a, b], 1),
         [anything(3, 2), anything(3, 0)], name="concatenate_none"),
    Case(lambda a, b, axis: ndl.stack([a, b], axis), lambda a, b, axis: np.stack([a, b], axis),
         [anything(3, 4), anything(3, 4)], [{"axis": a} for a in (0, 1, -1)], "stack"),
    Case(ndl.split, lambda x, sections, axis: np.split(x, sections, axis), [anything(6, 4)],
         [{"sections": 3, "axis": 0}, {"sections": 2, "axis": -1}]),
    Case(ndl.split, lambda x, sections, axis: np.split(x, np.cumsum(sections)[:-1], axis), [anything(6, 4)],
         [{"sections": (1, 3, 2), "axis": 0}], "split_at"),
]  # fmt: skip


def _assigned(x: Any, y: Any) -> Any:
    """Parts of a copy of x overwritten in place: strided targets, and a source that must be broadcast."""
    out = x.copy() if isinstance(x, np.ndarray) else ndl.Tensor(x.array.copy())
    out[1:, ::2] = y
    out[0, :, -1] = 1
    return out


WRITES = [
    Case(_assigned, _assigned, [_CUBE, anything(5)], name="assign", orders=0),
]

CASES = [*VIEWS, *JOINED, *WRITES]

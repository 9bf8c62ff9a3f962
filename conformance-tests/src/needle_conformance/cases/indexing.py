"""Elements by index: gather, scatter_add, and the keys of `x[key]`."""

from typing import Any

import numpy as np

import needle as ndl
from needle_conformance.case import Case
from needle_conformance.inputs import anything, indices, numbers

_TERMS = {"float32": 1e-5, "float16": 2e-2, "bfloat16": 1.5e-1}  # several terms are added in the operand's dtype


def _gathered(x: Any, index: Any, axis: int) -> Any:
    """Other axes of the index may be 1."""
    shape = tuple(index.shape[a] if a == axis else n for a, n in enumerate(x.shape))
    return np.take_along_axis(x, np.broadcast_to(index, shape).astype(np.int64), axis)


def _scatter_added(x: Any, index: Any, source: Any, axis: int) -> Any:
    shape = tuple(index.shape[a] if a == axis else n for a, n in enumerate(x.shape))
    at = list(np.indices(shape, sparse=True))
    at[axis] = np.broadcast_to(index, shape)
    out = x.copy()
    np.add.at(out, tuple(at), np.broadcast_to(source, shape))
    return out


GATHERS = [
    Case(ndl.gather, _gathered, [anything(4, 5, 3), indices(5, 4, 2, 3)], [{"axis": 1}]),
    Case(ndl.gather, _gathered, [anything(4, 5, 3), indices(4, 6, 5, 3, dtype="int64")], [{"axis": 0}], "gather_int64"),
    Case(ndl.gather, _gathered, [anything(4, 5, 3), indices(3, 1, 1, 7)], [{"axis": 2}], "gather_broadcast"),
    Case(ndl.gather, _gathered, [anything(4, 5), indices(4, 0, 5)], [{"axis": 0}], "gather_none"),
    Case(ndl.gather, _gathered, [anything(401, 31), indices(401, 211, 1)], [{"axis": 0}], "gather_rows", orders=0),
    Case(ndl.scatter_add, _scatter_added, [numbers(4, 5, 3), indices(5, 4, 7, 3), numbers(4, 7, 3)], [{"axis": 1}],
         atol=_TERMS),
    Case(ndl.scatter_add, _scatter_added, [numbers(4, 5), indices(4, 6, 1, dtype="int64"), numbers(6, 5)],
         [{"axis": 0}], "scatter_add_rows", atol=_TERMS),
    Case(ndl.scatter_add, _scatter_added, [numbers(4, 5), indices(4, 0, 5), numbers(0, 5)], [{"axis": 0}],
         "scatter_add_none"),
    Case(lambda i: ndl.one_hot(5, i), lambda i: np.eye(5)[i], [indices(5, 3, 4)], name="one_hot", gives="float32",
         orders=0),
]  # fmt: skip

_ROWS, _COLUMNS = np.array([[0, 2], [-1, 1]]), np.array([3, 0])
_MASK = np.array([[True, False, True, True], [False] * 4, [True, True, False, False]])

BASIC = [0, (-1, 2), (slice(None), 1), (..., -1), slice(1, None), slice(None, None, -2), (None, 0),
         (slice(2, 0, -1), slice(None), slice(0, 5, 2)), (0, 1, 2), (slice(1, 1),), (..., None), ()]  # fmt: skip
ADVANCED = [[0, 2, 2], _ROWS, (slice(None), _COLUMNS), (_ROWS, _COLUMNS), (_COLUMNS[1:], slice(None), [4, 4]),
            (0, slice(None), [1, 3]), _MASK, (1, [0, 0, 3], slice(None, None, 2)), np.array([], int)]  # fmt: skip


def _keyed(name: str, keys: list[Any]) -> Case:
    return Case(lambda x, key: x[key], lambda x, key: x[key], [anything(3, 4, 5)], [{"key": k} for k in keys], name)


def _assigned(x: Any, key: Any) -> Any:
    out = x.copy() if isinstance(x, np.ndarray) else ndl.Tensor(x.array.copy())
    out[key] = out[key][..., ::-1] if out[key].ndim else 1
    return out


KEYS = [
    _keyed("getitem", BASIC),
    _keyed("getitem_by_arrays", ADVANCED),
    Case(lambda x, i: x[i], lambda x, i: x[i], [anything(4, 3), indices(4, 2, 2)], name="getitem_by_tensor"),
    Case(_assigned, _assigned, [anything(3, 4, 5)], [{"key": k} for k in (*BASIC, *ADVANCED)], "setitem", orders=0),
]

CASES = [*GATHERS, *KEYS]

"""The primitives that work on rows: reductions, running sums, softmax and its like, and their gradients."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from needle.dtype import DTYPES, DType, as_dtype
from needle.kinds import Reduce
from needle.shape import Shape
from needle.testing import rounded
from needle_conformance.inputs import Input, anything, edges
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand
from needle_conformance.kernels.elementwise import TAILS, VIEWS, memory, result

FLOAT_TYPES = [d for d in DTYPES if d.is_float]
NUMBERS = [d for d in DTYPES if d.category != "bool"]
INDICES = [as_dtype("int32"), as_dtype("int64")]

LAYOUTS = (*VIEWS, "one_row", "one_column", "no_rows", "tails", "large", "long", "tall", "special")

# By layout: (rows, n) of the arrays to reduce; of other layouts, two axes of rows and two of elements.
_SIZES: dict[str, list[tuple[int, int]]] = {
    "one_row": [(1, 40)], "one_column": [(40, 1)], "no_rows": [(0, 5)], "large": [(211, 503)], "long": [(2, 50_021)],
    "tall": [(30_011, 3)], "tails": [(3, n) for n in TAILS],
}  # fmt: skip

# A sum of n terms is right to some units in the last place of the terms.
_MANY = {"float64": 1e-9, "float32": 2e-4, "float16": 1e-3, "bfloat16": 1e-3}


def drawn(trial: KernelTrial, x: Input) -> Iterator[tuple[Any, int, int]]:
    """The values to reduce, the number of rows, and of elements in each."""
    rng = trial.rng()
    if trial.layout == "special":
        yield from _special(trial.dtype)
        return
    for rows, n in _SIZES.get(trial.layout, [(12, 10)]):
        shape: Shape = (rows, n) if trial.layout in _SIZES else (3, 4, 2, 5)
        values = x.draw(rng, shape, trial.dtype)
        yield (np.broadcast_to(values[:1], shape) if trial.layout == "broadcast" else values), rows, n


def _special(dtype: DType) -> Iterator[tuple[Any, int, int]]:
    """Each edge value first, in the middle and last among ordinary ones, and all alike."""
    values = edges(dtype)
    rows = np.ones((4 * len(values), 9), values.dtype)
    for i, v in enumerate(values):
        rows[4 * i, 0] = rows[4 * i + 1, 4] = rows[4 * i + 2, -1] = rows[4 * i + 3, :] = v
    yield rows, len(rows), 9


def _reduce(kind: Reduce, x: Input, dtypes: list[DType], layouts: tuple[str, ...], **row: Any) -> Kernel:
    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for values, rows, n in drawn(trial, x):
            dst = result(values.shape[: values.ndim // 2], trial.dtype, trial.layout)
            yield [kind, dst, Operand(values, trial.dtype, memory(trial.layout)), rows, n]

    return Kernel(kind.op, "reduce", build, dtypes, layouts, **row)


def _reduce_none(trial: KernelTrial) -> Iterator[Arguments]:
    """Of no elements: the neutral ones."""
    for kind in Reduce:
        if trial.dtype.category != "bool" or kind in (Reduce.MAX, Reduce.MIN):
            yield [kind, result((3,), trial.dtype, trial.layout), Operand(np.ones((3, 0)), trial.dtype), 3, 0]


def _argmax(trial: KernelTrial) -> Iterator[Arguments]:
    """Few values, so that the first of several largest counts."""
    for values, rows, n in drawn(trial, anything(low=-2.5, high=2.5, step=1.0)):
        for index in trial.available(INDICES):
            dst = result(values.shape[: values.ndim // 2], index, trial.layout)
            yield [dst, Operand(values, trial.dtype, memory(trial.layout)), rows, n]


def _rowwise(x: Input, *others: Callable[[Any], Any]) -> Callable[[KernelTrial], Iterator[Arguments]]:
    """dst and x of one shape; the further operands are made from x's values."""

    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for values, rows, n in drawn(trial, x):
            more = [rounded(f(values), trial.dtype) for f in others]
            xs = [Operand(v, trial.dtype, memory(trial.layout)) for v in (values, *more)]
            yield [result(values.shape, trial.dtype, trial.layout), *xs, rows, n]

    return build


def _softmax_of(values: Any) -> Any:
    """The result y of a softmax, which gradient kernels are given beside the cotangent."""
    if not values.size:
        return values
    exponentials = np.exp(np.asarray(values, np.float64))
    axes = tuple(range(values.ndim // 2, values.ndim))
    return exponentials / exponentials.sum(axes, keepdims=True)


def _log_softmax_of(values: Any) -> Any:
    return np.log(_softmax_of(values)) if values.size else values


_SUMS = Input(low=0.25, high=2.0, categories=("float", "int"))
_FACTORS = Input(low=0.9, high=1.1, categories=("float", "int"))
_FLOATS = Input()
_ROWS = tuple(name for name in LAYOUTS if name not in ("special", "long"))
_EXPONENTIALS = {"float64": 1e-11, "float32": 5e-5, "float16": 4e-3, "bfloat16": 3e-2}
_NEAR = {"float64": 1e-12, "float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}
_SMALL = tuple(name for name in LAYOUTS if name not in ("special", "large", "long"))

KERNELS = [
    _reduce(Reduce.SUM, _SUMS, NUMBERS, LAYOUTS, rtol=_MANY | {"float16": 2e-3, "bfloat16": 1.6e-2}),
    _reduce(Reduce.PROD, _FACTORS, NUMBERS, _SMALL, rtol={"float64": 1e-11, "float32": 4e-5}),
    _reduce(Reduce.MAX, anything(low=-20, high=20), list(DTYPES), LAYOUTS, exact=True),
    _reduce(Reduce.MIN, anything(low=-20, high=20), list(DTYPES), LAYOUTS, exact=True),
    Kernel("reduce_none", "reduce", _reduce_none, DTYPES, ("compact", "offset"), exact=True),
    Kernel("argmax", "argmax", _argmax, DTYPES, LAYOUTS),
    Kernel("cumsum", "cumsum", _rowwise(_SUMS), NUMBERS, (*_SMALL, "large"), rtol=_MANY | {
        "float16": 2e-3, "bfloat16": 1.6e-2}),
    Kernel("softmax", "softmax", _rowwise(_FLOATS), FLOAT_TYPES, _ROWS, rtol=_EXPONENTIALS),
    Kernel("log_softmax", "log_softmax", _rowwise(_FLOATS), FLOAT_TYPES, _ROWS, rtol=_EXPONENTIALS,
           atol=_NEAR),
    Kernel("softmax_grad", "softmax_grad", _rowwise(_FLOATS, _softmax_of), FLOAT_TYPES, _ROWS,
           rtol=_EXPONENTIALS, atol=_NEAR),
    Kernel("log_softmax_grad", "log_softmax_grad", _rowwise(_FLOATS, _log_softmax_of), FLOAT_TYPES,
           _ROWS, rtol=_EXPONENTIALS, atol=_NEAR),
]  # fmt: skip

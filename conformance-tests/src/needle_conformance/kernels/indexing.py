"""The primitives that read and write by index, and the loss that does."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from needle.dtype import DTYPES
from needle.shape import Shape
from needle_conformance.inputs import anything, floats, indices, numbers
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand
from needle_conformance.kernels.elementwise import memory, result
from needle_conformance.kernels.rows import FLOAT_TYPES, INDICES, NUMBERS

_LAYOUTS = ("compact", "offset", "padded", "permuted", "sliced", "flipped", "empty", "sizes", "large", "table")

# By layout, (outer, n, inner) of the array and the number m of indices.
_SIZES: dict[str, list[tuple[int, int, int, int]]] = {
    "empty": [(0, 3, 2, 4), (2, 3, 0, 4), (2, 3, 2, 0)], "large": [(1, 257, 31, 499), (211, 17, 29, 19)],
    "table": [(1, 20_011, 1, 5), (3, 20_011, 1, 4)],
    "sizes": [(1, 7, 1, 9), (1, 1, 5, 3), (9, 4, 1, 1), (1, 5, 33, 17)],
}  # fmt: skip
_FEW = [(3, 5, 4, 6)]


def _cases(trial: KernelTrial) -> Iterator[tuple[Shape, Shape, Any]]:
    """The array's shape, that of the index, and the index: of its own values, and of one list for all."""
    rng = trial.rng()
    for outer, n, inner, m in _SIZES.get(trial.layout, _FEW):
        shape = (outer, m, inner)
        for dtype in trial.available(INDICES):
            values = indices(n, dtype=str(dtype)).draw(rng, shape, dtype)
            yield (outer, n, inner), shape, Operand(values, dtype, memory(trial.layout))
        if trial.layout in ("compact", "table"):
            yield (outer, n, inner), shape, Operand(np.broadcast_to(values[:1], shape), dtype, "broadcast")


def _gather(trial: KernelTrial) -> Iterator[Arguments]:
    rng = trial.rng()
    for whole, shape, index in _cases(trial):
        x = Operand(anything().draw(rng, whole, trial.dtype), trial.dtype, memory(trial.layout))
        yield [result(shape, trial.dtype, trial.layout), x, index]


def _scatter_add(trial: KernelTrial) -> Iterator[Arguments]:
    """Quarters, whose sums are exact in every float type."""
    rng = trial.rng()
    x = numbers(low=-1, high=1, step=0.5)
    for whole, shape, index in _cases(trial):
        dst = result(whole, trial.dtype, trial.layout)
        yield [dst, index, Operand(x.draw(rng, shape, trial.dtype), trial.dtype, memory(trial.layout))]


_LOSSES = ("compact", "offset", "padded", "permuted", "sliced", "one_row", "one_class", "large")
_CLASSES = {"one_row": (1, 7), "one_class": (5, 1), "large": (1009, 103)}


def _logits(trial: KernelTrial) -> Iterator[tuple[Any, Operand, Operand]]:
    rng = trial.rng()
    rows, n = _CLASSES.get(trial.layout, (9, 6))
    for dtype in trial.available(INDICES):
        labels = Operand(indices(n, dtype=str(dtype)).draw(rng, (rows,), dtype), dtype, "offset")
        values = floats(low=-6, high=6).draw(rng, (rows, n), trial.dtype)
        yield rng, Operand(values, trial.dtype, memory(trial.layout)), labels


def _cross_entropy(trial: KernelTrial) -> Iterator[Arguments]:
    for _, logits, labels in _logits(trial):
        yield [result(labels.values.shape, trial.dtype, trial.layout), logits, labels]


def _cross_entropy_grad(trial: KernelTrial) -> Iterator[Arguments]:
    """For a cotangent of each row, and for one of all rows."""
    for rng, logits, labels in _logits(trial):
        for shape in (labels.values.shape, ()):
            g = Operand(floats().draw(rng, shape, trial.dtype), trial.dtype, "offset")
            yield [result(logits.values.shape, trial.dtype, trial.layout), g, logits, labels]


_RTOL = {"float64": 1e-11, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
_NEAR = {"float64": 1e-12, "float32": 4e-6, "float16": 2e-3, "bfloat16": 1.6e-2}

KERNELS = [
    Kernel("gather", "gather", _gather, DTYPES, _LAYOUTS, exact=True),
    Kernel("scatter_add", "scatter_add", _scatter_add, NUMBERS, _LAYOUTS),
    Kernel("cross_entropy", "cross_entropy", _cross_entropy, FLOAT_TYPES, _LOSSES, rtol=_RTOL, atol=_NEAR),
    Kernel("cross_entropy_grad", "cross_entropy_grad", _cross_entropy_grad, FLOAT_TYPES, _LOSSES, rtol=_RTOL,
           atol=_NEAR),
]  # fmt: skip

"""Matrix products of batches, with stored transposes, and the fused linear layer."""

from collections.abc import Iterator

import numpy as np

from needle.kinds import Unary
from needle_conformance.inputs import floats, numbers
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand
from needle_conformance.kernels.elementwise import memory, result
from needle_conformance.kernels.rows import FLOAT_TYPES, NUMBERS

# Rows of a matrix may be padded, and a batch may repeat one matrix; the elements of a row lie side by side.
_LAYOUTS = ("compact", "offset", "padded", "broadcast", "one_batch", "sizes", "empty", "large")

# By layout, (batch, m, k, n).
_SIZES = {
    "sizes": [(1, m, k, n) for m, k, n in ((1, 1, 1), (1, 7, 5), (5, 1, 3), (7, 5, 1), (8, 8, 8), (17, 33, 9),
                                           (31, 4, 65), (64, 64, 64), (65, 67, 66))],
    "empty": [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0)],
    "large": [(1, 260, 131, 270), (3, 37, 300, 41)],
}  # fmt: skip
_FEW = [(3, 4, 5, 6)]
_PRODUCTS = {"float64": 1e-12, "float32": 3e-4, "float16": 1e-3, "bfloat16": 1e-3}  # up to 300 of them are summed


def _matmul(trial: KernelTrial) -> Iterator[Arguments]:
    rng = trial.rng()
    for batch, m, k, n in _SIZES.get(trial.layout, _FEW):
        for flags in range(4):
            transpose_a, transpose_b = bool(flags & 1), bool(flags & 2)
            a, b = ((k, m) if transpose_a else (m, k)), ((n, k) if transpose_b else (k, n))
            of_a, of_b = (1 if trial.layout == "one_batch" and one else batch for one in (flags < 2, flags >= 2))
            values = [numbers().draw(rng, shape, trial.dtype) for shape in ((of_a, *a), (of_b, *b))]
            if trial.layout == "broadcast":
                values = [np.broadcast_to(v[:1], v.shape) for v in values]
            xs = [Operand(v, trial.dtype, memory(trial.layout)) for v in values]
            yield [result((batch, m, n), trial.dtype, trial.layout), *xs, transpose_a, transpose_b]


def _linear(trial: KernelTrial) -> Iterator[Arguments]:
    rng = trial.rng()
    for _, m, k, n in _SIZES.get(trial.layout, _FEW):
        for activation in (None, Unary.RELU, Unary.TANH):
            transpose_b = activation is Unary.RELU
            shapes = ((m, k), (n, k) if transpose_b else (k, n))
            xs = [Operand(floats().draw(rng, s, trial.dtype), trial.dtype, memory(trial.layout)) for s in shapes]
            bias = Operand(floats().draw(rng, (n,), trial.dtype), trial.dtype, "offset")
            yield [result((m, n), trial.dtype, trial.layout), *xs, bias, transpose_b, activation]


_LINEAR_LAYOUTS = [name for name in _LAYOUTS if name not in ("broadcast", "one_batch")]
_ROUNDED_TWICE = _PRODUCTS | {"float16": 6e-2, "bfloat16": 5e-1}  # the product, and its sum with the bias

KERNELS = [
    Kernel("matmul", "matmul", _matmul, NUMBERS, _LAYOUTS, atol=_PRODUCTS),
    Kernel("linear", "linear", _linear, FLOAT_TYPES, _LINEAR_LAYOUTS, atol=_ROUNDED_TWICE),
]

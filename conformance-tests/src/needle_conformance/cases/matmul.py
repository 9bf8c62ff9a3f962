"""Matrix products: vectors, matrices, batches that broadcast, and the fused linear layer."""

from typing import Any

import numpy as np

import needle as ndl
from needle_conformance.case import Case
from needle_conformance.inputs import FLOATS, Input, floats, numbers

# Right to some units in the last place of the products that are summed; halves are summed in float32.
_PRODUCTS = {"float64": 1e-13, "float32": 2e-5, "float16": 1e-4, "bfloat16": 1e-4}
_MANY = {"float64": 1e-12, "float32": 4e-4, "float16": 1e-3, "bfloat16": 1e-3}
_LINEAR = {"float64": 1e-13, "float32": 2e-5, "float16": 2e-2, "bfloat16": 1.5e-1}  # the product may be rounded first


def _linear(x: Any, weight: Any, bias: Any, relu: bool = False) -> Any:
    y = x @ weight + bias
    return np.maximum(y, 0) if relu else y


def _matmul(name: str, a: Input, b: Input, **row: Any) -> Case:
    return Case(ndl.matmul, np.matmul, [a, b], name=name, atol=_PRODUCTS, **row)


MATMUL = [
    Case(ndl.matmul, np.matmul, [numbers(3, 4), numbers(4, 5)], atol=_PRODUCTS),
    _matmul("matmul_of_vectors", numbers(4), numbers(4)),
    _matmul("matmul_vector_matrix", numbers(4), numbers(4, 3)),
    _matmul("matmul_matrix_vector", numbers(3, 4), numbers(4)),
    _matmul("matmul_vector_batch", numbers(4), numbers(2, 4, 3)),
    _matmul("matmul_batches", numbers(2, 3, 4), numbers(2, 4, 5)),
    _matmul("matmul_batch_matrix", numbers(2, 3, 4), numbers(4, 5)),
    _matmul("matmul_matrix_batch", numbers(3, 4), numbers(2, 4, 5)),
    _matmul("matmul_broadcast", numbers(2, 1, 3, 4), numbers(3, 4, 2)),
    _matmul("matmul_column_row", numbers(5, 1), numbers(1, 4)),
    _matmul("matmul_of_none", numbers(3, 0), numbers(0, 4)),
    _matmul("matmul_no_rows", numbers(0, 3), numbers(3, 4)),
    _matmul("matmul_no_batch", numbers(0, 2, 3), numbers(3, 4)),
    Case(ndl.matmul, np.matmul, [floats(129, 253), floats(253, 140)], name="matmul_large", orders=0,
         atol=_MANY),
    Case(lambda a, b: a.mT @ b, lambda a, b: a.swapaxes(-1, -2) @ b, [numbers(2, 4, 3), numbers(2, 4, 5)],
         name="matmul_transposed_a", atol=_PRODUCTS),
    Case(lambda a, b: a @ b.mT, lambda a, b: a @ b.swapaxes(-1, -2), [numbers(2, 3, 4), numbers(2, 5, 4)],
         name="matmul_transposed_b", atol=_PRODUCTS),
    Case(lambda a, b: a.mT @ b.mT, lambda a, b: a.swapaxes(-1, -2) @ b.swapaxes(-1, -2),
         [numbers(2, 4, 3), numbers(2, 5, 4)], name="matmul_transposed_both", atol=_PRODUCTS),
]  # fmt: skip

# Results are odd multiples of 1/128, hence never at relu's kink.
_X, _WEIGHT = Input((4, 3), step=0.25), Input((3, 5), step=0.25)
_BIAS, _ROW = Input((5,), -1, 1, 1 / 64, categories=(FLOATS,)), Input((1, 5), -1, 1, 1 / 64)
_RELU = [{"relu": False}, {"relu": True}]

LINEAR = [
    Case(ndl.linear, _linear, [_X, _WEIGHT, _BIAS], _RELU, atol=_LINEAR),
    Case(ndl.linear, _linear, [_X, _WEIGHT, _ROW], _RELU, "linear_row_bias", atol=_LINEAR),
    Case(ndl.linear, _linear, [Input((2, 2, 3), step=0.25), _WEIGHT, _BIAS], _RELU, "linear_batch", atol=_LINEAR),
    Case(lambda x, w, b: x.linear(w.mT, b), lambda x, w, b: x @ w.T + b, [_X, Input((5, 3), step=0.25), _BIAS],
         name="linear_transposed", atol=_LINEAR),
    Case(ndl.linear, _linear, [floats(65, 131), floats(131, 67), floats(67)], _RELU, "linear_large", orders=0,
         atol={"float64": 1e-12, "float32": 2e-4, "float16": 2e-1, "bfloat16": 1.0}),
]  # fmt: skip

CASES = [*MATMUL, *LINEAR]

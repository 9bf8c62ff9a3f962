"""Attention and sorting against the reference: blocks, causal edges, threads; equal keys and NaN."""

from typing import Any

import numpy as np
import pytest
from twins import CPU, DTYPES, FLOATS, Twin, assert_same, result, run, twin

from needle_backend_cpu import _ext

NEAR = {"float64": 1e-12, "float32": 2e-5, "float16": 6e-3, "bfloat16": 5e-2}
# leading axes, T, S, D, E
SHAPES = [
    ((), 1, 1, 1, 1),
    ((2, 3), 5, 7, 4, 3),
    ((4,), 130, 130, 16, 16),
    ((1,), 300, 33, 8, 20),
    ((2,), 33, 1500, 9, 1),
]


def operands(leading: tuple[int, ...], t: int, s: int, d: int, e: int, dtype: str) -> list[Twin]:
    rng = np.random.default_rng(0)
    return [twin(rng.standard_normal((*leading, *shape)), dtype) for shape in ((t, d), (s, d), (s, e), (t, e))]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention(dtype: str, causal: bool, shape: Any) -> None:
    q, k, v, g = operands(*shape, dtype)
    y, dq, dk, dv = (result(x.cpu.shape, dtype) for x in (g, q, k, v))
    run("attention", y, q, k, v, causal, 0.3)
    assert_same(y, shape, rtol=NEAR[dtype], atol=NEAR[dtype])
    run("attention_grad", dq, dk, dv, g, q, k, v, y, causal, 0.3)
    for each in (dq, dk, dv):
        size = np.abs(each.numpy(CPU).astype(np.float64)).max(initial=1.0)
        assert_same(each, shape, rtol=NEAR[dtype], atol=2 * NEAR[dtype] * size)


@pytest.mark.parametrize("leading", [(), (5,)])
def test_attention_does_not_depend_on_the_number_of_threads(leading: tuple[int, ...]) -> None:
    q, k, v, g = operands(leading, 200, 300, 32, 32, "float32")
    before, seen = _ext.num_threads(), []
    try:
        for threads in (1, 2, 3):
            _ext.set_num_threads(threads)
            y, dq, dk, dv = (result(x.cpu.shape, "float32") for x in (g, q, k, v))
            CPU.attention(y.cpu, q.cpu, k.cpu, v.cpu, True, 0.2)
            CPU.attention_grad(dq.cpu, dk.cpu, dv.cpu, g.cpu, q.cpu, k.cpu, v.cpu, y.cpu, True, 0.2)
            seen.append([x.numpy(CPU).tobytes() for x in (y, dq, dk, dv)])
    finally:
        _ext.set_num_threads(before)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("layout", ["compact", "permuted", "sliced"])
def test_argsort_is_stable(dtype: str, descending: bool, layout: str) -> None:
    rng = np.random.default_rng(1)
    for rows, n in [(1, 1), (7, 40), (3, 600), (2, 5000), (300, 3), (0, 4), (4, 0)]:
        data = rng.integers(-20 if dtype not in ("bool", "uint8") else 0, 20, (rows, n)).astype(np.float64)
        if dtype in FLOATS and rows and n > 5:
            data[0, :5] = [np.nan, -0.0, np.inf, np.nan, 0.0]
            data[0, -1] = -np.inf
        for index in ("int32", "int64"):
            out = result((rows, n), index)
            run("argsort", out, twin(data, dtype, layout), rows, n, descending)
            assert_same(out, (rows, n))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_argsort_of_many_different_numbers(dtype: str) -> None:
    rng = np.random.default_rng(2)
    data = rng.standard_normal((2, 20_000)) * 1e9
    for descending in (False, True):
        out = result((2, 20_000), "int64")
        run("argsort", out, twin(data, dtype), 2, 20_000, descending)
        assert_same(out)

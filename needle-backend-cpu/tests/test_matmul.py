"""The tuned product against the naive one: sizes around the tiles, transposes, batches, strides, epilogues."""

import itertools

import numpy as np
import pytest
from twins import CPU, DTYPES, FLOATS, Twin, assert_same, result, run, twin

from needle.backend import View
from needle.kinds import Unary
from needle.layout import Layout
from needle_backend_cpu import _ext

EDGES = [1, 2, 3, 5, 6, 7, 13, 14, 15, 16, 17, 29, 31, 32, 33, 47, 64, 65]


def stored(values: np.ndarray, transposed: bool, dtype: str) -> Twin:
    return twin(values.swapaxes(-1, -2) if transposed else values, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_edges_of_tiles(dtype: str, transpose_a: bool, transpose_b: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = [*itertools.product([1, 4, 14, 33], EDGES, [1, 17]), *itertools.product(EDGES, [10, 33], [5, 64])]
    for m, n, k in [*sizes, (64, 128, 784), (15, 17, 300), (129, 600, 257), (40, 1030, 530)]:
        a = stored(rng.standard_normal((1, m, k)), transpose_a, dtype)
        b = stored(rng.standard_normal((1, k, n)), transpose_b, dtype)
        out, naive = result((1, m, n), dtype), result((1, m, n), dtype)
        CPU.matmul(out.cpu, a.cpu, b.cpu, transpose_a, transpose_b)
        _ext.matmul_naive(naive.cpu, a.cpu, b.cpu, transpose_a, transpose_b)
        tolerance = (1e-5 if dtype == "float32" else 1e-14) * k**0.5
        np.testing.assert_allclose(out.numpy(CPU), naive.numpy(CPU), rtol=0, atol=tolerance, err_msg=str((m, n, k)))


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_dtypes_and_batches(dtype: str) -> None:
    rng = np.random.default_rng(1)
    for batch_a, batch_b, (m, k, n) in itertools.product(
        [1, 3], [1, 3], [(5, 6, 7), (1, 20, 9), (20, 40, 1), (17, 300, 40)]
    ):
        whole = dtype not in FLOATS
        left = rng.integers(0, 5, (batch_a, m, k)) if whole else rng.standard_normal((batch_a, m, k))
        right = rng.integers(0, 5, (batch_b, k, n)) if whole else rng.standard_normal((batch_b, k, n))
        for ta, tb in itertools.product([False, True], repeat=2):
            out = result((max(batch_a, batch_b), m, n), dtype)
            run("matmul", out, stored(left, ta, dtype), stored(right, tb, dtype), ta, tb)
            assert_same(
                out,
                (m, k, n, ta, tb),
                atol=(1e-4 if dtype == "float32" else 1e-12) if dtype[-2:] in ("32", "64") else 0.2,
            )


def test_strided_rows_and_batches() -> None:
    rng = np.random.default_rng(2)
    base = twin(rng.standard_normal((6, 20, 50)), "float32")
    layout = base.cpu.layout.slice(0, 0, 2, 3).slice(2, 5, 1, 30)
    a = Twin(*(View(v.buffer, layout, v.dtype) for v in (base.cpu, base.reference)))
    b = twin(rng.standard_normal((3, 30, 40)), "float32")
    out = result((3, 20, 40), "float32")
    run("matmul", out, a, b, False, False)
    assert_same(out, atol=1e-5)
    transposed = result((3, 30, 30), "float32")
    run("matmul", transposed, a, a, True, False)
    assert_same(transposed, atol=1e-5)


def test_a_matrix_may_be_broadcast_over_the_batch() -> None:
    rng = np.random.default_rng(3)
    one = twin(rng.standard_normal((1, 8, 9)), "float32")
    layout = Layout.compact((1, 8, 9)).broadcast_to((4, 8, 9))
    a = Twin(*(View(v.buffer, layout, v.dtype) for v in (one.cpu, one.reference)))
    out = result((4, 8, 5), "float32")
    run("matmul", out, a, twin(rng.standard_normal((4, 9, 5)), "float32"), False, False)
    assert_same(out, atol=1e-5)


@pytest.mark.parametrize("dtype", [*FLOATS, "int32"])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("activation", [None, Unary.RELU, Unary.TANH])
def test_linear(dtype: str, transpose_b: bool, activation: Unary | None) -> None:
    if dtype == "int32" and activation is Unary.TANH:
        pytest.skip("tanh takes floats")
    rng = np.random.default_rng(4)
    for m, k, n in [(1, 30, 20), (64, 300, 10), (33, 20, 70), (7, 9, 1), (4, 0, 6)]:
        a, b, bias = (rng.standard_normal(s) * 2 for s in ((m, k), (k, n), (n,)))
        out = result((m, n), dtype)
        run("linear", out, twin(a, dtype), stored(b, transpose_b, dtype), twin(bias, dtype), transpose_b, activation)
        assert_same(out, (m, k, n), atol={"float32": 1e-4, "float64": 1e-12}.get(dtype, 0.5))


def test_nan_passes_through_relu_and_zero_inner_size_gives_zeros() -> None:
    out = result((2, 3), "float32")
    run(
        "linear",
        out,
        twin([[np.nan], [1]], "float32"),
        twin([[1, 2, -3]], "float32"),
        twin([0, 0, 0], "float32"),
        False,
        Unary.RELU,
    )
    assert_same(out)
    empty = result((1, 2, 3), "float32")
    run("matmul", empty, twin(np.zeros((1, 2, 0)), "float32"), twin(np.zeros((1, 0, 3)), "float32"), False, False)
    assert_same(empty)

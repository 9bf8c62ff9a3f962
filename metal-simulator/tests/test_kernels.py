"""Whole kernels against NumPy: plain, checked, and with the threads in other orders."""

from pathlib import Path

import numpy as np
import pytest
from sources import HEAD

SOURCES = Path(__file__).parent / "kernels"
MODES = {"plain": (False, 0), "checked": (True, 0), "shuffled": (True, 7)}
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.standard_normal(shape, dtype=np.float32)


def uints(*values):
    return np.array(values, np.uint32)


@pytest.fixture(params=MODES)
def kernels(request, executor, compiled):
    """Finds a kernel by source and name, in one of the modes."""
    check, seed = MODES[request.param]
    executor.c.msl_seed(seed)
    yield lambda source, name, **constants: executor.function(
        compiled((SOURCES / f"{source}.metal").read_text(), check=check), name, **constants
    )
    executor.c.msl_seed(0)


@pytest.mark.parametrize("dtype", ["float", "half"])
def test_elementwise(kernels, executor, dtype):
    n = 3007
    a, b = (floats(n).astype("f2" if dtype == "half" else "f4") for _ in range(2))
    out = np.zeros_like(a)
    executor.run(kernels("elementwise", f"ew_add_{dtype}"), [a, b, out, uints(n)], 3072, 256)
    np.testing.assert_array_equal(out, a + b)
    executor.run(kernels("elementwise", f"ew_exp_{dtype}"), [a, out], n, 256)
    np.testing.assert_allclose(out, np.exp(a), rtol=2e-3 if dtype == "half" else 1e-6)


@pytest.mark.parametrize("relu", [True, False])
def test_vectors_and_function_constants(kernels, executor, relu):
    x, y = floats(200, 4), np.zeros((200, 4), np.float32)
    function = kernels("elementwise", "scale_shift4", use_relu=np.bool_(relu), slope=np.float32(0.1))
    executor.run(function, [x, y, np.array([2, 1], np.float32)], 200, 64)
    v = x * 2 + 1
    np.testing.assert_allclose(y, np.maximum(v, np.float32(0.1) * v) if relu else v, rtol=1e-6)


def test_swizzles_of_halves(kernels, executor):
    x, y = floats(100, 4).astype(np.float16), np.zeros((100, 4), np.float16)
    executor.run(kernels("elementwise", "half4_swizzle"), [x, y], 100, 32)
    np.testing.assert_array_equal(y, x[:, [3, 2, 1, 0]] * np.float16(2) + np.array([0.5, 0.5, 0.5, 1], np.float16))


@pytest.mark.parametrize("threads", [32, 64, 256])
def test_sum_of_rows_in_threadgroup_memory(kernels, executor, threads):
    x, y = floats(7, 500), np.zeros(7, np.float32)
    executor.run(kernels("reduce", "row_sum_tree"), [x, y, uints(500)], 7, threads, False, [4 * threads])
    np.testing.assert_allclose(y, x.sum(1), atol=1e-3)


def test_sum_of_all_by_simdgroups_and_an_atomic(kernels, executor):
    x, y = floats(5000), np.zeros(1, np.float32)
    executor.run(kernels("reduce", "all_sum_simd"), [x, y, uints(5000)], 4, 256, False)
    np.testing.assert_allclose(y[0], x.sum(), atol=1e-2)


def test_histogram_by_atomics(kernels, executor):
    x, y = RANDOM.integers(0, 16, 2000, dtype=np.uint32), np.zeros(16, np.uint32)
    executor.run(kernels("reduce", "histogram"), [x, y, uints(2000)], 2000, 256)
    np.testing.assert_array_equal(y, np.bincount(x))


def test_softmax_of_rows(kernels, executor):
    x = floats(5, 333)
    y = np.zeros_like(x)
    executor.run(kernels("reduce", "softmax_float"), [x, y, uints(333)], 5, 128, False)
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(("m", "n", "k"), [(32, 32, 32), (61, 70, 33)])
def test_matmul_in_tiles(kernels, executor, m, n, k):
    a, b, c = floats(m, k), floats(k, n), np.zeros((m, n), np.float32)
    groups = ((n + 15) // 16, (m + 15) // 16)
    executor.run(kernels("matmul", "matmul_tiled"), [a, b, c, uints(m, n, k)], groups, (16, 16), False)
    np.testing.assert_allclose(c, a @ b, atol=1e-3)


def test_matmul_of_simdgroup_matrices(kernels, executor):
    a, b, c = floats(64, 32), floats(32, 96), np.zeros((64, 96), np.float32)
    executor.run(kernels("matmul", "matmul_simdgroup"), [a, b, c, uints(64, 96, 32)], (3, 2), 128, False)
    np.testing.assert_allclose(c, a @ b, atol=1e-3)


def test_packed_vectors_take_what_their_elements_take(executor, compiled):
    source = HEAD + (
        "kernel void k(device packed_float3* x [[buffer(0)]], device float* y [[buffer(1)]], "
        "uint i [[thread_position_in_grid]]) { float3 v = x[i]; y[i] = v.x + v.y * 2 + x[i][2]; x[i] = v * 2; }"
    )
    x, y = floats(8, 3), np.zeros(8, np.float32)
    before = x.copy()
    executor.run(executor.function(compiled(source), "k"), [x, y], 8, 8)
    np.testing.assert_allclose(y, before @ np.float32([1, 2, 1]), rtol=1e-6)
    np.testing.assert_array_equal(x, before * 2)


def test_functions_of_bfloat_round_to_bfloat(executor, compiled):
    source = HEAD + (
        "kernel void k(device bfloat* x [[buffer(0)]], uint i [[thread_position_in_grid]]) { x[i] = exp(x[i]); }"
    )
    values = np.linspace(-3, 3, 32, dtype=np.float32)
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    rounded = (halves.astype(np.uint32) << 16).view(np.float32)
    executor.run(executor.function(compiled(source), "k"), [halves], 32, 32)
    found = (halves.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(found, np.exp(rounded), rtol=2**-8)

"""The three matrix products against each other and against NumPy: edges, batches, transposed operands, types."""

import numpy as np
import pytest

import needle as ndl
from needle.backend import View
from needle.dtype import as_dtype
from needle.layout import Layout
from needle.testing import assert_close

SIZES = [(1, 1, 1), (3, 5, 7), (16, 16, 16), (17, 33, 15), (64, 64, 64), (65, 70, 40), (130, 20, 17), (20, 64, 1)]


def on_device(values, backend):
    """A view of a copy of these values on the device."""
    buffer = backend.allocate(values.nbytes)
    backend.upload(buffer, 0, memoryview(np.ascontiguousarray(values)).cast("B"))
    return View(buffer, Layout.compact(values.shape), as_dtype(values.dtype))


def product(name, a, b, transpose_a, transpose_b, backend):
    """By one of the kernels, from arrays of shape (batch, rows, columns)."""
    from needle_backend_msl import _ext  # noqa: PLC0415  (not on every system)

    m, n = a.shape[2 if transpose_a else 1], b.shape[1 if transpose_b else 2]
    out = np.zeros((max(len(a), len(b)), m, n), a.dtype)
    view = on_device(out, backend)
    getattr(_ext, name)(view, on_device(a, backend), on_device(b, backend), transpose_a, transpose_b)
    backend.download(view.buffer, 0, memoryview(out).cast("B"))
    return out


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_products_agree(backend, m, n, k, transpose_a, transpose_b, dtype):
    random = np.random.default_rng(m * n + k)
    a = random.integers(-4, 5, (2, k, m) if transpose_a else (2, m, k)).astype(dtype)
    b = random.integers(-4, 5, (1, n, k) if transpose_b else (1, k, n)).astype(dtype)
    expected = (a.mT if transpose_a else a).astype("f8") @ (b.mT if transpose_b else b).astype("f8")
    for name in ("matmul_naive", "matmul_tiled", "matmul"):  # small whole numbers: every sum is exact
        np.testing.assert_array_equal(product(name, a, b, transpose_a, transpose_b, backend), expected, err_msg=name)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("m", "n", "k"), [(5, 7, 3), (70, 66, 33)])
def test_the_epilogue_adds_and_activates(device, m, n, k, relu):
    random = np.random.default_rng(0)
    x, w, b = (random.standard_normal(s, dtype=np.float32) for s in ((m, k), (k, n), (1, n)))
    y = ndl.linear(*(ndl.Tensor(v, device=device) for v in (x, w, b)), relu=relu)
    expected = x.astype("f8") @ w + b
    assert_close(y, np.maximum(expected, 0) if relu else expected, rtol=1e-5, atol=1e-5)

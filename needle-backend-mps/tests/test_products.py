"""Matrix products: which ones MPS takes, and what comes of them."""

import numpy as np
import pytest

import needle as ndl
from needle.backend import View
from needle.dtype import as_dtype, float32
from needle.layout import Layout

# a, b, transposed or not; the inner sizes fit.
TAKEN = {
    "plain": ((5, 7), (7, 3), False, False),
    "one row": ((1, 7), (7, 3), False, False),
    "one column": ((5, 7), (7, 1), False, False),
    "one of all": ((1, 1), (1, 1), False, False),
    "left transposed": ((7, 5), (7, 3), True, False),
    "right transposed": ((5, 7), (3, 7), False, True),
    "both transposed": ((7, 5), (3, 7), True, True),
    "batched": ((4, 5, 7), (4, 7, 3), False, False),
    "batched, transposed": ((4, 7, 5), (4, 3, 7), True, True),
    "one right for all": ((4, 5, 7), (1, 7, 3), False, False),
    "large": ((33, 70), (70, 65), False, False),
}
LEFT = {
    "one left for all": ((1, 5, 7), (4, 7, 3), False, False),
    "one right for all, left transposed": ((4, 7, 5), (1, 7, 3), True, False),
    "empty": ((0, 7), (7, 3), False, False),
    "nothing summed": ((5, 0), (0, 3), False, False),
}


def array(backend, values, offset=0, rows_apart=0):
    """A view of these values: `offset` elements into its buffer, rows that many elements longer than they need."""
    values = np.asarray(values)
    *outer, width = values.shape
    strides = np.cumprod([1, width + rows_apart, *outer[:0:-1]])[::-1]
    whole = np.full(offset + int(np.prod(outer, dtype=int)) * (width + rows_apart) + 1, 99, values.dtype)
    layout = Layout(values.shape, tuple(int(s) for s in strides[-values.ndim :]), offset)
    item = values.itemsize
    np.lib.stride_tricks.as_strided(whole[offset:], values.shape, [s * item for s in layout.strides])[...] = values
    buffer = backend.allocate(whole.nbytes)
    backend.upload(buffer, 0, memoryview(whole).cast("B"))
    return View(buffer, layout, as_dtype(values.dtype))


def read(backend, view):
    """The values of a contiguous view."""
    found = np.empty(view.buffer.nbytes // view.dtype.itemsize, str(view.dtype))
    backend.download(view.buffer, 0, memoryview(found).cast("B"))
    return found[view.offset : view.offset + view.size].reshape(view.shape)


def product(random, shape_a, shape_b, transpose_a, transpose_b, dtype):
    """Operands, and their product as NumPy has it."""
    a, b = (random.integers(-4, 5, shape).astype(dtype) for shape in (shape_a, shape_b))
    x = a.swapaxes(-1, -2) if transpose_a else a
    y = b.swapaxes(-1, -2) if transpose_b else b
    return a, b, (x.astype(float) @ y.astype(float)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", [*TAKEN, *LEFT])
def test_product(backend, mps, name, dtype):
    case = {**TAKEN, **LEFT}[name]
    a, b, expected = product(np.random.default_rng(0), *case, dtype)
    dst = array(backend, np.full_like(expected, 7))
    x, y = array(backend, a), array(backend, b)
    assert mps.matmul(dst, x, y, *case[2:]) == (name in TAKEN)
    backend.matmul(dst, x, y, *case[2:])
    np.testing.assert_array_equal(read(backend, dst), expected)


@pytest.mark.parametrize(
    ("dtype", "offset", "rows_apart", "taken"),
    [
        ("float32", 3, 0, True), ("float32", 0, 5, True), ("float32", 1, 1, True), ("float16", 2, 3, True),
        ("float16", 1, 0, False),  # two bytes in: Metal's offsets are multiples of four
        ("int32", 0, 0, False), ("uint8", 0, 0, False),
    ],
)  # fmt: skip
def test_rows_apart_and_offsets(backend, mps, dtype, offset, rows_apart, taken):
    a, b, expected = product(np.random.default_rng(1), (5, 7), (7, 3), False, False, dtype)
    x, y = array(backend, a, offset, rows_apart), array(backend, b, offset, rows_apart)
    dst = array(backend, np.zeros_like(expected), offset)
    assert mps.matmul(dst, x, y, False, False) is taken
    backend.matmul(dst, x, y, False, False)
    np.testing.assert_array_equal(read(backend, dst), expected)


def test_a_matrix_repeated_by_stride_0_is_one_for_all(backend, mps):
    a, b, expected = product(np.random.default_rng(1), (4, 5, 7), (1, 7, 3), False, False, "float32")
    x, y, dst = array(backend, a), array(backend, b), array(backend, np.zeros_like(expected))
    repeated = View(y.buffer, Layout((4, 7, 3), (0, 3, 1)), float32)
    assert mps.matmul(dst, x, repeated, False, False)
    np.testing.assert_array_equal(read(backend, dst), expected)


def test_matrices_that_are_not_whole_rows_apart_are_left(backend, mps):
    """A batch stride of 10 over rows of 4, which MPS's descriptor does not take."""
    buffer = array(backend, np.arange(64, dtype=np.float32)).buffer
    x = View(buffer, Layout((2, 2, 3), (10, 4, 1)), float32)
    y, dst = array(backend, np.ones((2, 3, 2), np.float32)), array(backend, np.zeros((2, 2, 2), np.float32))
    assert not mps.matmul(dst, x, y, False, False)
    backend.matmul(dst, x, y, False, False)
    np.testing.assert_array_equal(read(backend, dst)[1], [[33, 33], [45, 45]])


def test_products_beyond_31_bits_are_left(backend, mps):
    """MPS writes NaN into results whose offsets overflow; only the sizes are looked at here, not that much memory."""
    buffer = backend.allocate(64)
    dst = View(buffer, Layout.compact((13400, 13400)), float32)
    operand = View(buffer, Layout.compact((13400, 13400)), float32)
    assert not mps.matmul(dst, operand, operand, False, False)


def test_a_linear_layer_adds_to_its_bias(device, mps, msl):
    random = np.random.default_rng(2)
    x, w, bias = (random.standard_normal(shape, dtype=np.float32) for shape in ((4, 6), (6, 5), (1, 5)))
    on = [ndl.Tensor(values, device=device) for values in (x, w, bias)]
    before = msl.counters()["dispatches"]
    y = ndl.relu(ndl.linear(*on))
    np.testing.assert_allclose(y.numpy(), np.maximum(x @ w + bias, 0), rtol=1e-5, atol=1e-6)
    assert msl.counters()["dispatches"] - before == 3  # bias, product, activation


def test_products_are_made_once(device, mps):
    x = ndl.ones(6, 6, device=device)
    (x @ x).numpy()
    before = mps.counters()
    for _ in range(3):
        (x @ x).numpy()
    assert mps.counters()["products"] == before["products"]
    assert mps.counters()["products_found"] == before["products_found"] + 3

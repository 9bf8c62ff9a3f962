"""Convolutions against sums over taps in NumPy float64: strides, paddings, dilations, groups, layouts, threads."""

from typing import Any

import numpy as np
import pytest
from twins import CPU, FLOATS, Twin, result, twin

from needle.backend import View
from needle_backend_cpu import _ext

PAIR = tuple[int, int]
NEAR = {"float64": 1e-13, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
# image (N, H, W, C), kernel (KH, KW, C / groups, O), stride, padding, dilation, groups
CASES: list[tuple[tuple[int, ...], tuple[int, ...], PAIR, PAIR, PAIR, int]] = [
    ((2, 9, 8, 3), (3, 3, 3, 5), (1, 1), (1, 1), (1, 1), 1),
    ((2, 17, 19, 3), (7, 7, 3, 16), (4, 4), (3, 3), (1, 1), 1),
    ((3, 12, 11, 16), (3, 3, 16, 33), (2, 2), (1, 1), (1, 1), 1),
    ((2, 10, 10, 37), (3, 2, 37, 20), (2, 1), (0, 2), (1, 2), 1),
    ((2, 7, 6, 24), (1, 1, 24, 10), (1, 1), (0, 0), (1, 1), 1),
    ((2, 7, 6, 24), (1, 1, 24, 10), (2, 2), (0, 0), (1, 1), 1),
    ((2, 8, 8, 8), (3, 3, 4, 6), (1, 2), (1, 1), (2, 1), 2),
    ((2, 9, 7, 70), (3, 3, 1, 70), (1, 1), (1, 1), (1, 1), 70),
    ((1, 9, 9, 6), (3, 3, 1, 6), (2, 2), (1, 1), (1, 1), 6),
    ((1, 6, 6, 4), (2, 2, 1, 8), (1, 1), (0, 0), (1, 1), 4),
    ((1, 8, 9, 2), (2, 2, 2, 1), (3, 3), (0, 0), (1, 1), 1),
    ((2, 5, 5, 64), (5, 5, 64, 3), (1, 1), (2, 2), (1, 1), 1),
    ((1, 1, 40, 1), (1, 5, 1, 1), (1, 1), (0, 2), (1, 1), 1),
    ((2, 20, 20, 128), (3, 3, 128, 64), (1, 1), (1, 1), (1, 1), 1),
    ((0, 5, 5, 2), (3, 3, 2, 4), (1, 1), (1, 1), (1, 1), 1),
    # Few channels and a stride: the gradient of the image is one product for all phases.
    ((9, 13, 15, 3), (7, 7, 3, 24), (2, 2), (3, 3), (1, 1), 1),
    ((2, 20, 11, 2), (3, 5, 2, 6), (3, 2), (1, 2), (2, 1), 1),
    ((2, 9, 11, 2), (2, 2, 2, 3), (3, 4), (0, 0), (1, 1), 1),  # pixels that nothing sees
]


def taps(x: Any, w: Any, y: Any, stride: PAIR, padding: PAIR, dilation: PAIR, groups: int) -> Any:
    """For each tap and group: the part of the padded image that it sees, its weights, the part of y; as slices."""
    c, o = w.shape[2], w.shape[3] // groups
    for k in range(w.shape[0]):
        for m in range(w.shape[1]):
            rows = slice(k * dilation[0], k * dilation[0] + (y.shape[1] - 1) * stride[0] + 1, stride[0])
            columns = slice(m * dilation[1], m * dilation[1] + (y.shape[2] - 1) * stride[1] + 1, stride[1])
            for g in range(groups):
                inner, outer = slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)
                yield (slice(None), rows, columns, inner), (k, m, slice(None), outer), (..., outer)


def expected(x: Any, w: Any, stride: PAIR, padding: PAIR, dilation: PAIR, groups: int, g: Any = None) -> Any:
    """The result and, for g of its shape, the gradients of image and kernel, in float64."""
    (ph, pw), (h, v) = padding, x.shape[1:3]
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((h, v), padding, dilation, w.shape[:2], stride, strict=True)
    ]
    around = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    y = np.zeros((x.shape[0], *size, w.shape[3]))
    g = np.zeros_like(y) if g is None else g
    dx, dw = np.zeros_like(around), np.zeros_like(w)
    for seen, weights, out in taps(x, w, y, stride, padding, dilation, groups):
        y[out] += around[seen] @ w[weights]
        dx[seen] += g[out] @ w[weights].T
        dw[weights] += np.tensordot(around[seen], g[out], ((0, 1, 2), (0, 1, 2)))
    return y, dx[:, ph : ph + h, pw : pw + v], dw


def near(found: Twin, wanted: Any, dtype: str, terms: int, about: object) -> None:
    tolerance = NEAR[dtype] * max(1.0, terms**0.5)
    np.testing.assert_allclose(found.numpy(CPU), wanted, rtol=NEAR[dtype], atol=tolerance, err_msg=str(about))


def all_three(x: Twin, w: Twin, g: Twin, dtype: str, args: Any) -> list[Twin]:
    y, dx, dw = (result(v.cpu.shape, dtype) for v in (g, x, w))
    CPU.conv2d(y.cpu, x.cpu, w.cpu, *args)
    CPU.conv2d_grad_input(dx.cpu, g.cpu, w.cpu, *args)
    CPU.conv2d_grad_weight(dw.cpu, x.cpu, g.cpu, *args)
    return [y, dx, dw]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
def test_values_and_gradients(case: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    image, kernel, *args = case
    x, w = twin(rng.standard_normal(image), dtype), twin(rng.standard_normal(kernel), dtype)
    shape = expected(x.numpy(CPU), w.numpy(CPU), *args)[0].shape
    g = twin(rng.standard_normal(shape), dtype)
    wanted = expected(*(v.numpy(CPU).astype(np.float64) for v in (x, w)), *args, g.numpy(CPU).astype(np.float64))
    found = all_three(x, w, g, dtype, args)
    inner, places = int(np.prod(kernel[:3])), int(np.prod(shape[:3]))
    for each, value, terms in zip(found, wanted, (inner, inner * kernel[3], places), strict=True):
        near(each, value, dtype, terms, case)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_bias_is_added_to_the_sums(case: Any, dtype: str) -> None:
    """Three times, so that the kernel is also read packed. float32 and float64 have the bits of a sum of its own."""
    rng = np.random.default_rng(0)
    image, kernel, *args = case
    x, w, bias = (twin(rng.standard_normal(shape), dtype) for shape in (image, kernel, kernel[3:]))
    wanted = expected(*(v.numpy(CPU).astype(np.float64) for v in (x, w)), *args)[0]
    plain, y = result(wanted.shape, dtype), result(wanted.shape, dtype)
    CPU.conv2d(plain.cpu, x.cpu, w.cpu, *args)
    for _ in range(3):
        CPU.conv2d_bias(y.cpu, x.cpu, w.cpu, bias.cpu, *args)
        near(y, wanted + bias.numpy(CPU).astype(np.float64), dtype, int(np.prod(kernel[:3])), case)
        if dtype in ("float32", "float64"):
            np.testing.assert_array_equal(y.numpy(CPU), plain.numpy(CPU) + bias.numpy(CPU))


def test_the_bias_of_an_empty_kernel_is_the_result() -> None:
    x, w, bias = (
        twin(np.zeros((2, 3, 3, 0)), "float32"),
        twin(np.zeros((2, 2, 0, 3)), "float32"),
        twin([1, 2, 3], "float32"),
    )
    y = result((2, 2, 2, 3), "float32")
    CPU.conv2d_bias(y.cpu, x.cpu, w.cpu, bias.cpu, (1, 1), (0, 0), (1, 1), 1)
    np.testing.assert_array_equal(y.numpy(CPU), np.broadcast_to([1.0, 2.0, 3.0], (2, 2, 2, 3)))


@pytest.mark.parametrize("layout", ["offset", "permuted", "sliced", "flipped", "broadcast"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_any_strides(layout: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    args = ((2, 1), (1, 1), (1, 1), 1)
    x, w = (twin(rng.standard_normal(s), dtype, layout) for s in ((2, 7, 8, 20), (3, 3, 20, 9)))
    g = twin(rng.standard_normal((2, 4, 8, 9)), dtype, layout)
    wanted = expected(*(v.numpy(CPU).astype(np.float64) for v in (x, w)), *args, g.numpy(CPU).astype(np.float64))
    for each, value in zip(all_three(x, w, g, dtype, args), wanted, strict=True):
        near(each, value, dtype, 200, layout)


def permuted(values: Any, order: tuple[int, ...]) -> Twin:
    """A twin whose memory holds `values`, and whose axes are those of `values` in another order."""
    stored = twin(values, "float32")
    layout = stored.cpu.layout.permute(order)
    return Twin(*(View(v.buffer, layout, v.dtype) for v in (stored.cpu, stored.reference)))


# channels, size of the kernel, outputs, stride, padding: with few channels windows are read by lines
@pytest.mark.parametrize("channels", [1, 3, 5, 20])
@pytest.mark.parametrize("batch", [2, 9])
@pytest.mark.parametrize(("size", "outputs", "stride", "padding"), [(3, 4, 1, 1), (7, 16, 4, 3), (3, 40, 2, 0)])
def test_channels_first_in_memory(
    channels: int, batch: int, size: int, outputs: int, stride: int, padding: int
) -> None:
    rng = np.random.default_rng(2)
    x = permuted(rng.standard_normal((batch, channels, 9, 11)), (0, 2, 3, 1))
    w = permuted(rng.standard_normal((outputs, channels, size, size)), (2, 3, 1, 0))
    args = ((stride, stride), (padding, padding), (1, 1), 1)
    shape = expected(x.numpy(CPU), w.numpy(CPU), *args)[0].shape
    g = permuted(rng.standard_normal((shape[0], shape[3], *shape[1:3])), (0, 2, 3, 1))
    wanted = expected(*(v.numpy(CPU).astype(np.float64) for v in (x, w)), *args, g.numpy(CPU).astype(np.float64))
    for each, value in zip(all_three(x, w, g, "float32", args), wanted, strict=True):
        near(each, value, "float32", 500, args)


@pytest.mark.parametrize("case", [CASES[1], CASES[2], CASES[7], CASES[13], CASES[15]], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(case: Any) -> None:
    rng = np.random.default_rng(3)
    image, kernel, *args = case
    image = (9, *image[1:])
    x, w = twin(rng.standard_normal(image), "float32"), twin(rng.standard_normal(kernel), "float32")
    g = twin(rng.standard_normal(expected(x.numpy(CPU), w.numpy(CPU), *args)[0].shape), "float32")
    before, seen = _ext.num_threads(), []
    try:
        for threads in (1, 2, 3):
            _ext.set_num_threads(threads)
            seen.append([v.numpy(CPU).tobytes() for v in all_three(x, w, g, "float32", args)])
    finally:
        _ext.set_num_threads(before)
    assert seen[0] == seen[1] == seen[2]

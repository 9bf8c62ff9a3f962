"""Kernels of layers at the sizes between which they change their way: against the device `numpy` in float64.

The conformance suite covers dtypes, layouts and special values on small arrays; here rows are held in registers or
read again, packs fit or not, chunks of columns are joined, tiles of attention are cut.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

import needle as ndl

TOLERANCE = {"float32": 2e-5, "float64": 1e-11, "float16": 4e-3, "bfloat16": 3e-2}  # times the largest element
Arrays = Sequence[np.ndarray]


def check(
    gpu: ndl.Device, dtype: str, call: Callable[..., Any], arrays: Arrays, wider: float = 1, **facts: Any
) -> None:
    """call(tensors) and the gradients of all its floats, by a random cotangent, here and on the host in float64.

    The host's operands are rounded as the device's are.
    """
    rng = np.random.default_rng(1)
    here, there = _leaves(arrays, gpu, dtype, dtype), _leaves(arrays, ndl.numpy(), dtype, "float64")
    found, right = call(*here), call(*there)
    cotangent = rng.standard_normal(right.shape)
    for y, leaves, kind in ((found, here, dtype), (right, there, "float64")):
        if any(x.requires_grad for x in leaves):
            y.backward(ndl.tensor(cotangent, device=y.device, dtype=dtype).astype(kind))
    _near("result", found, right, TOLERANCE[dtype] * wider, facts)
    for i, (x, z) in enumerate(zip(here, there, strict=True)):
        if z.grad is not None:
            _near(f"gradient {i}", x.grad, z.grad, 5 * TOLERANCE[dtype] * wider, facts)


def _leaves(arrays: Arrays, device: ndl.Device, rounded: str, dtype: str) -> list[ndl.Tensor]:
    made = [ndl.tensor(a, device=device) for a in arrays]
    floats = [x.dtype.is_float for x in made]
    return [
        x.astype(rounded).astype(dtype).detach().requires_grad_() if is_float else x
        for x, is_float in zip(made, floats, strict=True)
    ]


def _near(what: str, found: Any, right: Any, tolerance: float, facts: Any) -> None:
    x, y = found.detach().astype("float64").numpy(), right.detach().numpy()
    scale = max(1.0, float(np.abs(y).max(initial=0)))
    np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * scale, err_msg=f"{what} of {facts}")


def drawn(*shapes: tuple[int, ...], shift: float = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [rng.standard_normal(shape) + shift for shape in shapes]


ROWS = [(5, 10), (3, 1), (100, 64), (37, 512), (33, 516), (7, 1000), (9, 4096), (2, 16384), (3, 20001), (2, 50000)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_softmax(gpu: ndl.Device, dtype: str, shape: tuple[int, int]) -> None:
    check(gpu, dtype, lambda x: x.softmax(-1), drawn(shape))
    check(gpu, dtype, lambda x: x.log_softmax(-1), drawn(shape))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_cross_entropy(gpu: ndl.Device, dtype: str, shape: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, shape[1], shape[0])
    check(gpu, dtype, lambda x, y: x.cross_entropy(y), [*drawn(shape), labels])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [s for s in ROWS if s[1] > 1] + [(3000, 64), (300, 33)], ids=str)
def test_norms_of_rows(gpu: ndl.Device, dtype: str, shape: tuple[int, int]) -> None:
    n = shape[1]
    check(gpu, dtype, lambda x, w, b: x.layer_norm(w, b), drawn(shape, (n,), (n,), shift=1), 2, shape=shape)
    check(gpu, dtype, lambda x, w: x.rms_norm(w), drawn(shape, (n,), shift=1), 2, shape=shape)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(7, 5), (1000, 3), (5000, 64), (333, 2048), (10, 16), (65, 1)], ids=str)
def test_norms_of_channels(gpu: ndl.Device, dtype: str, shape: tuple[int, int]) -> None:
    x = drawn(shape, shift=3)[0]
    mean, var = (ndl.tensor(v) for v in (x.mean(0), x.var(0)))
    for training in (False, True):

        def call(x: Any, w: Any, b: Any, training: bool = training) -> Any:
            moments = [v.to(x.device).astype(x.dtype) for v in (mean, var)]
            return x.batch_norm(w, b, *moments, 1e-3, training)

        check(gpu, dtype, call, [x, *drawn(shape[1:], shape[1:])], 4 if training else 1, shape=shape)


# Packs or single elements, one chunk of a channel or several, planes that are cut and such that share a block.
PLANES = [(2, 3, 5, 7), (9, 5, 7, 7), (32, 64, 14, 14), (5, 3, 90, 101), (2, 2, 200, 256), (3, 1, 60, 60),
          (1, 700, 2, 2)]  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", PLANES, ids=str)
def test_norms_of_planes(gpu: ndl.Device, dtype: str, shape: tuple[int, int, int, int]) -> None:
    """Images with channels first, as they come or transposed; and such as no order of axes makes contiguous."""
    x, *weights = drawn(shape, shape[1:2], shape[1:2], shift=3)
    known = [ndl.tensor(moment) for moment in (x.mean((0, 2, 3)), x.var((0, 2, 3)))]
    for order, step, training in product([(0, 2, 3, 1), (0, 3, 2, 1), (3, 0, 2, 1)], (1, 2), (False, True)):

        def call(x: Any, w: Any, b: Any, order: Any = order, step: int = step, training: bool = training) -> Any:
            last = x[:, :, ::step].permute(*order)
            moments = [ndl.Tensor(moment) for moment in last.array.moments()]
            if not training:
                moments = [moment.to(x.device).astype(x.dtype) for moment in known]
            return last.batch_norm(w, b, *moments, 1e-3, training)

        check(gpu, dtype, call, [x, *weights], 4 if training else 1, shape=shape, order=order, step=step)


def test_a_large_mean_does_not_drown_the_variance_of_planes(gpu: ndl.Device) -> None:
    x = ndl.tensor(drawn((16, 4, 50, 50))[0] + 1e4, device=gpu, dtype="float32")
    found = x.permute(0, 2, 3, 1).array.moments()
    exact = x.numpy().astype("float64")
    for moment, right in zip(found, (exact.mean((0, 2, 3)), exact.var((0, 2, 3))), strict=True):
        np.testing.assert_allclose(moment.numpy(), right, rtol=1e-3)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_variance(gpu: ndl.Device, dtype: str) -> None:
    """Of rows and of columns, long and short, over one axis, several and all; and its gradient."""
    rows = [((40, 300), 1), ((40, 300), 0), ((300, 40), 0), ((7, 20_001), 1), ((25_001,), None), ((3, 20, 30), (1, 2)),
            ((30, 20, 3), (0, 1)), ((20, 3, 30), (0, 2)), ((1, 256), (0, 1))]  # fmt: skip
    for shape, axes in rows:
        for correction in (0, 1):

            def call(x: Any, axes: Any = axes, correction: int = correction) -> Any:
                return x.var(axes, correction=correction)

            check(gpu, dtype, call, drawn(shape, shift=2), 2, shape=shape, axes=axes)


@pytest.mark.parametrize("kind", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pooling(gpu: ndl.Device, kind: str, channels_last: bool) -> None:
    windows = [((2, 3, 8, 8), 2, 2, 0), ((2, 5, 9, 7), (3, 2), (2, 1), 1), ((3, 16, 15, 15), 3, 2, 1),
               ((1, 4, 7, 7), 7, 7, 0), ((2, 3, 8, 8), 2, 3, 0)]  # fmt: skip
    for shape, size, stride, padding in windows:
        values = drawn(shape)[0].round(1)  # with equal elements
        order = values.transpose(0, 2, 3, 1).copy() if channels_last else values

        def call(x: Any, size: Any = size, stride: Any = stride, padding: Any = padding) -> Any:
            return getattr(ndl, kind)(x.permute(0, 3, 1, 2) if channels_last else x, size, stride, padding)

        check(gpu, "float32", call, [order], shape=shape)


CONVOLUTIONS = [  # image, channels out, kernel, stride, padding, dilation, groups
    ((2, 8, 8, 3), 5, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 9, 7, 8), 12, (3, 2), (2, 1), (1, 0), (1, 2), 4),
    ((4, 16, 16, 16), 64, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((1, 13, 13, 70), 70, (5, 5), (2, 3), (2, 2), (2, 1), 1),
    ((8, 32, 32, 32), 32, (3, 3), (1, 1), (1, 1), (1, 1), 32),
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("row", CONVOLUTIONS, ids=lambda row: str(row[0]))
@pytest.mark.parametrize("way", ["", "_direct"])
def test_convolution(gpu: ndl.Device, dtype: str, row: Any, way: str) -> None:
    """The library's and our own, into arrays that held something else."""
    from needle_backend_cuda import _ext  # noqa: PLC0415  (only where there is a GPU)

    image, out, size, *window = row
    kernel = (*size, image[3] // window[3], out)
    reference = ndl.numpy()
    x, w = (ndl.tensor(a, device=gpu).astype(dtype).array for a in drawn(image, kernel))
    exact_x, exact_w = (ndl.Tensor(a.astype("float64").to(reference)) for a in (x, w))
    y = exact_x.conv2d(exact_w, ndl.convolution.Window(*window))
    g = ndl.tensor(drawn(y.shape)[0], device=gpu).astype(dtype).array
    exact_g = ndl.Tensor(g.astype("float64").to(reference))
    for name, operands, right in (
        ("conv2d", (x, w), y),
        ("conv2d_grad_input", (g, w), exact_g.array.conv2d_grad_input(exact_w.array, image, _window(window))),
        ("conv2d_grad_weight", (x, g), exact_g.array.conv2d_grad_weight(exact_x.array, kernel, _window(window))),
    ):
        dst = ndl.full(right.shape, float("nan"), device=gpu, dtype=dtype).array
        getattr(_ext, name + way)(dst, *operands, *window)
        exact = right if isinstance(right, ndl.Tensor) else ndl.Tensor(right)
        _near(name, ndl.Tensor(dst), exact, 2 * TOLERANCE[dtype], row)


def test_strides_decide_which_ways_there_are(gpu: ndl.Device) -> None:
    """The plan of a problem whose kernel is contiguous, kept, is none for one of the same shapes whose is not."""
    x, kernel = (ndl.tensor(a, device=gpu, dtype="float64") for a in drawn((2, 5, 6, 4), (3, 3, 4, 8)))
    window = ndl.convolution.Window()
    right = x.conv2d(kernel, window).numpy()
    for strided in (kernel.flip(3).contiguous().flip(3), kernel.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)):
        np.testing.assert_allclose(x.conv2d(strided, window).numpy(), right, rtol=1e-12)


def _window(window: Any) -> Any:
    return ndl.convolution.Window(*window)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", *TOLERANCE])
def test_sorting(gpu: ndl.Device, dtype: str) -> None:
    """Stable, a NaN largest, from rows of one element to rows of 100,000; argmax takes the first of equals."""
    for rows, n in [(1, 1), (3, 7), (300, 33), (1, 100_000), (200, 1000), (70_000, 3)]:
        values = (np.random.default_rng(n).standard_normal((rows, n)) * 20).round()
        if dtype in TOLERANCE:
            values[0, 0], values[-1, -1] = np.nan, -np.inf
        x = ndl.tensor(np.abs(values) if dtype == "uint8" else values, device=gpu).astype(dtype)
        host = x.to("numpy")
        for descending, transposed in product((False, True), repeat=2):
            here = x.T.contiguous().T if transposed else x
            np.testing.assert_array_equal(
                here.argsort(descending).numpy(), host.argsort(descending).numpy(), err_msg=f"{rows, n, descending}"
            )
            np.testing.assert_array_equal(here.argmax(1).numpy(), host.argmax(1).numpy(), err_msg=f"{rows, n}")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
@pytest.mark.parametrize("kind", ["sum", "max", "min"])
def test_reductions(gpu: ndl.Device, dtype: str, kind: str) -> None:
    """Rows and columns from one element to several chunks, and an odd number of them; every axis of three."""
    for shape in [(1, 1), (3, 5), (700, 4096), (5, 4100), (9, 30_001), (1, 1_000_003), (4096, 700), (100_000, 12)]:
        x = ndl.tensor(np.random.default_rng(1).integers(-2, 3, shape), device=gpu).astype(dtype)
        host = x.astype("float64").numpy()
        for axis in (None, 0, 1):
            found = getattr(x, kind)(axis)
            if dtype == "float16" and kind == "sum" and np.abs(host.sum(axis)).max() > 2000:
                continue  # beyond the whole numbers that a half holds
            np.testing.assert_array_equal(
                found.astype("float64").numpy(), getattr(host, kind)(axis), err_msg=str(shape)
            )
    x = ndl.tensor(np.random.default_rng(2).standard_normal((33, 65, 36)), device=gpu, dtype="float64")
    for axes in [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]:
        for y in (x, x.permute(2, 0, 1)):
            np.testing.assert_allclose(y.sum(axes).numpy(), y.numpy().sum(axes), rtol=1e-12, atol=1e-12)

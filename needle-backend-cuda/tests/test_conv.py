"""Our own ways to convolve, of which `conv2d` takes the fastest: each against the reference, whatever is taken."""

from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle.backend import View
from needle.dispatch import dispatcher
from needle.layout import Layout

# Shape of the image (N, H, W, C), of the kernel (KH, KW, C, O), stride, padding, dilation.
ROWS = [
    ((2, 8, 8, 4), (3, 3, 4, 8), (1, 1), (1, 1), (1, 1)),
    ((3, 9, 7, 3), (5, 3, 3, 2), (2, 1), (2, 0), (1, 1)),
    ((1, 12, 12, 16), (3, 3, 16, 5), (2, 2), (1, 1), (2, 2)),
    ((16, 2, 2, 32), (3, 3, 32, 32), (1, 1), (1, 1), (1, 1)),
    ((2, 6, 6, 1), (1, 1, 1, 3), (1, 1), (0, 0), (1, 1)),
]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2, "bfloat16": 5e-2}


def arrays(row: Any, device: Any, dtype: str) -> tuple[Any, Any, Any, Any]:
    """An image, a kernel, a cotangent and the window."""
    image, kernel, stride, padding, dilation = row
    rng = np.random.default_rng(0)
    x, w = (ndl.tensor(rng.standard_normal(s), device=device).astype(dtype).array for s in (image, kernel))
    sizes = [(n + 2 * p - d * (k - 1) - 1) // s + 1
             for n, k, s, p, d in zip(image[1:3], kernel, stride, padding, dilation, strict=False)]  # fmt: skip
    g = ndl.tensor(rng.standard_normal((image[0], *sizes, kernel[3])), device=device).astype(dtype).array
    return x, w, g, (stride, padding, dilation)


def made(shape: Any, like: Any, backend: Any) -> View:
    layout = Layout.compact(shape)
    return View(backend.allocate(layout.size * like.dtype.itemsize), layout, like.dtype)


def seen(view: View, device: Any) -> Any:
    return ndl.Tensor(ndl.NDArray(view.buffer, view.layout, view.dtype, device)).astype("float64").numpy()


def near(found: Any, expected: Any, dtype: str) -> None:
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype] * np.abs(expected).max())


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("row", ROWS)
def test_all_ways_agree(gpu: Any, backend: Any, row: Any, dtype: str, channels_first: bool) -> None:
    from needle_backend_cuda import _ext  # noqa: PLC0415  (needs the libraries)

    x, w, g, window = arrays(row, gpu, dtype)
    exact = dispatcher(ndl.device("numpy")).backend
    wide = [ndl.Tensor(a).to("numpy").astype("float64").array for a in (x, w, g)]
    forward, weight = made(g.shape, wide[0], exact), made(w.shape, wide[0], exact)
    exact.conv2d(forward, wide[0], wide[1], *window, 1)
    exact.conv2d_grad_weight(weight, wide[0], wide[2], *window, 1)
    if channels_first:
        x = x.permute((0, 3, 1, 2)).copy().permute((0, 2, 3, 1))
    for way in (_ext.conv2d_unrolled, lambda *args: _ext.conv2d_direct(*args, 1)):
        out = made(g.shape, x, backend)
        way(out, x, w, *window)
        near(seen(out, gpu), seen(forward, ndl.device("numpy")), dtype)
    out = made(w.shape, x, backend)
    _ext.conv2d_grad_weight_unrolled(out, x, g, *window)
    near(seen(out, gpu), seen(weight, ndl.device("numpy")), dtype)

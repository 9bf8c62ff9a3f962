"""The library's products, our tiled one and the naive one agree, in every dtype, transposition and batch."""

from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle.backend import View
from needle.layout import Layout

SIZES = [(1, 1, 1), (7, 5, 3), (64, 64, 64), (65, 130, 33), (200, 17, 129)]
RTOL = {"float32": 1e-4, "float64": 1e-12, "float16": 2e-3, "bfloat16": 2e-2, "int32": 0.0, "int64": 0.0, "uint8": 0.0}


def stored(values: Any, dtype: str, device: ndl.Device) -> View:
    tensor = ndl.tensor(values, device=device).astype(dtype).array.contiguous()
    return View(tensor.buffer, tensor.layout, tensor.dtype)


def fetched(view: View, device: ndl.Device) -> Any:
    return ndl.NDArray(view.buffer, view.layout, view.dtype, device).astype("float64").numpy()


@pytest.mark.parametrize("way", ["matmul", "matmul_tiled", "matmul_naive"])
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_products(gpu: ndl.Device, backend: Any, way: str, dtype: str, transposed: tuple[bool, bool]) -> None:
    from needle_backend_cuda import _ext  # noqa: PLC0415  (only where there is a GPU)

    rng = np.random.default_rng(0)
    for batch in (1, 3):
        for m, k, n in SIZES:
            a, b = (rng.integers(0, 4, (batch, *s)).astype(np.float64) for s in ((m, k), (k, n)))
            left, right = (
                stored(x.transpose(0, 2, 1) if t else x, dtype, gpu) for x, t in zip((a, b), transposed, strict=True)
            )
            item = ndl.as_tensor(0).astype(dtype).dtype.itemsize
            dst = View(backend.allocate(batch * m * n * item), Layout.compact((batch, m, n)), left.dtype)
            getattr(_ext, way)(dst, left, right, *transposed)
            expected = (a @ b) % 256 if dtype == "uint8" else a @ b
            np.testing.assert_allclose(fetched(dst, gpu), expected, rtol=RTOL[dtype], err_msg=f"{m, k, n}")


def test_float32_is_exact_unless_told(gpu: ndl.Device) -> None:
    """1 + 2**-12 has a bit that TF32 drops."""
    x = ndl.full((64, 64), 1 + 2.0**-12, device=gpu)
    eye = ndl.eye(64, device=gpu)
    assert (x @ eye)[0, 0].item() == 1 + 2.0**-12
    ndl.set_matmul_precision("high")
    try:
        assert abs((x @ eye)[0, 0].item() - 1) < 2.0**-10
    finally:
        ndl.set_matmul_precision("highest")
    assert (x @ eye)[0, 0].item() == 1 + 2.0**-12


def test_linear_epilogues(gpu: ndl.Device) -> None:
    rng = np.random.default_rng(0)
    a, b, bias = rng.standard_normal((50, 31)), rng.standard_normal((31, 17)), rng.standard_normal(17)
    for dtype, rtol in (("float32", 1e-4), ("float64", 1e-12), ("float16", 1e-2), ("bfloat16", 8e-2)):
        tensors = [ndl.tensor(x, device=gpu, dtype=dtype) for x in (a, b, bias)]
        found = tensors[0].linear(tensors[1], tensors[2], True).astype("float64").numpy()
        np.testing.assert_allclose(found, np.maximum(a @ b + bias, 0), rtol=rtol, atol=rtol)

"""Normalization and pooling against the reference: odd sizes, layouts, threads."""

from typing import Any

import numpy as np
import pytest
from twins import CPU, FLOATS, Twin, assert_same, result, run, twin

import needle
from needle.backend import View
from needle.image import batch_norm2d
from needle.kinds import Pool
from needle_backend_cpu import _ext

NEAR = {"float64": 1e-12, "float32": 2e-5, "float16": 1e-2, "bfloat16": 6e-2}
ROWS = [(1, 1), (3, 5), (40, 33), (700, 100), (5, 5000), (0, 4)]
IMAGES = [(2, 5, 7, 3), (9, 6, 6, 70), (1, 64, 65, 16), (3, 300), (4, 1, 1, 300)]
POOLS = [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((3, 2), (1, 3), (1, 0)), ((5, 5), (5, 5), (0, 0))]


def of(rng: Any, shape: tuple[int, ...], dtype: str, layout: str = "compact") -> Twin:
    return twin(rng.standard_normal(shape) + 0.5, dtype, layout)


def check(found: list[Twin], dtype: str, about: object) -> None:
    """Sums of many elements differ by the order of their terms."""
    for each in found:
        size = np.abs(each.numpy(CPU).astype(np.float64)).max(initial=1.0)
        assert_same(each, about, rtol=NEAR[dtype], atol=NEAR[dtype] * size)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", ROWS)
def test_rows(dtype: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rows, n = shape
    x, g, w, b = of(rng, shape, dtype), of(rng, shape, dtype), of(rng, (n,), dtype), of(rng, (n,), dtype)
    y, dx, dw, db = (result(s, dtype) for s in (shape, shape, (n,), (n,)))
    run("layer_norm", y, x, w, b, rows, n, 1e-5)
    run("layer_norm_grad", dx, dw, db, g, x, w, rows, n, 1e-3)
    check([y, dx, dw, db], dtype, "layer")
    run("rms_norm", y, x, w, rows, n, 1e-5)
    run("rms_norm_grad", dx, dw, g, x, w, rows, n, 1e-3)
    check([y, dx, dw], dtype, "rms")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("layout", ["compact", "permuted", "sliced"])
def test_channels(dtype: str, shape: tuple[int, ...], layout: str) -> None:
    rng = np.random.default_rng(1)
    n = shape[-1]
    x, g, w, b = (
        of(rng, shape, dtype, layout),
        of(rng, shape, dtype, layout),
        of(rng, (n,), dtype),
        of(rng, (n,), dtype),
    )
    mean, var, y, dx, dw, db = (result(s, dtype) for s in ((n,), (n,), shape, shape, (n,), (n,)))
    run("moments", mean, var, x)
    check([mean, var], dtype, "moments")
    run("batch_norm", y, x, w, b, mean, var, 1e-2)
    check([y], dtype, "batch")
    for training in (False, True):
        run("batch_norm_grad", dx, dw, db, g, x, w, mean, var, 1e-2, training)
        check([dx, dw, db], dtype, training)


def planes(rng: Any, shape: tuple[int, ...], dtype: str) -> Twin:
    """Rows of channels as they lie in a row-major image (batch, channels, ...)."""
    image = of(rng, (shape[0], shape[-1], *shape[1:-1]), dtype)
    axes = (0, *range(2, len(shape)), 1)
    return Twin(*(View(v.buffer, v.layout.permute(axes), v.dtype) for v in (image.cpu, image.reference)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [*IMAGES, (2, 93, 190, 3), (3, 2, 2, 5), (1, 1, 1, 1), (6, 1, 40, 1), (2, 0, 3, 4)])
@pytest.mark.parametrize("other", ["planes", "compact"])
def test_planes_of_channels(dtype: str, shape: tuple[int, ...], other: str) -> None:
    """x and the results in the order of images; g in the same order, or channels last."""
    rng = np.random.default_rng(5)
    n = shape[-1]
    x, w, b = planes(rng, shape, dtype), of(rng, (n,), dtype), of(rng, (n,), dtype)
    g = planes(rng, shape, dtype) if other == "planes" else of(rng, shape, dtype)
    mean, var, dw, db = (result((n,), dtype) for _ in range(4))
    y, dx = planes(rng, shape, dtype), planes(rng, shape, dtype)
    if x.cpu.size:
        run("moments", mean, var, x)
        check([mean, var], dtype, "moments")
    mean, var = of(rng, (n,), dtype), twin(rng.uniform(0.5, 2, n), dtype)  # on both devices the same
    for op in ("batch_norm", "batch_norm_relu"):
        run(op, y, x, w, b, mean, var, 1e-2)
        check([y], dtype, op)
    for training in (False, True):
        run("batch_norm_grad", dx, dw, db, g, x, w, mean, var, 1e-2, training)
        check([dx, dw, db], dtype, training)


@pytest.mark.parametrize("lies", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)], ids=str)
def test_results_lie_as_their_image_does(lies: tuple[int, ...]) -> None:
    """`lies` are the axes of an image (N, C, H, W) as they follow each other in memory."""
    image = np.random.default_rng(6).standard_normal((2, 3, 4, 5)).astype(np.float32)
    back = tuple(np.argsort(lies).tolist())
    x = needle.tensor(np.ascontiguousarray(image.transpose(lies)), device="cpu").permute(back)
    ones, zeros = needle.ones(3, device="cpu"), needle.zeros(3, device="cpu")
    last, w, m = x.permute(0, 2, 3, 1).array, ones.array, zeros.array
    gradient = last.batch_norm_grad(last, w, m, w, 0.0, training=False)[0].permute(0, 3, 1, 2)
    shorter = [batch_norm2d(x, ones, zeros, zeros, ones, 0.0, relu).array for relu in (False, True)]
    for found, wanted in zip((gradient, *shorter), (image, image, np.maximum(image, 0)), strict=True):
        assert found.permute(lies).layout.contiguous
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_moments_of_numbers_far_from_zero() -> None:
    rng = np.random.default_rng(2)
    x = twin(rng.standard_normal((5000, 3)) + 1000, "float32")
    mean, var = result((3,), "float32"), result((3,), "float32")
    CPU.moments(mean.cpu, var.cpu, x.cpu)
    values = x.numpy(CPU).astype(np.float64)
    np.testing.assert_allclose(mean.numpy(CPU), values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(var.numpy(CPU), values.var(0), rtol=1e-4)


@pytest.mark.parametrize("kind", Pool)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("window", POOLS, ids=str)
@pytest.mark.parametrize("layout", ["compact", "permuted"])
def test_pooling(kind: Pool, dtype: str, window: Any, layout: str) -> None:
    rng = np.random.default_rng(3)
    size, stride, padding = window
    for channels in (3, 70, 300):
        x = twin(rng.integers(-9, 9, (2, 9, 11, channels)), dtype, layout)  # with equal largest elements
        places = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip((9, 11), size, stride, padding, strict=True)]
        y, dx = result((2, *places, channels), dtype), result((2, 9, 11, channels), dtype)
        run("pool2d", kind, y, x, size, stride, padding)
        check([y], dtype, window)
        g = of(rng, (2, *places, channels), dtype)
        run("pool2d_grad", kind, dx, g, x, y, size, stride, padding)
        check([dx], dtype, window)


def test_nothing_depends_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(4)
    x, g, w = of(rng, (3, 40, 41, 33), "float32"), of(rng, (3, 40, 41, 33), "float32"), of(rng, (33,), "float32")
    image, turned = planes(rng, (3, 40, 41, 33), "float32"), planes(rng, (3, 40, 41, 33), "float32")
    before, seen = _ext.num_threads(), []
    try:
        for threads in (1, 2, 3):
            _ext.set_num_threads(threads)
            y, dx, dw, db, mean, var = (result(v.cpu.shape, "float32") for v in (x, x, w, w, w, w))
            CPU.moments(mean.cpu, var.cpu, x.cpu)
            bits = [v.numpy(CPU).tobytes() for v in (mean, var)]
            CPU.batch_norm_grad(dx.cpu, dw.cpu, db.cpu, g.cpu, x.cpu, w.cpu, mean.cpu, var.cpu, 1e-5, True)
            bits += [v.numpy(CPU).tobytes() for v in (dx, dw, db)]
            CPU.batch_norm_grad(turned.cpu, dw.cpu, db.cpu, g.cpu, image.cpu, w.cpu, mean.cpu, var.cpu, 1e-5, True)
            bits += [v.numpy(CPU).tobytes() for v in (turned, dw, db)]
            CPU.moments(mean.cpu, var.cpu, image.cpu)
            bits += [v.numpy(CPU).tobytes() for v in (mean, var)]
            CPU.layer_norm_grad(dx.cpu, dw.cpu, db.cpu, g.cpu, x.cpu, w.cpu, 4920, 33, 1e-5)
            bits += [v.numpy(CPU).tobytes() for v in (dx, dw, db)]
            CPU.pool2d(Pool.MAX, y.cpu, x.cpu, (3, 3), (1, 1), (1, 1))
            CPU.pool2d_grad(Pool.MAX, dx.cpu, g.cpu, x.cpu, y.cpu, (3, 3), (1, 1), (1, 1))
            seen.append([*bits, y.numpy(CPU).tobytes(), dx.numpy(CPU).tobytes()])
    finally:
        _ext.set_num_threads(before)
    assert seen[0] == seen[1] == seen[2]

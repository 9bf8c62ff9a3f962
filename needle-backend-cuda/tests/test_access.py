"""Each way in which elementwise kernels and reductions read: packs, runs, columns, chunks, elements, few lanes."""

from typing import Any

import numpy as np
import pytest

import needle as ndl

DTYPES = ("float32", "float16", "bfloat16", "float64", "int32", "int64", "int8", "uint8", "bool")
FLOATS = ("float32", "float16", "bfloat16", "float64")
LENGTHS = (1, 3, 96, 128, 130, 132, 512, 1000, 1024, 2052, 4096, 4100, 9000)  # of rows


def values(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Small numbers that every type holds, and their products."""
    return np.random.default_rng(seed).integers(0, 11, shape)


def tensor(x: np.ndarray[Any, Any], dtype: str, gpu: ndl.Device) -> ndl.Tensor:
    return ndl.Tensor(x.astype(np.float32), device=gpu).astype(dtype)


def as_numpy(x: ndl.Tensor) -> np.ndarray[Any, Any]:
    return x.astype("float64").numpy()


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES[:-1])
def test_broadcast_operands(n: int, dtype: str, gpu: ndl.Device) -> None:
    """Of a row, a column, a number, a plane; where rows are whole packs and where not; from unaligned views."""
    x, row, column = values(37, n), values(1, n, seed=1), values(37, 1, seed=2)
    a, b, c = (tensor(part, dtype, gpu) for part in (x, row, column))
    assert (as_numpy(a * b) == x * row).all()
    assert (as_numpy(a * c) == x * column).all()
    assert (as_numpy(c * a) == x * column).all()
    assert (as_numpy(b * c) == row * column).all()
    assert (as_numpy(a * c[3]) == x * column[3]).all()
    assert (as_numpy(a > c) == (x > column)).all()
    assert (as_numpy(ndl.where(a > c, a, b)) == np.where(x > column, x, row)).all()
    assert (as_numpy(a[:, 1:] * c) == x[:, 1:] * column).all()
    assert (as_numpy(a[1::2, : n - n % 4] * b[:, : n - n % 4]) == (x[1::2] * row)[:, : n - n % 4]).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_broadcast_operands_of_more_axes(dtype: str, gpu: ndl.Device) -> None:
    x, planes, rows = values(3, 5, 7, 256), values(3, 1, 7, 256, seed=1), values(5, 1, 1, seed=2)
    a, b, c = (tensor(part, dtype, gpu) for part in (x, planes, rows))
    assert (as_numpy(a * b) == x * planes).all()
    assert (as_numpy(a * c) == x * rows).all()
    assert (as_numpy(a.permute(1, 0, 2, 3) * c[:, None]) == x.transpose(1, 0, 2, 3) * rows[:, None]).all()
    a *= b
    assert (as_numpy(a) == x * planes).all()


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_of_what_is_repeated(n: int, dtype: str, gpu: ndl.Device) -> None:
    """One element along a row, a row down a plane, one for all; into a compact result and into a part of another."""
    column, row = values(37, 1), values(1, n, seed=1)
    if dtype == "bool":
        column, row = column > 4, row > 4
    a, b = tensor(column, dtype, gpu), tensor(row, dtype, gpu)
    assert (as_numpy(a.broadcast_to(37, n).contiguous()) == column.repeat(n, 1)).all()
    assert (as_numpy(b.broadcast_to(37, n).contiguous()) == row.repeat(37, 0)).all()
    assert (as_numpy(a[3].broadcast_to(5, n).contiguous()) == column[3]).all()
    out = ndl.zeros(37, n + 3, dtype=dtype, device=gpu)
    out[:, 2 : n + 2] = a.broadcast_to(37, n)
    assert (as_numpy(out)[:, 2 : n + 2] == column.repeat(n, 1)).all()
    assert not as_numpy(out)[:, [0, 1, -1]].any()


REDUCED = (  # shape, axes
    ((5, 40, 64), (1,)), ((3, 300, 256), (1,)), ((2, 7, 33), (1,)), ((70, 3, 5), (1,)), ((1, 4000, 128), (1,)),
    ((6, 7, 64), (0, 2)), ((64, 5, 1024), (0, 2)), ((300, 2, 4096), (0, 2)), ((9, 3, 30), (0, 2)),
    ((3, 40, 5, 48), (0, 2, 3)), ((3, 40, 5, 48), (0, 2)), ((16, 3, 20, 64), (0, 2)), ((500, 64), (1,)),
    ((1003, 10), (1,)), ((257, 300), (1,)), ((33, 1024), (1,)), ((20, 4100), (1,)), ((4099, 36), (0,)),
    ((16, 600_000), (0,)), ((3, 5, 200_064), (1,)),
)  # fmt: skip


@pytest.mark.parametrize(("shape", "axes"), REDUCED)
@pytest.mark.parametrize("dtype", DTYPES[:-1])
def test_reductions(shape: tuple[int, ...], axes: tuple[int, ...], dtype: str, gpu: ndl.Device) -> None:
    x = values(*shape) / (256 if dtype in FLOATS else 1)  # sums that a half holds
    a = tensor(x, dtype, gpu)
    views = ((a, x), (a[..., 1:], x[..., 1:]), (a[1:], x[1:]), (a.flip(-1), x[..., ::-1]))
    for given, same in views:
        if not same.size:
            continue
        assert (as_numpy(given.max(axes)) == same.max(axes)).all()
        assert (as_numpy(given.min(axes)) == same.min(axes)).all()
        if dtype in FLOATS:
            tolerance = {"float16": 2e-3, "bfloat16": 1e-2}.get(dtype, 1e-6)
            np.testing.assert_allclose(as_numpy(given.sum(axes)), same.sum(axes), rtol=tolerance)


def positions(dtype: str, *shape: int) -> list[np.ndarray[Any, Any]]:
    """Arrays that try argmax: ties, one that is largest in any place, nothing but the lowest, and NaNs."""
    rng = np.random.default_rng(0)
    found = [
        rng.integers(0, 3, shape),
        np.zeros(shape),
        rng.permuted(np.arange(np.prod(shape)).reshape(shape), axis=-1),
    ]
    if dtype == "bool":
        return [found[0] > 1, found[1]]
    if dtype not in ("float32", "float64"):
        return found[:2]
    some = np.where(rng.random(shape) < 0.02, np.nan, rng.standard_normal(shape))
    return [*found, np.full(shape, -np.inf), np.where(rng.random(shape) < 0.5, -0.0, 0.0), some, -np.abs(found[2])]


@pytest.mark.parametrize(
    "shape", [(33, 5), (1003, 10), (9, 128), (7, 1000), (3, 4096), (5, 4100), (1, 100_003), (300, 132)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_argmax(shape: tuple[int, ...], dtype: str, gpu: ndl.Device) -> None:
    """NumPy's: the first of the largest, the first NaN where there is one. Rows, columns and views that are neither."""
    for x in positions(dtype, *shape):
        kind = np.float64 if dtype == "float64" else np.float32
        a = ndl.Tensor(x.astype(kind), device=gpu).astype(dtype)
        assert (a.argmax(1).numpy() == x.argmax(1)).all()
        assert (a.argmax(0).numpy() == x.argmax(0)).all()
        assert (a[:, 1:].argmax(1).numpy() == x[:, 1:].argmax(1)).all()
        assert (a[:, ::2].argmax(1).numpy() == x[:, ::2].argmax(1)).all()
        assert (a.permute(1, 0).argmax(0).numpy() == x.argmax(1)).all()
        assert a.argmax().item() == x.argmax()


@pytest.mark.parametrize("shape", [(4, 50, 64), (3, 700, 256), (2, 9, 33), (2, 5000, 32)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "uint8"])
def test_argmax_over_the_middle(shape: tuple[int, ...], dtype: str, gpu: ndl.Device) -> None:
    for x in positions(dtype, *shape)[:2]:
        a = tensor(x, dtype, gpu)
        assert (a.argmax(1).numpy() == x.argmax(1)).all()
        assert (a[..., 1:].argmax(1).numpy() == x[..., 1:].argmax(1)).all()


@pytest.mark.parametrize("n", [1, 3, 4, 16, 20, 64, 68, 100, 256, 512, 516, 1000])
@pytest.mark.parametrize("dtype", FLOATS)
def test_short_rows(n: int, dtype: str, gpu: ndl.Device) -> None:
    """Several share a warp, and the last of them may have no row."""
    x, g = values(1003, n) / 4, values(1003, n, seed=1) / 4
    a, cotangent = tensor(x, dtype, gpu), tensor(g, dtype, gpu)
    rounding = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5}.get(dtype, 1e-12)
    near = {"rtol": rounding, "atol": rounding}
    shares = np.exp(x - x.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(as_numpy(a.softmax(-1)), shares, **near)
    np.testing.assert_allclose(as_numpy(a.log_softmax(-1)), np.log(shares), **near)
    leaf = a.detach().requires_grad_()
    leaf.softmax(-1).backward(cotangent)
    np.testing.assert_allclose(as_numpy(leaf.grad), shares * (g - (g * shares).sum(1, keepdims=True)), **near)
    mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    w, b = values(n, seed=3) / 4, values(n, seed=4) / 4
    normal = a.layer_norm(tensor(w, dtype, gpu), tensor(b, dtype, gpu), 0.01)
    np.testing.assert_allclose(
        as_numpy(normal), (x - mean) / np.sqrt(var + 0.01) * w + b, rtol=10 * rounding, atol=10 * rounding
    )

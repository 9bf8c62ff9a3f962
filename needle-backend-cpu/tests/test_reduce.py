"""Reductions, rows, indexing, optimizers and random numbers against the reference."""

import numpy as np
import pytest
from twins import CPU, DTYPES, FLOATS, Twin, assert_same, result, run, twin

from needle import philox
from needle.backend import View
from needle.errors import IndexRangeError
from needle.kinds import Random, Reduce
from needle_backend_cpu import _ext

ROUGH = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-5, "float64": 1e-12}


def permuted(x: Twin, axes: tuple[int, ...]) -> Twin:
    return Twin(*(View(v.buffer, v.layout.permute(axes), v.dtype) for v in (x.cpu, x.reference)))


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng.standard_normal(shape) if dtype in FLOATS else rng.integers(0, 4, shape)


@pytest.mark.parametrize("kind", Reduce)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reduce_rows_columns_and_pieces(kind: Reduce, dtype: str) -> None:
    if dtype == "bool" and kind in (Reduce.SUM, Reduce.PROD):
        pytest.skip("core sums bools as integers")
    rng = np.random.default_rng(kind)
    cases = [((64, 10), (0, 1), 1), ((5, 3000), (0, 1), 1), ((64, 128), (1, 0), 1), ((3000, 37), (1, 0), 1)]
    cases += [((3, 50, 7), (0, 2, 1), 2), ((4, 6, 40), (1, 0, 2), 1), ((4, 6, 5), (2, 0, 1), 1), ((7, 9), (0, 1), 0)]
    for shape, axes, kept in cases:
        data = values(rng, shape, dtype) / (1 if kind is not Reduce.PROD or dtype not in FLOATS else 30)
        if kind is Reduce.PROD and dtype in FLOATS:
            data = 1 + data / 30
        x = permuted(twin(data, dtype), axes)
        rows = int(np.prod(x.cpu.shape[:kept]))
        out = result((rows,), dtype)
        run("reduce", kind, out, x, rows, x.cpu.size // rows)
        scale = 1e-6 * x.cpu.size**0.5 if dtype == "float32" and kind is Reduce.SUM else 0.0
        assert_same(out, (shape, axes), rtol=ROUGH.get(dtype), atol=max(scale, 2e-2 if dtype == "float16" else scale))


def test_sums_are_accurate() -> None:
    rng = np.random.default_rng(0)
    data = rng.uniform(0, 1, (2, 1_500_000)).astype(np.float32)
    for x, rows in [(twin(data, "float32"), 2), (permuted(twin(data.T, "float32"), (1, 0)), 2)]:
        out = result((rows,), "float32")
        CPU.reduce(Reduce.SUM, out.cpu, x.cpu, rows, 1_500_000)
        np.testing.assert_allclose(out.numpy(CPU), data.astype(np.float64).sum(1), rtol=3e-7)


@pytest.mark.parametrize("kind", [Reduce.MAX, Reduce.MIN])
@pytest.mark.parametrize("n", [1, 3, 16, 100, 5000])
def test_nan_wins(kind: Reduce, n: int) -> None:
    for at in {0, n // 2, n - 1}:
        data = np.arange(2 * n, dtype=np.float64).reshape(2, n)
        data[1, at] = np.nan
        for dtype in FLOATS:
            out = result((2,), dtype)
            run("reduce", kind, out, twin(data, dtype), 2, n)
            assert_same(out)
        column = result((2,), "float32")
        run("reduce", kind, column, permuted(twin(data.T, "float32"), (1, 0)), 2, n)
        assert_same(column)


BORDERS = sorted({size + d for size in (0, 16, 64, 128, 2048, 4096, 65536, 131072) for d in (-1, 0, 1)} - {-1, 0})


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_rows_and_columns_at_the_borders_of_blocks(dtype: str) -> None:
    """Whole numbers, so that sums are exact; with the largest and smallest first and last."""
    rng = np.random.default_rng(10)
    for n in BORDERS:
        data = rng.integers(-9, 9, (3, n))
        data[0, -1], data[1, 0], data[2, 0], data[2, -1] = 50, 40, -60, -50
        rows, columns = twin(data, dtype), permuted(twin(data.T, dtype), (1, 0))
        for kind, right in [(Reduce.SUM, data.sum(1)), (Reduce.MAX, data.max(1)), (Reduce.MIN, data.min(1))]:
            for x in (rows, columns):
                out = result((3,), dtype)
                CPU.reduce(kind, out.cpu, x.cpu, 3, n)
                np.testing.assert_array_equal(out.numpy(CPU), right, f"{kind} {n}")


@pytest.mark.parametrize("columns", [1, 7, 16, 31, 64, 65, 128, 129, 255, 256, 257, 300, 1024, 1025])
@pytest.mark.parametrize("n", [1, 7, 8, 9, 16, 17, 127, 128, 129, 1025])
def test_columns_of_any_width(columns: int, n: int) -> None:
    data = np.random.default_rng(columns).integers(-9, 9, (n, columns))
    for kind, right in [(Reduce.SUM, data.sum(0)), (Reduce.MAX, data.max(0))]:
        out = result((columns,), "float32")
        CPU.reduce(kind, out.cpu, permuted(twin(data, "float32"), (1, 0)).cpu, columns, n)
        np.testing.assert_array_equal(out.numpy(CPU), right)


def test_the_bits_of_a_reduction_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(11)
    cases = [((1, 1_000_003), False), ((5, 300_001), False), ((300, 4099), False), ((20_000, 48), False)]
    cases += [((5000, 300), True), ((20_000, 64), True), ((9, 200_000), True)]
    before, seen = _ext.num_threads(), []
    try:
        arrays = [twin(rng.standard_normal(shape), "float32") for shape, _ in cases]
        for threads in (1, 2, 3):
            _ext.set_num_threads(threads)
            bits = []
            for x, (shape, turned) in zip(arrays, cases, strict=True):
                out = result((shape[turned],), "float32")
                CPU.reduce(
                    Reduce.SUM, out.cpu, (permuted(x, (1, 0)) if turned else x).cpu, *shape[:: -1 if turned else 1]
                )
                bits.append(out.numpy(CPU).tobytes())
            running = result((300, 4099), "float32")
            CPU.cumsum(running.cpu, arrays[2].cpu, 300, 4099)
            seen.append([*bits, running.numpy(CPU).tobytes()])
    finally:
        _ext.set_num_threads(before)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_argmax_is_the_first_of_equals_in_any_part(dtype: str) -> None:
    for n in (1, 15, 16, 63, 64, 65, 2047, 2048, 2049, 5000):
        for first in {0, n // 3, n // 2, n - 1}:
            data = np.zeros((2, n))
            data[0, first:] = 3
            data[1, [first, n - 1]] = np.nan if dtype in FLOATS else 7
            out = result((2,), "int64")
            CPU.argmax(out.cpu, twin(data, dtype).cpu, 2, n)
            assert out.numpy(CPU).tolist() == [first, first], n


@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 511, 512, 513, 1024, 1300, 70_000, 2_200_000])
def test_running_sums_of_any_length(n: int) -> None:
    """Whole numbers, so that they are exact; the longest is written past the caches."""
    data = np.random.default_rng(n).integers(-9, 9, (2, n))
    for dtype in ("float32", "float64", "int32", "int64"):
        out = result((2, n), dtype)
        CPU.cumsum(out.cpu, twin(data, dtype).cpu, 2, n)
        np.testing.assert_array_equal(out.numpy(CPU), data.cumsum(1))


def test_running_sums_of_what_is_not_finite() -> None:
    data = np.ones((4, 40))
    data[0, 5], data[1, 21], data[2, 3], data[2, 9], data[3] = np.inf, np.nan, np.inf, -np.inf, -0.0
    out = result((4, 40), "float32")
    CPU.cumsum(out.cpu, twin(data, "float32").cpu, 4, 40)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(out.numpy(CPU), data.cumsum(1))


@pytest.mark.parametrize("kind", Reduce)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reduce_of_nothing(kind: Reduce, dtype: str) -> None:
    out = result((3,), dtype)
    run("reduce", kind, out, twin(np.zeros((3, 0)), dtype), 3, 0)
    assert_same(out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_argmax_and_cumsum(dtype: str) -> None:
    rng = np.random.default_rng(5)
    data = values(rng, (6, 1300), dtype)
    if dtype in FLOATS:
        data[2, 700] = data[2, 900] = np.nan
    for x in (twin(data, dtype), permuted(twin(data.T, dtype), (1, 0))):
        for target in ("int32", "int64"):
            out = result((6,), target)
            run("argmax", out, x, 6, 1300)
            assert_same(out)
    if dtype != "bool":
        out = result((6, 40), dtype)
        run("cumsum", out, twin(values(rng, (6, 40), dtype), dtype), 6, 40)
        assert_same(
            out,
            rtol=ROUGH.get(dtype),
            atol=1e-5 if dtype == "float32" else 3e-2 if dtype in ("float16", "bfloat16") else None,
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(64, 10), (3, 5000), (1, 1), (700, 3), (20, 33), (0, 4)])
def test_softmax_family(dtype: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    rows, n = shape
    x, g = twin(rng.standard_normal(shape) * 5, dtype), twin(rng.standard_normal(shape), dtype)
    near = 1e-2 if dtype in ("float16", "bfloat16") else 1e-5 if dtype == "float32" else 1e-12
    y, log_y = result(shape, dtype), result(shape, dtype)
    run("softmax", y, x, rows, n)
    run("log_softmax", log_y, x, rows, n)
    for op, given in [("softmax_grad", y), ("log_softmax_grad", log_y)]:
        assert_same(given, op, rtol=10 * near, atol=near)
        out = result(shape, dtype)
        run(op, out, g, given, rows, n)
        assert_same(out, op, rtol=10 * near, atol=30 * near)
    for index in ("int32", "int64"):
        labels = twin(rng.integers(0, n, rows), index)
        loss, out = result((rows,), dtype), result(shape, dtype)
        run("cross_entropy", loss, x, labels)
        assert_same(loss, rtol=10 * near, atol=near)
        for scale in (twin(rng.standard_normal(rows), dtype), twin([0.25], dtype)):
            run("cross_entropy_grad", out, scale, x, labels)
            assert_same(out, rtol=10 * near, atol=10 * near)


def test_softmax_of_extremes() -> None:
    x = twin([[1e30, 0, -1e30], [-np.inf, 0, 1], [np.inf, 0, 1], [np.nan, 0, 1], [-1e4, -1e4, -1e4]], "float32")
    for op in ("softmax", "log_softmax"):
        out = result((5, 3), "float32")
        run(op, out, x, 5, 3)
        assert_same(out, op, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_gather_and_scatter_add(dtype: str, index_dtype: str) -> None:
    rng = np.random.default_rng(7)
    for outer, n, count, inner in [(1, 10, 50, 64), (3, 5, 4, 6), (2, 7, 3, 1), (1, 4, 2000, 200)]:
        x = twin(values(rng, (outer, n, inner), dtype), dtype)
        rows = permuted(twin(rng.integers(0, n, (count,)), index_dtype), (0,))
        layout = rows.cpu.layout.reshape((1, count, 1)).broadcast_to((outer, count, inner))
        whole = Twin(*(View(v.buffer, layout, v.dtype) for v in (rows.cpu, rows.reference)))
        each = twin(rng.integers(0, n, (outer, count, inner)), index_dtype)
        for index in (whole, each):
            out = result((outer, count, inner), dtype)
            run("gather", out, x, index)
            assert_same(out)
            if dtype not in ("float16", "bfloat16") or count < 100:
                total = twin(values(rng, (outer, n, inner), dtype), dtype)
                src = twin(values(rng, (outer, count, inner), dtype), dtype)
                run("scatter_add", total, index, src)
                assert_same(
                    total,
                    rtol=ROUGH.get(dtype),
                    atol=1e-4 if dtype == "float32" else 5e-2 if dtype[-2:] == "16" else 1e-10,
                )


@pytest.mark.parametrize("bad", [-1, 5, 2**31 - 1])
def test_an_index_out_of_range_is_named(bad: int) -> None:
    x, index = twin(np.zeros((1, 5, 2)), "float32"), twin(np.array([[[0, 0], [bad, 1]]]), "int32")
    with pytest.raises(IndexRangeError, match=f"^gather: index {bad} is out of range for size 5$"):
        CPU.gather(result((1, 2, 2), "float32").cpu, x.cpu, index.cpu)
    with pytest.raises(IndexRangeError, match=f"^scatter_add: index {bad} is out of range for size 5$"):
        CPU.scatter_add(x.cpu, index.cpu, twin(np.ones((1, 2, 2)), "float32").cpu)
    logits, labels = twin(np.zeros((2, 5)), "float32"), twin([0, bad], "int32")
    for op, args in [("cross_entropy", ()), ("cross_entropy_grad", (twin([1.0], "float32").cpu,))]:
        with pytest.raises(IndexRangeError, match=f"^{op}: index {bad} is out of range for size 5$"):
            getattr(CPU, op)(logits.cpu, *args, logits.cpu, labels.cpu)


@pytest.mark.parametrize("dtype", FLOATS)
def test_optimizers(dtype: str) -> None:
    rng = np.random.default_rng(8)
    shapes = [(3,), (40, 50), (300, 401), ()]

    def arrays(positive: bool = False) -> list[Twin]:
        data = [rng.standard_normal(s) for s in shapes]
        return [twin(np.abs(d) if positive else d, dtype) for d in data]

    grads = arrays()
    for momentum, nesterov in [(0.0, False), (0.9, False), (0.9, True)]:
        params, velocities = arrays(), arrays() if momentum else []
        run("sgd_step", params, grads, velocities, 0.1, momentum, 0.5, 0.01, nesterov)
        for p in [*params, *velocities]:
            assert_same(p, rtol=ROUGH[dtype], atol=ROUGH[dtype])
    for decoupled in (False, True):
        params, means, squares = arrays(), arrays(), arrays(positive=True)
        run("adam_step", params, grads, means, squares, 0.01, 0.9, 0.99, 1e-8, 0.1, decoupled, 3)
        for p in [*params, *means, *squares]:
            assert_same(p, rtol=ROUGH[dtype], atol=ROUGH[dtype])


@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (12345678901234567, 2**32 - 1000), (2**64 - 1, 2**64 - 500)])
@pytest.mark.parametrize("n", [1, 3, 4, 6, 1001, 200_001])
def test_random_numbers_are_the_references_bit_for_bit(seed: int, offset: int, n: int) -> None:
    for kind, draw in [(Random.BITS, philox.bits), (Random.UNIFORM, philox.uniform), (Random.NORMAL, philox.normal)]:
        out = result((n,), "int32" if kind is Random.BITS else "float32")
        CPU.random(kind, out.cpu, seed, offset)
        np.testing.assert_array_equal(out.numpy(CPU).view(np.int32), draw(seed, offset, n).view(np.int32))

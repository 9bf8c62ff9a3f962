"""Unary, binary, where, cast and copy against the reference: every kind, dtype and layout, special values too."""

import numpy as np
import pytest
from twins import CPU, DTYPES, FLOATS, LAYOUTS, REFERENCE, Twin, assert_same, result, run, twin

from needle.backend import View
from needle.kinds import COMPARISONS, LOGICAL, PREDICATES, Binary, Unary
from needle_backend_cpu import _ext

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e-40, 3e38, -3e38, 88.5, -103.0]
INTEGERS = {
    "bool": (0, 2),
    "uint8": (0, 256),
    "int8": (-128, 128),
    "int32": (-(2**31), 2**31),
    "int64": (-(2**63), 2**63),
}
ABOUT_ZERO = {"bool": (0, 2), "uint8": (0, 8), "int8": (-20, 20), "int32": (-20, 20), "int64": (-20, 20)}


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, small: bool = False) -> np.ndarray:
    if dtype in FLOATS:
        values = rng.standard_normal(shape) * 3
        flat = values.reshape(-1)
        flat[: len(SPECIAL)] = SPECIAL[: flat.size]
        return rng.permutation(flat).reshape(shape)
    low, high = (ABOUT_ZERO if small else INTEGERS)[dtype]
    wide = rng.integers(low, high, shape, dtype=np.int64, endpoint=False) if high < 2**63 else None
    return rng.integers(low, high - 1, shape, dtype=np.int64, endpoint=True) if wide is None else wide


def computes(kind: Unary | Binary, dtype: str) -> bool:
    """What both devices compute and define: NumPy has no arithmetic of bools."""
    code = twin([0], dtype).cpu.dtype.code
    native = _ext.has_unary(kind, code) if isinstance(kind, Unary) else _ext.has_binary(kind, code)
    if dtype == "bool":
        return native and kind in (PREDICATES | COMPARISONS | LOGICAL | {Unary.BITWISE_NOT, Binary.BITWISE_AND})
    return native and (kind not in LOGICAL) and kind is not Unary.LOGICAL_NOT


@pytest.mark.parametrize(("kind", "dtype"), [(k, d) for k in Unary for d in DTYPES if computes(k, d)])
def test_unary(kind: Unary, dtype: str) -> None:
    rng = np.random.default_rng(kind)
    for shape in [(5, 7), (3, 700), (40, 1100)]:
        for layout in LAYOUTS if shape[0] < 40 else ("compact",):
            x = twin(numbers(rng, shape, dtype), dtype, layout)
            out = result(shape, "bool" if kind in PREDICATES else dtype)
            run("unary", kind, out, x)
            smallest = 1e-37 if dtype == "float32" else None
            assert_same(out, (kind, layout), atol=smallest)


@pytest.mark.parametrize(("kind", "dtype"), [(k, d) for k in Binary for d in DTYPES if computes(k, d)])
def test_binary(kind: Binary, dtype: str) -> None:
    rng = np.random.default_rng(kind)
    small = kind in (Binary.POW, Binary.SHIFT_LEFT, Binary.SHIFT_RIGHT, Binary.EQUAL, Binary.NOT_EQUAL)
    for shape in [(5, 7), (3, 700)]:
        for layout in LAYOUTS:
            a = twin(numbers(rng, shape, dtype), dtype, layout)
            b = twin(numbers(rng, shape, dtype, small), dtype, LAYOUTS[-1 - LAYOUTS.index(layout)])
            out = result(shape, "bool" if kind in COMPARISONS | LOGICAL else dtype)
            run("binary", kind, out, a, b)
            tolerance = 1e-4 if dtype == "float32" and kind in (Binary.REMAINDER, Binary.FLOOR_DIVIDE) else None
            assert_same(out, (kind, layout), rtol=tolerance, atol=1e-37 if dtype == "float32" else None)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [Binary.FLOOR_DIVIDE, Binary.REMAINDER])
def test_zeros_of_a_division_have_the_signs_of_numpy(kind: Binary, dtype: str) -> None:
    numbers = [0.0, -0.0, 0.5, -0.5, 2.0, -2.0, np.inf, -np.inf]
    a, b = (twin(np.ravel(side), dtype) for side in np.meshgrid(numbers, numbers))
    out = result((len(numbers) ** 2,), dtype)
    run("binary", kind, out, a, b)
    found, right = out.numpy(CPU), out.numpy(REFERENCE)
    zeros = right == 0
    assert zeros.sum() >= 10
    np.testing.assert_array_equal(found == 0, zeros)
    np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(right[zeros]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 63, 1024, 1025, 5000])
def test_one_element_operands(dtype: str, n: int) -> None:
    rng = np.random.default_rng(n)
    a, one = twin(numbers(rng, (n,), dtype), dtype), twin(numbers(rng, (1,), dtype)[:1], dtype)
    kind = Binary.LOGICAL_XOR if dtype == "bool" else Binary.MAXIMUM
    for left, right in [(a, one), (one, a)]:
        out = result((n,), dtype)
        run("binary", kind, out, left, right)
        assert_same(out)
    filled = result((n,), dtype)
    CPU.binary(kind, filled.cpu, one.cpu, one.cpu)
    np.testing.assert_array_equal(filled.numpy(CPU), np.repeat(filled.numpy(CPU)[:1], n))
    chosen = result((n,), dtype)
    run("where", chosen, twin([True], "bool"), a, one)
    assert_same(chosen)


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("swapped", [False, True])
def test_binary_scalar(dtype: str, swapped: bool) -> None:
    x = twin(np.arange(1, 1500) % 100, dtype)
    for kind, scalar in [(Binary.SUB, 3), (Binary.MAXIMUM, 50), (Binary.LESS, 7)]:
        out = result((1499,), "bool" if kind in COMPARISONS else dtype)
        run("binary_scalar", kind, out, x, scalar + 0.25 if dtype in FLOATS else scalar, swapped)
        assert_same(out, kind)


def test_the_scalar_is_rounded_first() -> None:
    out = result((1,), "bool")
    CPU.binary_scalar(Binary.EQUAL, out.cpu, twin([0.1], "float16").cpu, 0.1, False)
    assert out.numpy(CPU).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_where(dtype: str, layout: str) -> None:
    rng = np.random.default_rng(0)
    for shape in [(4, 5), (7, 900)]:
        condition = twin(rng.integers(0, 2, shape), "bool", layout)
        a, b = (twin(numbers(rng, shape, dtype), dtype, name) for name in (LAYOUTS[-1 - LAYOUTS.index(layout)], layout))
        out = result(shape, dtype)
        run("where", out, condition, a, b)
        assert_same(out)


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_cast(source: str, target: str) -> None:
    rng = np.random.default_rng(1)
    values = numbers(rng, (3, 800), source)
    if source in FLOATS and target not in FLOATS and target != "bool":
        values = rng.uniform(0 if target == "uint8" else -100, 100, (3, 800))
    for layout in LAYOUTS:
        x, out = twin(values, source, layout), result((3, 800), target)
        run("cast", out, x)
        assert_same(out, layout, rtol=0 if source != "float64" or target != "bfloat16" else None)


def test_double_to_half_rounds_once() -> None:
    # Just above the middle between two halves, by less than a float can show.
    values = np.array([1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-11, 1 + 2.0**-11 - 2.0**-40, 65519.999999, 65520, np.nan])
    out = result((6,), "float16")
    run("cast", out, twin(values, "float64"))
    assert_same(out, rtol=0)


def test_all_halves_survive() -> None:
    bits = np.arange(65536, dtype=np.uint16)
    half = twin(bits.view(np.float16), "float16")
    nan = np.isnan(bits.view(np.float16))
    wide, back = result((65536,), "float32"), result((65536,), "float16")
    run("cast", wide, half)
    run("cast", back, wide)
    assert_same(wide, rtol=0)
    np.testing.assert_array_equal(back.numpy(CPU).view(np.uint16)[~nan], bits[~nan])
    assert np.isnan(back.numpy(CPU)[nan]).all()


def test_rounding_to_halves() -> None:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2**32, 400_000, dtype=np.uint32)
    values = np.concatenate([bits.view(np.float32), rng.uniform(-1e-4, 1e-4, 100_000).astype(np.float32)])
    for target in ("float16", "bfloat16"):
        out = result(values.shape, target)
        run("cast", out, twin(values, "float32"))
        assert_same(out, rtol=0)


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "int64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_copy_from_and_to_any_strides(dtype: str, layout: str) -> None:
    rng = np.random.default_rng(3)
    for shape in [(3, 4), (33, 70), (2, 3, 50), (300, 301)]:
        values = numbers(rng, shape, dtype)
        src, compact = twin(values, dtype, layout), result(shape, dtype)
        run("copy", compact, src)
        assert_same(compact)
        if layout != "broadcast":
            dst = twin(np.zeros(shape), dtype, layout)
            run("copy", dst, twin(values, dtype, "permuted"))
            assert_same(dst)


def test_copy_of_permuted_planes() -> None:
    x = twin(np.arange(4 * 5 * 6 * 7).reshape(4, 5, 6, 7), "float32")
    for axes in [(0, 2, 1, 3), (3, 2, 1, 0), (1, 0, 3, 2), (2, 3, 0, 1)]:
        layout = x.cpu.layout.permute(axes)
        views = [View(v.buffer, layout, v.dtype) for v in (x.cpu, x.reference)]
        out = result(layout.shape, "float32")
        run("copy", out, Twin(*views))
        assert_same(out, axes)


def test_update_in_place() -> None:
    x = twin(np.arange(3000), "float32")
    run("binary", Binary.ADD, x, x, twin(np.ones(3000), "float32"))
    run("unary", Unary.NEG, x, x)
    assert_same(x)
    half = twin(np.arange(3000) / 7, "float16")
    run("binary", Binary.MUL, half, half, half)
    assert_same(half)


def test_integer_division_never_traps() -> None:
    for dtype in ("int32", "int64"):
        info = np.iinfo(dtype)
        a, b = twin([info.min, 5, -5, 0, 7], dtype), twin([-1, 0, 0, 0, -2], dtype)
        for kind, expected in [(Binary.FLOOR_DIVIDE, [info.min, 0, 0, 0, -4]), (Binary.REMAINDER, [0, 0, 0, 0, -1])]:
            out = result((5,), dtype)
            CPU.binary(kind, out.cpu, a.cpu, b.cpu)
            np.testing.assert_array_equal(out.numpy(CPU), expected)


def test_empty_arrays() -> None:
    nothing = result((0, 3), "float32")
    run("unary", Unary.EXP, nothing, nothing)
    run("binary", Binary.ADD, nothing, nothing, nothing)
    run("copy", nothing, nothing)
    assert REFERENCE is not CPU


def test_a_kind_that_does_not_compute_is_refused() -> None:
    x = twin([1, 2], "int32")
    with pytest.raises(ValueError, match="unary: no such kind for this dtype"):
        CPU.unary(Unary.EXP, x.cpu, x.cpu)
    assert CPU.supports("unary", Unary.EXP, (x.cpu.dtype, x.cpu.dtype)) == "exp does not compute in int32"

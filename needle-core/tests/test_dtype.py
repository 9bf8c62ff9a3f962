"""DTypes, promotion and bfloat16 against NumPy and the Array API's tables."""

import pickle

import numpy as np
import pytest

import needle as ndl
from needle.dtype import DTYPES, as_dtype, bfloat16_from_float32, float32_from_bfloat16, promote
from needle.errors import DTypeError
from needle.ndarray import from_numpy

NUMPY = [d for d in DTYPES if d != "bfloat16"]


def test_a_dtype_is_its_name():
    assert ndl.float32 == "float32"
    assert ndl.float32 != np.float64
    assert (ndl.float32 == 3) is False
    assert f"{ndl.int64}" == "int64"
    assert pickle.loads(pickle.dumps(ndl.bfloat16)) is ndl.bfloat16
    assert as_dtype(float) is ndl.float32
    assert as_dtype(np.dtype("int32")) is ndl.int32
    assert as_dtype(np.float64) is ndl.float64


@pytest.mark.parametrize("name", ["complex64", "int16", "floaty", object(), None])
def test_unknown_dtypes(name):
    with pytest.raises(DTypeError, match=r"no dtype .*; there are bool, uint8"):
        as_dtype(name)


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_promotion(a, b):
    """As NumPy within a category; a float keeps its type when it meets ints."""
    result = promote(a, b)
    assert result is promote(b, a)
    if {a, b} in ({"int8", "uint8"}, {"float16", "bfloat16"}):
        assert result == ("int32" if a.category == "int" else "float32")
    elif a.category == b.category and "bfloat16" not in (a, b):
        assert result == np.promote_types(a, b).name
    elif a.is_float != b.is_float:
        assert result is (a if a.is_float else b)


@pytest.mark.parametrize(
    ("array", "scalar", "expected"),
    [
        ("float16", 2.5, "float16"), ("float32", 1, "float32"), ("float64", True, "float64"),
        ("int32", 2, "int32"), ("uint8", 2, "uint8"), ("int32", 2.5, "float32"), ("bool", 1.0, "float32"),
        ("int64", True, "int64"), ("bfloat16", 1.0, "bfloat16"),
    ],
)  # fmt: skip
def test_python_numbers_are_weak(array, scalar, expected):
    x = ndl.ones(2, dtype=array, device="numpy")
    assert (x * scalar).dtype == expected
    assert (scalar * x).dtype == expected
    assert (x < scalar).dtype == "bool"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: x.astype("uint8") + 256, "add: 256 does not fit uint8, which holds 0 to 255"),
        (lambda x: x.astype("int8") * -129, "mul: -129 does not fit int8"),
        (lambda x: x.astype("int64") + 2**63, f"add: {2**63} does not fit int64"),
        (lambda x: x.astype("bool") + x.astype("bool"), "add: not defined for bool"),
        (lambda x: -x.astype("bool"), "neg: not defined for bool"),
        (lambda x: x & x, "bitwise_and: takes ints or bools, not float32"),
        (lambda x: ~x, "bitwise_not: takes ints or bools, not float32"),
        (lambda x: x.astype("bool") @ x.astype("bool"), "matmul: not defined for bool"),
        (lambda x: ndl.full(3, 2**40, dtype="int32"), f"full: {2**40} does not fit int32"),
        (lambda x: x + "a", "add: cannot take a str"),
    ],
)
def test_errors(call, text):
    with pytest.raises(DTypeError) as caught:
        call(ndl.ones(3, 3, device="numpy"))
    assert text in str(caught.value)


def test_bfloat16_rounds_to_nearest_even():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(10_000) * 10.0 ** rng.integers(-30, 30, 10_000), [0.0, -0.0]])
    values = np.concatenate([values, [np.inf, -np.inf, 1 + 2**-8, 1 + 3 * 2**-8, 3.4e38]]).astype(np.float32)
    rounded = float32_from_bfloat16(bfloat16_from_float32(values))
    finite = np.isfinite(rounded) & np.isfinite(values)
    assert np.all(np.abs(rounded[finite] - values[finite]) <= np.abs(values[finite]) * 2.0**-8)
    assert np.array_equal(np.signbit(rounded), np.signbit(values))
    halfway = np.float32([1 + 2**-8, 1 + 3 * 2**-8])
    assert float32_from_bfloat16(bfloat16_from_float32(halfway)).tolist() == [1, 1.015625]
    assert np.isnan(float32_from_bfloat16(bfloat16_from_float32(np.float32([np.nan])))).all()
    exact = float32_from_bfloat16(np.arange(0, 0x7F80, dtype=np.uint16))
    assert np.array_equal(bfloat16_from_float32(exact), np.arange(0, 0x7F80, dtype=np.uint16))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_round_trip(dtype):
    values = np.array([[0, 1, 1], [1, 0, 1]])
    array = from_numpy(values, "numpy", dtype)
    assert array.dtype is dtype
    np.testing.assert_array_equal(array.numpy().astype(int), values)
    assert array.item.__self__.nbytes == 6 * dtype.itemsize


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "int64"), (1.0, "float32"), (True, "bool"), ([1, 2.0], "float32"), (np.float64(1), "float64")],
)
def test_tensors_from_python_and_numpy(value, expected):
    assert ndl.tensor(value, device="numpy").dtype == expected

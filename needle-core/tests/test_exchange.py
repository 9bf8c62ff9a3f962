"""To and from NumPy, DLPack, the buffer protocol, and Python numbers."""

import sys

import numpy as np
import pytest

import needle as ndl
from needle.dtype import DTYPES
from needle.errors import DeviceError, DTypeError, ShapeError
from needle.ndarray import from_numpy

VALUES = np.arange(12.0, dtype=np.float32).reshape(3, 4)


def array():
    return from_numpy(VALUES, "numpy")


def test_numpy_copies_and_array_shares():
    x = array()
    copied, shared = x.numpy(), np.asarray(x)
    x[0, 0] = 99
    assert copied[0, 0] == 0
    assert shared[0, 0] == 99
    assert np.array(x, copy=True).base is None
    assert np.asarray(ndl.Tensor(x), dtype=np.float64).dtype == np.float64


def test_views_are_shared_with_their_strides():
    view = array()[::-1, 1::2].permute(1, 0)
    np.testing.assert_array_equal(np.asarray(view), VALUES[::-1, 1::2].T)
    np.testing.assert_array_equal(view.numpy(), VALUES[::-1, 1::2].T)


def test_dlpack_both_ways():
    x = array()
    shared = np.from_dlpack(x)
    np.testing.assert_array_equal(shared, VALUES)
    x[1, 1] = -1
    assert shared[1, 1] == -1
    assert x.__dlpack_device__()[0] == 1
    np.testing.assert_array_equal(ndl.from_dlpack(VALUES, "numpy").numpy(), VALUES)
    np.testing.assert_array_equal(np.from_dlpack(ndl.Tensor(array())[1:]), VALUES[1:])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ came with Python 3.12")
def test_buffer_protocol():
    assert memoryview(array()).shape == (3, 4)


def test_bfloat16_has_no_numpy_face():
    x = array().astype("bfloat16")
    assert x.numpy().dtype == np.float32
    with pytest.raises(DeviceError, match="dlpack: bfloat16 on numpy:0"):
        x.__dlpack__()
    with pytest.raises(ValueError, match="cannot share"):
        x.__array__(copy=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_moves_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    x = from_numpy(rng.integers(0, 2, (4, 5)), "numpy", dtype)
    np.testing.assert_array_equal(x.to("numpy").numpy(), x.numpy())


def test_numbers():
    assert array()[1, 2].item() == 6.0
    assert float(array()[1, 2]) == 6.0
    assert int(array()[1, 2]) == 6
    assert [10, 20, 30][ndl.tensor(1, device="numpy")] == 20
    assert bool(ndl.tensor(True, device="numpy"))
    assert array()[0].tolist() == [0, 1, 2, 3]
    assert len(array()) == 3


def test_numpy_operators_give_way():
    x = ndl.tensor(VALUES, device="numpy")
    result = VALUES + x
    assert isinstance(result, ndl.Tensor)
    np.testing.assert_array_equal(result.numpy(), VALUES * 2)
    assert isinstance(VALUES @ x.T, ndl.Tensor)
    assert isinstance(np.float32(2) * x, ndl.Tensor)
    assert (np.float32(2) * x).dtype == "float32"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: array().item(), ShapeError, "item: takes an array of one element: shape is (3, 4)"),
        (lambda: bool(array()), ShapeError, "bool: the truth of 12 elements is ambiguous"),
        (lambda: [0][array()[0, 0]], DTypeError, "index: an index is an int, not float32"),
        (lambda: from_numpy(np.zeros(2, complex), "numpy"), DTypeError, "no dtype 'complex128'"),
        (lambda: ndl.tensor([[1, 2], [3]]), ShapeError, "tensor: the nested lists are ragged"),
        (lambda: ndl.tensor(["a"]), DTypeError, "no dtype"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)

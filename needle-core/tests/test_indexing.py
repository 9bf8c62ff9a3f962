"""`x[key]` and `x[key] = value` against NumPy, for NDArray and Tensor, on every kind of key."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import basic_indices

import needle as ndl
from needle.errors import DTypeError, IndexRangeError, ShapeError
from needle.ndarray import from_numpy

SHAPE = (3, 4, 5)
KEYS = [
    1,
    -1,
    slice(None),
    slice(1, None, 2),
    slice(None, None, -1),
    (slice(2, 0, -1), 1),
    (..., 0),
    (0, ..., slice(1, 3)),
    None,
    (None, 1, None, slice(2)),
    (),
    ...,
    [0, 2],
    np.array([[0, 1], [2, -1]]),
    ([0, 1], [1, 2]),
    (slice(None), [3, 0]),
    (slice(None), [3, 0], slice(1, 4)),
    ([0, 1], slice(None), [1, 2]),
    (0, slice(None), [1, 2]),
    (slice(None), 0, [1, 2]),
    ([0, 1], None, slice(None)),
    (np.array([[0], [2]]), np.array([1, 3])),
    np.arange(60).reshape(SHAPE) % 3 == 0,
    np.array([True, False, True]),
    (np.array([True, False, True]), 1),
    (slice(None), np.arange(20).reshape(4, 5) % 2 == 0),
    (np.zeros(3, bool),),
    [],
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_reads_as_numpy(key):
    values = np.arange(60, dtype=np.float32).reshape(SHAPE)
    expected = values[key] if not (isinstance(key, list) and not key) else values[np.array([], int)]
    np.testing.assert_array_equal(from_numpy(values, "numpy")[key].numpy(), expected)
    np.testing.assert_array_equal(ndl.Tensor(values, device="numpy")[key].numpy(), expected)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_writes_as_numpy(key):
    values = np.arange(60, dtype=np.float32).reshape(SHAPE)
    array = from_numpy(values, "numpy")
    key = np.array([], int) if isinstance(key, list) and not key else key
    update = np.asarray(-np.arange(values[key].size, dtype=np.float32)).reshape(values[key].shape)
    array[key] = from_numpy(update, "numpy")
    values[key] = update
    np.testing.assert_array_equal(array.numpy(), values)
    array[key] = 7
    values[key] = 7
    np.testing.assert_array_equal(array.numpy(), values)


@given(basic_indices(SHAPE, allow_newaxis=True))
def test_any_basic_key(key):
    values = np.arange(60).reshape(SHAPE)
    np.testing.assert_array_equal(from_numpy(values, "numpy")[key].numpy(), values[key])


@given(st.lists(st.integers(-3, 2), min_size=1, max_size=6), st.integers(1, 3))
def test_device_indices_wrap_and_repeat(rows, width):
    values = np.random.default_rng(0).standard_normal((3, width)).astype(np.float32)
    index = from_numpy(np.array(rows), "numpy")
    np.testing.assert_array_equal(from_numpy(values, "numpy")[index].numpy(), values[rows])


def test_views_share_memory_and_picks_do_not():
    array = from_numpy(np.zeros((3, 4), np.float32), "numpy")
    array[1:, ::2].assign(1.0)
    assert array.numpy().sum() == 4
    array[[0, 1]].assign(5.0)
    assert array.numpy().max() == 1


def test_the_gradient_of_a_pick_adds_up_repeats():
    x = ndl.Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, device="numpy")
    x[[0, 2, 0]].sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[2, 2], [0, 0], [1, 1]])
    x.grad = None
    x[x.detach() > 2].sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0], [0, 1], [1, 1]])


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (3, IndexRangeError, "index: 3 is out of range for axis 0 of size 3: shape is (3, 4, 5)"),
        ((0, 0, 0, 0), IndexRangeError, "index: 4 indices for rank 3"),
        ((..., ...), ShapeError, "more than one Ellipsis"),
        ("a", DTypeError, "index: 'a' is no index"),
        (1.5, DTypeError, "index: 1.5 is no index"),
        ([0.5], DTypeError, "index: an index array holds ints or bools, not float64"),
        ([5], IndexRangeError, "index: 5 is out of range for axis 0 of size 3"),
        (np.array([True, False]), IndexRangeError, "a mask of shape (2,) does not fit axes 0 to 0 of (3, 4, 5)"),
        (True, ShapeError, "index: a single bool is no index"),
        (slice(None, None, 0), ShapeError, "slice step cannot be zero"),
        (([0, 1], [0, 1, 2]), ShapeError, "index: cannot broadcast (2,) with (3,)"),
    ],
    ids=str,
)
def test_errors(key, error, text):
    with pytest.raises(error) as caught:
        from_numpy(np.zeros(SHAPE), "numpy")[key]
    assert text in str(caught.value)


def test_assigning_to_a_broadcast_view_is_refused():
    with pytest.raises(ShapeError, match="repeats elements"):
        from_numpy(np.zeros(3), "numpy").broadcast_to(2, 3).assign(1.0)

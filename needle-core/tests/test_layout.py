"""Layouts against NumPy: random chains of views lay their elements where NumPy's views do."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from needle.errors import ShapeError
from needle.layout import Layout, merge_axes
from needle.shape import MAX_RANK, as_shape, broadcast_axes, broadcast_shapes, normalize_axes, resolve_reshape


def elements(layout, buffer):
    """The elements of a layout over a buffer, by its definition."""
    result = np.empty(layout.shape, buffer.dtype)
    for index in np.ndindex(*layout.shape):
        result[index] = buffer[layout.offset + sum(i * s for i, s in zip(index, layout.strides, strict=True))]
    return result


SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)


@st.composite
def chains(draw):
    """A shape and a few views to take one after another."""
    shape = draw(SHAPES)
    steps = draw(st.lists(st.sampled_from(["permute", "slice", "flip", "broadcast", "select", "insert"]), max_size=5))
    return shape, steps, draw(st.randoms(use_true_random=False))


@given(chains())
def test_views_lie_where_numpys_do(chain):
    shape, steps, random = chain
    buffer = np.arange(int(np.prod(shape)))
    layout, array = Layout.compact(shape), buffer.reshape(shape)
    for step in steps:
        rank = array.ndim
        axis = random.randrange(rank) if rank else 0
        if step == "permute":
            order = tuple(random.sample(range(rank), rank))
            layout, array = layout.permute(order), array.transpose(order)
        elif step == "slice" and rank:
            n = array.shape[axis]
            start, stop, stride = slice(random.choice([None, 1, -2]), None, random.choice([1, 2, -1])).indices(n)
            length = len(range(start, stop, stride))
            layout = layout.slice(axis, start, stride, length)
            array = np.take(array, range(start, stop, stride), axis)
        elif step == "flip" and rank:
            layout, array = layout.flip((axis,)), np.flip(array, axis)
        elif step == "broadcast":
            target = (2, *array.shape)
            layout, array = layout.broadcast_to(target), np.broadcast_to(array, target)
        elif step == "select" and rank and array.shape[axis]:
            i = random.randrange(array.shape[axis])
            layout, array = layout.select(axis, i), np.take(array, i, axis)
        elif step == "insert":
            layout, array = layout.insert_axis(axis), np.expand_dims(array, axis)
    np.testing.assert_array_equal(elements(layout, buffer), array)
    low, high = layout.span()
    touched = {
        layout.offset + sum(i * s for i, s in zip(index, layout.strides, strict=True))
        for index in np.ndindex(*layout.shape)
    }
    assert all(low <= t < high for t in touched)
    if touched:
        assert low in touched
        assert high - 1 in touched


@given(SHAPES, st.randoms(use_true_random=False))
def test_reshape_is_a_view_or_none_and_never_wrong(shape, random):
    order = tuple(random.sample(range(len(shape)), len(shape)))
    buffer = np.arange(int(np.prod(shape)))
    layout, array = Layout.compact(shape).permute(order), buffer.reshape(shape).transpose(order)
    for target in {(array.size,), (1, array.size, 1), array.shape[::-1], shape}:
        result = layout.reshape(target)
        if result is not None:
            np.testing.assert_array_equal(elements(result, buffer), array.reshape(target))


def test_reshape_finds_every_view_that_there_is():
    column_slices = Layout.compact((4, 6)).slice(1, 0, 1, 3)
    assert column_slices.reshape((2, 2, 3)) == Layout((2, 2, 3), (12, 6, 1))
    assert column_slices.reshape((12,)) is None
    assert Layout.compact((2, 3)).permute((1, 0)).reshape((6,)) is None
    assert Layout.compact((5,)).broadcast_to((4, 5)).reshape((2, 2, 5)) == Layout((2, 2, 5), (0, 0, 1))


def test_merge_axes_keeps_the_walk():
    assert merge_axes((2, 3, 4), (12, 4, 1)) == [(24, 1)]
    assert merge_axes((2, 3, 4), (1, 8, 2)) == [(2, 1), (12, 2)]
    assert merge_axes((2, 1, 4), (4, 99, 1)) == [(8, 1)]


def test_values():
    assert Layout.compact((2, 3)).permute((1, 0)) == Layout(shape=(3, 2), strides=(1, 3), offset=0)
    assert Layout.compact((2, 3)) is Layout.compact((2, 3))
    assert hash(Layout((2,), (1,))) == hash(Layout.compact((2,)))
    with pytest.raises(AttributeError):
        Layout.compact((2,)).offset = 3
    assert Layout.compact((4,)).broadcast_to((2, 4)).overlaps_itself()
    assert not Layout.compact((3, 4)).permute((1, 0)).flip((0,)).overlaps_itself()


@given(st.lists(SHAPES, min_size=1, max_size=3))
def test_broadcast_shapes_as_numpy(shapes):
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError, match=r"add: cannot broadcast .* differ and neither is 1"):
            broadcast_shapes("add", *shapes)
    else:
        assert broadcast_shapes("add", *shapes) == expected


@pytest.mark.parametrize(
    ("shape", "target", "axes"),
    [((3, 1), (2, 3, 4), (0, 2)), ((), (2, 3), (0, 1)), ((2, 3), (2, 3), ()), ((1,), (1,), ())],
)
def test_broadcast_axes(shape, target, axes):
    assert broadcast_axes(shape, target) == axes


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: as_shape((2, -1)), "shape: negative size in (2, -1)"),
        (lambda: as_shape((2**40, 2**40)), "more elements than a 64-bit size"),
        (lambda: as_shape((1,) * (MAX_RANK + 1)), f"{MAX_RANK + 1} axes, at most {MAX_RANK}"),
        (lambda: as_shape("ab"), "a shape is an int or a tuple of ints"),
        (lambda: resolve_reshape((2, 3), (4, -1)), "reshape: 6 elements do not divide into (4, -1)"),
        (lambda: resolve_reshape((2, 3), (-1, -1)), "reshape: more than one -1"),
        (lambda: resolve_reshape((2, 3), (5,)), "reshape: (2, 3) has 6 elements, (5,) has 5"),
        (lambda: normalize_axes((0, -2), 2, "sum"), "sum: axis repeated"),
        (lambda: normalize_axes(2, 2, "sum"), "sum: axis 2 is out of range for rank 2"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ShapeError) as caught:
        call()
    assert text in str(caught.value)

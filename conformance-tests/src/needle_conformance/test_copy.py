"""Stage 3: copies between any two layouts, which every later stage rests on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from needle.device import Device
from needle.dispatch import copy
from needle.dtype import as_dtype
from needle.layout import Layout
from needle.ndarray import from_bits, full
from needle.shape import Shape
from needle_conformance.kernel import KernelTrial
from needle_conformance.kernels.copy import trials


@pytest.mark.over.with_args(trials)
def test_copy(device: Device, trial: KernelTrial) -> None:
    trial.check()


@st.composite
def strided(draw: Any, shape: Shape, repeats: bool) -> Layout:
    """A layout of any strides that does not overlap itself, unless `repeats` lets some be 0."""
    strides, offset, step = [0] * len(shape), draw(st.integers(0, 3)), 1
    for axis in draw(st.permutations(range(len(shape)))):
        gap, sign = draw(st.integers(1, 3)), draw(st.sampled_from((1, -1)))
        if repeats and draw(st.integers(0, 3)) == 0:
            continue
        strides[axis] = sign * step * gap
        offset += max(shape[axis] - 1, 0) * step * gap if sign < 0 else 0
        step *= max(shape[axis], 1) * gap
    return Layout(shape, tuple(strides), offset)


@st.composite
def pairs(draw: Any) -> tuple[Layout, Layout]:
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=5)))
    return draw(strided(shape, repeats=False)), draw(strided(shape, repeats=True))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(layouts=pairs(), dtype=st.sampled_from(("float32", "bool", "int32")))
def test_any_strides(device: Device, layouts: tuple[Layout, Layout], dtype: str) -> None:
    to, of = layouts
    source = (np.arange(of.span()[1] + 1) * 7 % 251).astype(dtype)
    before = np.ones(to.span()[1] + 1, dtype)
    target = from_bits(before, as_dtype(dtype), device)
    copy(device, target.viewed(to), from_bits(source, as_dtype(dtype), device).viewed(of))
    _seen(before, to)[...] = _seen(source, of)
    np.testing.assert_array_equal(target.numpy(), before)


def _seen(flat: Any, layout: Layout) -> Any:
    strides = tuple(s * flat.itemsize for s in layout.strides)
    return np.ndarray(layout.shape, flat.dtype, flat, layout.offset * flat.itemsize * (layout.size > 0), strides)


def test_order(device: Device) -> None:
    """Work is done in the order of the calls, though a buffer is dropped as soon as its last call has returned."""
    x = full((1000,), 0.0, "float32", device)
    for i in range(50):
        x[i:] = full((), float(i + 1), "float32", device)
    np.testing.assert_array_equal(x.numpy(), np.minimum(np.arange(1000) + 1, 50))

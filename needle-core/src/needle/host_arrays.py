"""Views of host memory as NumPy arrays: what the definitions of the reference backend read and write."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray as _NDArray

from needle.backend import View
from needle.dtype import bfloat16, bfloat16_from_float32, float16, float32_from_bfloat16, numpy_dtype
from needle.errors import DTypeError

Array: TypeAlias = _NDArray[Any]


def elements(view: View) -> Array:
    """The NumPy array that shares the view's memory (bfloat16 as uint16)."""
    size = view.dtype.itemsize
    layout = view.layout
    strides = tuple(s * size for s in layout.strides)
    offset = layout.offset * size if layout.size else 0
    return np.ndarray(layout.shape, numpy_dtype(view.dtype), view.buffer.raw, offset, strides)


def read(view: View) -> Array:
    """The values to compute with: float32 for halves."""
    if view.dtype is bfloat16:
        return float32_from_bfloat16(elements(view))
    return elements(view).astype(np.float32) if view.dtype is float16 else elements(view)


def write(dst: View, values: Any) -> None:
    """Store results, rounded to dst's dtype; those of one element everywhere."""
    values = np.asarray(values)
    if dst.dtype is bfloat16:
        values = bfloat16_from_float32(values)
    np.copyto(elements(dst), values.reshape(() if values.size == 1 else dst.shape), casting="unsafe")


def check_numbers(values: Array) -> None:
    """Raise DTypeError for what NumPy made of text, None, or objects."""
    if values.dtype.kind in "OSU":
        raise DTypeError(f"array: takes numbers, not {values.dtype} of shape {values.shape}")


def limit(dtype: np.dtype[Any], lowest: bool) -> Any:
    """What is below, or above, all elements of a type."""
    if dtype.kind == "b":
        return not lowest
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max

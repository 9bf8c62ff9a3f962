"""For the tests of ops and of backends: closeness by dtype, gradients against differences, arrays of every layout.

Everything is compared on the host, in NumPy, and never by means of the device that is tested.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from needle.device import Device
from needle.dtype import DType, as_dtype, bfloat16, bfloat16_from_float32, float32_from_bfloat16, numpy_dtype
from needle.functions import sum as total
from needle.layout import Layout
from needle.ndarray import NDArray, from_bits
from needle.registry import device as as_device
from needle.tensor import Tensor, grad_of

# Some units in the last place of each type; and the smallest normal number, below which devices may flush to 0.
RTOL = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
ATOL = {"float64": 2.3e-308, "float32": 1.2e-38, "float16": 6.2e-5, "bfloat16": 1.2e-38}

LAYOUTS = ("compact", "offset", "padded", "permuted", "sliced", "flipped", "broadcast")
_BEFORE, _AFTER = 7, 5  # elements around an array that lies at an offset


def rounded(values: Any, dtype: Any) -> Any:
    """The values as elements of a dtype, in NumPy (bfloat16 as float32)."""
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            return float32_from_bfloat16(bfloat16_from_float32(np.asarray(values))).reshape(np.shape(values))
        return np.asarray(values).astype(str(dtype))


def assert_close(
    actual: Any, expected: Any, *, dtype: Any = None, rtol: float | None = None, atol: float | None = None,
    about: str = "",
) -> None:  # fmt: skip
    """|actual - expected| <= atol + rtol * |expected|, with NaN and infinities in the same places.

    `expected` is first rounded to `dtype`, which is that of `actual` by default; ints and bools must be equal.
    """
    target = as_dtype(actual.dtype if dtype is None else dtype)
    found, wanted = as_numpy(actual), rounded(expected, target)
    if found.shape != wanted.shape:
        raise AssertionError(f"{about}shape is {found.shape}, expected {wanted.shape}")
    if target.is_float:
        found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    near = ATOL.get(target, 0.0) if atol is None else atol
    wrong = _differences(found, wanted, RTOL.get(target, 0.0) if rtol is None else rtol, near)
    if wrong.any():
        raise AssertionError(about + _described(found, wanted, wrong))


def as_numpy(value: Any) -> Any:
    """The elements of a Tensor, NDArray or NumPy array, as a NumPy array."""
    return value.numpy() if isinstance(value, Tensor | NDArray) else np.asarray(value)


def _differences(found: Any, wanted: Any, rtol: float, atol: float) -> Any:
    if wanted.dtype.kind != "f":
        return found != wanted
    with np.errstate(all="ignore"):
        close = np.abs(found - wanted) <= atol + rtol * np.abs(wanted)
    exact = ~np.isfinite(wanted) | ~np.isfinite(found)
    return ~np.where(exact, (found == wanted) | (np.isnan(found) & np.isnan(wanted)), close)


def _described(found: Any, wanted: Any, wrong: Any) -> str:
    """How many elements differ, and the first of them."""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    here = f"first at {at}: {found[at].item()!r} instead of {wanted[at].item()!r}"
    text = f"{int(wrong.sum())} of {wrong.size} elements differ, {here}"
    if wanted.dtype.kind != "f":
        return text
    with np.errstate(all="ignore"):
        error = np.abs(found - wanted) / np.maximum(np.abs(wanted), np.finfo(np.float64).tiny)
    return f"{text}; the largest relative error is {np.nanmax(np.where(wrong, error, 0.0)):.2g}"


# Arrays of every layout.


def stored(values: Any, layout: str, dtype: Any) -> tuple[Any, Layout]:
    """The bytes of a buffer, as a flat NumPy array, and the layout in it that shows `values`.

    What the layout does not show is NaN, or an odd number, so that a wrong address is seen. A "broadcast" array
    repeats its first row, whatever the others are.
    """
    element = as_dtype(dtype)
    bits = bfloat16_from_float32(values).reshape(np.shape(values)) if element is bfloat16 else np.asarray(values)
    bits = bits.astype(numpy_dtype(element))
    base, view = _placed(bits, layout, _junk(element))
    return base.reshape(-1), view


def _placed(bits: Any, layout: str, junk: Any) -> tuple[Any, Layout]:
    shape = bits.shape
    axes = tuple(range(len(shape)))
    if layout == "offset":
        base = np.concatenate([np.full(_BEFORE, junk), bits.reshape(-1), np.full(_AFTER, junk)])
        return base, Layout(shape, Layout.compact(shape).strides, _BEFORE)
    if layout == "padded" and shape:
        base = np.concatenate([bits, np.full((*shape[:-1], 3), junk)], axis=-1)
        return base, Layout.compact(base.shape).slice(axes[-1], 0, 1, shape[-1])
    if layout == "permuted":
        return bits.transpose().copy(), Layout.compact(shape[::-1]).permute(axes[::-1])
    if layout == "sliced":
        base, view = np.full(tuple(2 * n + 1 for n in shape), junk), Layout.compact(tuple(2 * n + 1 for n in shape))
        base[tuple(slice(1, 2 * n + 1, 2) for n in shape)] = bits
        for axis, n in enumerate(shape):
            view = view.slice(axis, 1, 2, n)
        return base, view
    if layout == "flipped":
        return np.flip(bits).copy(), Layout.compact(shape).flip(axes)
    if layout == "broadcast" and shape:
        return bits[:1].copy(), Layout.compact((min(shape[0], 1), *shape[1:])).broadcast_to(shape)
    return bits.copy(), Layout.compact(shape)


def _junk(dtype: DType) -> Any:
    if dtype is bfloat16:
        return np.uint16(0x7FC0)
    return numpy_dtype(dtype).type(float("nan") if dtype.is_float else 77)


def arrange(values: Any, layout: str, dtype: Any = "float32", device: Device | str | None = None) -> NDArray:
    """An array that holds `values` in one of LAYOUTS; only allocated and uploaded, no kernel runs."""
    bits, view = stored(values, layout, dtype)
    return from_bits(bits, as_dtype(dtype), as_device(device)).viewed(view)


# Gradients.


# By order of accuracy: the points of a central difference, in steps, and their weights.
_STENCILS = {2: ((1, 1 / 2), (-1, -1 / 2)), 4: ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12))}


def numeric_gradient(f: Callable[..., float], arrays: Sequence[Any], order: int = 4) -> list[Any]:
    """The gradient of f, which takes float64 arrays and gives a number, by central differences of this order."""
    step = 1e-3 if order == 4 else 1e-5
    arrays = [np.array(a, np.float64) for a in arrays]
    gradients = [np.zeros_like(a) for a in arrays]
    for array, gradient in zip(arrays, gradients, strict=True):
        for i in np.ndindex(array.shape):
            x = array[i]
            for k, weight in _STENCILS[order]:
                array[i] = x + k * step
                gradient[i] += weight * f(*arrays) / step
            array[i] = x
    return gradients


def gradcheck(f: Callable[..., Tensor], *inputs: Any, rtol: float = 1e-6, device: Device | str | None = None) -> None:
    """Assert that the gradients of f, a function of Tensors, agree with central differences, in float64."""
    arrays = [np.asarray(as_numpy(x), np.float64) for x in inputs]
    leaves = [Tensor(a, device=device, requires_grad=True) for a in arrays]
    found = grad_of(total(f(*leaves)), leaves, allow_unused=True)
    wanted = numeric_gradient(lambda *a: float(total(f(*(Tensor(x, device=device) for x in a))).item()), arrays)
    for i, (g, expected) in enumerate(zip(found, wanted, strict=True)):
        actual = np.zeros_like(expected) if g is None else as_numpy(g)
        assert_gradient(actual, expected, rtol, f"gradient of input {i}: ")


def assert_gradient(actual: Any, expected: Any, rtol: float, about: str = "") -> None:
    """Each element to `rtol` of itself, and to a thousandth of that of the largest element."""
    largest = float(np.max(np.abs(expected), initial=0.0))
    assert_close(actual, expected, dtype="float64", rtol=rtol, atol=rtol * max(largest, 1.0) / 1000, about=about)

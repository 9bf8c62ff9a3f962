"""NumPy's functions of Tensors: `np.argmax(x)` is `needle.argmax(x)`, on x's device and with its gradient.

`np.sum` and others that ask an array for its method of that name need no entry. What has none here is NumPy's own, of
a copy on the host.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from needle import functions, placement
from needle.arrangement import argsort, sort
from needle.conversions import NUMPY_FUNCTIONS
from needle.einstein import einsum
from needle.errors import ArgumentError
from needle.init import ones_like, zeros_like
from needle.shape import only_defaults
from needle.tensor import Tensor, TensorLike


def _argmax(a: Tensor, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Tensor:
    only_defaults("argmax", {"out": out})
    return functions.argmax(a, axis, keepdims)


def _argmin(a: Tensor, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Tensor:
    only_defaults("argmin", {"out": out})
    return functions.argmin(a, axis, keepdims)


def _cumsum(a: Tensor, axis: int | None = None, dtype: Any = None, out: None = None) -> Tensor:
    only_defaults("cumsum", {"dtype": dtype, "out": out})
    return functions.cumsum(*_along(a, axis))


def _sort(a: Tensor, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Tensor:
    """Stable, as any kind may be."""
    return sort(*_along(a, axis))


def _argsort(a: Tensor, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Tensor:
    return argsort(*_along(a, axis))


def _concatenate(
    arrays: Sequence[TensorLike], /, axis: int | None = 0, out: None = None, *, dtype: Any = None, casting: str = ""
) -> Tensor:
    only_defaults("concatenate", {"out": out, "dtype": dtype})
    if axis is None:
        return functions.concatenate([x.reshape(-1) for x in _together("concatenate", arrays)])
    return functions.concatenate(_together("concatenate", arrays), axis)


def _stack(
    arrays: Sequence[TensorLike], axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = ""
) -> Tensor:
    only_defaults("stack", {"out": out, "dtype": dtype})
    return functions.stack(_together("stack", arrays), axis)


def _where(condition: TensorLike, *choices: TensorLike) -> Any:
    if not choices:  # the positions, which Needle has no op for
        return np.where(np.asarray(condition))
    return functions.where(_together("where", (condition, *choices))[0], *choices)


def _clip(a: Tensor, a_min: Any = None, a_max: Any = None, out: None = None, **options: Any) -> Tensor:
    low, high = options.pop("min", a_min), options.pop("max", a_max)
    only_defaults("clip", {"out": out, **options})
    return functions.clip(a, low, high)


def _einsum(equation: str, *operands: TensorLike, out: None = None, optimize: Any = False, **options: Any) -> Tensor:
    """Operands are multiplied from left to right, whatever `optimize` is."""
    only_defaults("einsum", {"out": out, **options})
    return einsum(equation, *_together("einsum", operands))


def _reshape(a: Tensor, shape: Any, order: str = "C", *, copy: bool | None = None) -> Tensor:
    if order != "C" or copy is not None:
        raise ArgumentError("reshape: arrays of Needle are in row-major order, and are copied where they must be")
    return functions.reshape(a, shape)


def _split(a: Tensor, parts: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Equal parts, or what lies between the given positions."""
    if isinstance(parts, int):
        return list(functions.split(a, parts, axis))
    ends = [0, *parts, a.shape[axis]]
    return list(functions.split(a, [end - start for start, end in pairwise(ends)], axis))


def _expand_dims(a: Tensor, axis: int) -> Tensor:
    return functions.expand_dims(a, axis)


def _broadcast_to(array: Tensor, shape: Any, subok: bool = False) -> Tensor:
    return functions.broadcast_to(array, shape)


def _transpose(a: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    return functions.permute(a, tuple(range(a.ndim)[::-1] if axes is None else axes))


def _swapaxes(a: Tensor, axis1: int, axis2: int) -> Tensor:
    return a.transpose((axis1, axis2))


def _moveaxis(a: Tensor, source: Any, destination: Any) -> Tensor:
    return placement.moveaxis(a, source, destination)


def _tile(A: Tensor, reps: Any) -> Tensor:  # NumPy's name
    return placement.tile(A, reps)


def _repeat(a: Tensor, repeats: int, axis: int | None = None) -> Tensor:
    return placement.repeat(a, repeats, axis)


def _roll(a: Tensor, shift: Any, axis: Any = None) -> Tensor:
    return placement.roll(a, shift, axis)


def _tril(m: Tensor, k: int = 0) -> Tensor:
    return placement.tril(m, k)


def _triu(m: Tensor, k: int = 0) -> Tensor:
    return placement.triu(m, k)


def _ravel(a: Tensor, order: str = "C") -> Tensor:
    return _reshape(a, -1, order)


def _zeros_like(a: Tensor) -> Tensor:
    return zeros_like(a)


def _ones_like(a: Tensor) -> Tensor:
    return ones_like(a)


def _along(a: Tensor, axis: int | None) -> tuple[Tensor, int]:
    """For NumPy an axis of None is that of all elements in a row."""
    return (a.reshape(-1), 0) if axis is None else (a, axis)


def _together(op: str, values: Sequence[TensorLike]) -> list[Tensor]:
    """Tensors, and what stands among them, on one device."""
    model = next(x for x in values if isinstance(x, Tensor))
    return [model.like(np.asarray(x) if isinstance(x, (list, tuple)) else x, op) for x in values]


_OWN: dict[Callable[..., Any], Callable[..., Any]] = {
    np.argmax: _argmax, np.argmin: _argmin, np.cumsum: _cumsum, np.sort: _sort, np.argsort: _argsort,
    np.concatenate: _concatenate, np.stack: _stack, np.where: _where, np.clip: _clip, np.einsum: _einsum,
    np.reshape: _reshape, np.ravel: _ravel, np.split: _split, np.expand_dims: _expand_dims,
    np.broadcast_to: _broadcast_to, np.swapaxes: _swapaxes, np.transpose: _transpose,
    np.moveaxis: _moveaxis, np.zeros_like: _zeros_like,
    np.ones_like: _ones_like, np.tile: _tile, np.repeat: _repeat, np.roll: _roll, np.tril: _tril, np.triu: _triu,
}  # fmt: skip
NUMPY_FUNCTIONS.update(_OWN)

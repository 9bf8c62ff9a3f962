"""Tensors made from nothing: constants, random numbers, and the initial values of layers.

`rand`, `randn` and `randb` draw from Needle's generator, the same numbers on every device. The initializers of
layers (`uniform` to `kaiming_*`) draw from NumPy's global one, as the course does; `needle.manual_seed` seeds both.
"""

from math import erf, sqrt
from typing import Any

import numpy as np

from needle.device import Device
from needle.dispatch import index_dtype
from needle.errors import ArgumentError, OutOfMemoryError, ShapeError, shown
from needle.face import Tensor
from needle.ndarray import NDArray, from_numpy
from needle.ndarray import arange as _arange
from needle.ndarray import empty as _empty
from needle.ndarray import full as _full
from needle.op import Scalar
from needle.random import Generator, default_generator
from needle.registry import device as as_device
from needle.shape import Shape, as_shape
from needle.tensor import TensorLike
from needle.views import shape_argument

DeviceLike = Device | str | None


def tensor(value: TensorLike, dtype: Any = None, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    """A Tensor from numbers, nested lists or arrays. Python floats are float32, ints int64."""
    return Tensor(value, device=device, dtype=dtype, requires_grad=requires_grad)


def constant(
    *shape: Any, c: Scalar = 1.0, device: DeviceLike = None, dtype: Any = "float32", requires_grad: bool = False
) -> Tensor:
    """Every element c."""
    return Tensor(_full(shape_argument(shape), c, dtype, device), requires_grad=requires_grad)


def ones(*shape: Any, device: DeviceLike = None, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    return constant(*shape, c=1, device=device, dtype=dtype, requires_grad=requires_grad)


def zeros(*shape: Any, device: DeviceLike = None, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    return constant(*shape, c=0, device=device, dtype=dtype, requires_grad=requires_grad)


def full(
    shape: int | Shape, value: Scalar, device: DeviceLike = None, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Every element `value`; of its type unless `dtype` says otherwise."""
    return Tensor(_full(shape, value, dtype, device), requires_grad=requires_grad)


def empty(*shape: Any, device: DeviceLike = None, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Elements are whatever the memory held."""
    return Tensor(_empty(shape_argument(shape), dtype, device), requires_grad=requires_grad)


def zeros_like(array: Tensor | NDArray, *, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    return full(array.shape, 0, device or array.device, array.dtype, requires_grad)


def ones_like(array: Tensor | NDArray, *, device: DeviceLike = None, requires_grad: bool = False) -> Tensor:
    return full(array.shape, 1, device or array.device, array.dtype, requires_grad)


def full_like(array: Tensor | NDArray, value: Scalar, *, device: DeviceLike = None, dtype: Any = None) -> Tensor:
    """Every element `value`, in the shape of another; of its type unless `dtype` says otherwise."""
    return full(array.shape, value, device or array.device, dtype or array.dtype)


def arange(
    start: Scalar, stop: Scalar | None = None, step: Scalar = 1, *, device: DeviceLike = None, dtype: Any = None
) -> Tensor:
    """start, start + step, ... below stop; `arange(n)` counts from 0. Ints give int64 (int32 where there is none)."""
    first, last = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ShapeError("arange: the step is 0")
    try:
        values = np.arange(first, last, step)
    except MemoryError:
        raise OutOfMemoryError(int((last - first) / step) * 8) from None
    except (TypeError, ValueError):
        given = ", ".join(map(shown, (first, last, step)))
        raise ArgumentError(f"arange: takes finite numbers for start, stop and step, not {given}") from None
    if dtype is None and values.dtype.kind == "i":
        dtype = index_dtype(as_device(device))
    return Tensor(from_numpy(values, device, "float32" if dtype is None else dtype))


def linspace(start: float, stop: float, n: int, *, device: DeviceLike = None, dtype: Any = "float32") -> Tensor:
    """n numbers from start to stop, both included."""
    n = as_shape(n, "linspace")[0]
    return Tensor(from_numpy(np.linspace(start, stop, n), device, dtype))


def eye(n: int, *, device: DeviceLike = None, dtype: Any = "float32") -> Tensor:
    """The identity matrix."""
    n = as_shape(n, "eye")[0]
    return Tensor(from_numpy(np.eye(n), device, dtype))


def one_hot(
    n: int, i: Tensor, device: DeviceLike = None, dtype: Any = "float32", requires_grad: bool = False
) -> Tensor:
    """(..., n): 1 at position i[...] of the last axis, else 0; where i[...] is out of range, zeros alone."""
    index = i if isinstance(i, Tensor) else Tensor(i, device=device)
    whole = index.to(device).array if device is not None else index.array
    whole = whole if whole.dtype.category == "int" else whole.astype("int32")
    hot = whole.expand_dims(whole.ndim) == _arange(n, whole.dtype, whole.device)
    return Tensor(hot.astype(dtype), requires_grad=requires_grad)


def rand(
    *shape: Any, low: float = 0.0, high: float = 1.0, device: DeviceLike = None, dtype: Any = "float32",
    requires_grad: bool = False, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Uniform in [low, high)."""
    values = (generator or default_generator()).uniform(shape_argument(shape), device)
    return _finished(values, high - low, low, dtype, requires_grad)


def randn(
    *shape: Any, mean: float = 0.0, std: float = 1.0, device: DeviceLike = None, dtype: Any = "float32",
    requires_grad: bool = False, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Normal, with this mean and standard deviation."""
    values = (generator or default_generator()).normal(shape_argument(shape), device)
    return _finished(values, std, mean, dtype, requires_grad)


def randb(
    *shape: Any, p: float = 0.5, device: DeviceLike = None, dtype: Any = "bool", requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """True with probability p."""
    hit = (generator or default_generator()).uniform(shape_argument(shape), device) <= p
    return Tensor(hit.astype(dtype), requires_grad=requires_grad)


def randint(
    low: int, high: int | Shape, shape: int | Shape | None = None, *, device: DeviceLike = None, dtype: Any = "int32",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Integers from low to high - 1, each as likely as the others to 1 in 2**32 / (high - low); `randint(high, shape)`
    starts at 0."""
    first, last, sizes = (0, low, high) if shape is None else (low, high, shape)
    if not (isinstance(first, int) and isinstance(last, int) and 0 < last - first < 1 << 31):
        given = f"{shown(first)} and {shown(last)}"
        raise ArgumentError(f"randint: takes ints low < high, less than 2**31 apart, not {given}")
    bits = (generator or default_generator()).bits(as_shape(sizes, "randint"), device)
    return Tensor((bits % (last - first) + first).astype(dtype))


def multinomial(weights: Tensor, n: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Positions drawn from the last axis in proportion to weights (..., K), none of them negative: (..., n) of int32.

    Each position waits for an exponential time of rate w, and the first ones win (Efraimidis and Spirakis, "Weighted
    random sampling with a reservoir", 2006); with replacement each of the n draws is a race of its own.
    """
    p = weights.detach()
    if not p.ndim or n < 1 or not (replacement or n <= p.shape[-1]) or not p.shape[-1]:
        once = "" if replacement else ", none twice"
        raise ShapeError(f"multinomial: {n} draws{once} from weights of shape {p.shape}")
    races = (*p.shape[:-1], n if replacement else 1, p.shape[-1])
    u = (generator or default_generator()).uniform(races, p.device).maximum(2.0**-25)
    speed = Tensor(-(p.array.expand_dims(p.ndim - 1).astype("float32") / u.log()))
    order = speed.argmax(-1) if replacement else speed.squeeze(-2).argsort(True)[..., :n]
    return order.astype("int32")


def _finished(values: NDArray, scale: float, shift: float, dtype: Any, requires_grad: bool) -> Tensor:
    values = values if scale == 1.0 else values * scale
    return Tensor((values if shift == 0.0 else values + shift).astype(dtype), requires_grad=requires_grad)


# Initial values of layers, drawn from NumPy's global generator in float32 steps, as the course draws them.


def uniform(*shape: Any, low: float = 0.0, high: float = 1.0, **kwargs: Any) -> Tensor:
    """U(low, high)."""
    draws = np.random.rand(*shape_argument(shape)).astype(np.float32)
    return _drawn(draws * np.float32(high - low) + np.float32(low), **kwargs)


def normal(*shape: Any, mean: float = 0.0, std: float = 1.0, **kwargs: Any) -> Tensor:
    """N(mean, std)."""
    draws = np.random.randn(*shape_argument(shape)).astype(np.float32)
    return _drawn(draws * np.float32(std) + np.float32(mean), **kwargs)


def truncated_normal(
    *shape: Any, mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0, **kwargs: Any
) -> Tensor:
    """N(mean, std) where it lies in [low, high]: what lies outside is drawn again."""
    a, b = (low - mean) / std, (high - mean) / std
    if erf(b / sqrt(2)) - erf(a / sqrt(2)) < 0.02:
        raise ArgumentError(f"truncated_normal: less than 1 % of N({mean}, {std}) lies in [{low}, {high}]")
    draws = np.random.randn(*shape_argument(shape))
    while (outside := (draws < a) | (draws > b)).any():
        draws[outside] = np.random.randn(int(outside.sum()))
    return _drawn(np.clip(draws * std + mean, low, high), **kwargs)


def orthogonal(rows: int, columns: int, gain: float = 1.0, **kwargs: Any) -> Tensor:
    """A matrix (rows, columns) whose rows or columns, whichever are fewer, are orthogonal (Saxe et al., 2014)."""
    q, r = np.linalg.qr(np.random.randn(max(rows, columns), min(rows, columns)))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the choice of Q unique, and its distribution uniform
    return _drawn(gain * (q if rows >= columns else q.T), **kwargs)


def xavier_uniform(fan_in: int, fan_out: int, gain: float = 1.0, shape: Shape | None = None, **kwargs: Any) -> Tensor:
    """U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    _check_fans(fan_in, fan_out)
    bound = gain * sqrt(6 / (fan_in + fan_out))
    return uniform(shape or (fan_in, fan_out), low=-bound, high=bound, **kwargs)


def xavier_normal(fan_in: int, fan_out: int, gain: float = 1.0, shape: Shape | None = None, **kwargs: Any) -> Tensor:
    """N(0, s) with s = gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    _check_fans(fan_in, fan_out)
    return normal(shape or (fan_in, fan_out), std=gain * sqrt(2 / (fan_in + fan_out)), **kwargs)


def kaiming_uniform(
    fan_in: int, fan_out: int, shape: Shape | None = None, nonlinearity: str = "relu", **kwargs: Any
) -> Tensor:
    """U(-a, a) with a = sqrt(2) * sqrt(3 / fan_in) (He et al., 2015)."""
    _check_fans(fan_in, fan_out)
    bound = _relu_gain(nonlinearity) * sqrt(3 / fan_in)
    return uniform(shape or (fan_in, fan_out), low=-bound, high=bound, **kwargs)


def kaiming_normal(
    fan_in: int, fan_out: int, shape: Shape | None = None, nonlinearity: str = "relu", **kwargs: Any
) -> Tensor:
    """N(0, s) with s = sqrt(2) / sqrt(fan_in) (He et al., 2015)."""
    _check_fans(fan_in, fan_out)
    return normal(shape or (fan_in, fan_out), std=_relu_gain(nonlinearity) / sqrt(fan_in), **kwargs)


def _check_fans(fan_in: int, fan_out: int) -> None:
    if fan_in < 1 or fan_out < 1:
        raise ShapeError(f"init: sizes are at least 1, not {fan_in} in and {fan_out} out")


def _relu_gain(nonlinearity: str) -> float:
    if nonlinearity != "relu":
        raise ArgumentError(f"kaiming: the only nonlinearity is 'relu', not {nonlinearity!r}; use xavier_* for others")
    return sqrt(2.0)


def _drawn(draws: Any, device: DeviceLike = None, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    return Tensor(from_numpy(draws, device, dtype), requires_grad=requires_grad)

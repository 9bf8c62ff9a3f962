"""Convolution and pooling of images (batch, channels, height, width), in PyTorch's order of arguments.

Below, channels come last: an image is passed on as a permuted view, and the result is one, so that from layer to layer
memory keeps the order that kernels like. Kernels are (height, width, in / groups, out), as everywhere in Needle.
"""

from functools import lru_cache
from math import ceil
from typing import Any, NoReturn

import numpy as np

from needle.convolution import Pair, Window, pair
from needle.errors import NotATensorError, ShapeError
from needle.kinds import Pool, Unary
from needle.ndarray import from_numpy
from needle.shape import Shape
from needle.tensor import Tensor, as_arrays, wrapped

_AXES = {3: "(N, C, L)", 4: "(N, C, H, W)"}
_WEIGHTS = {3: "(K, C / groups, O)", 4: "(KH, KW, C / groups, O)"}


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1, padding: int | Pair = 0,
    dilation: int | Pair = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """x (N, C, H, W) * weight (KH, KW, C / groups, O) + bias (O,) -> (N, O, OH, OW)."""
    if not (isinstance(x, Tensor) and isinstance(weight, Tensor)):
        _refuse("conv2d", x, weight)
    shapes = x.array.layout.shape, weight.array.layout.shape, None if bias is None else bias.array.layout.shape
    window = _checked_window(*shapes, _hashable(stride), _hashable(padding), _hashable(dilation), groups)
    return _convolved(x, weight, bias, window)


def conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, dilation: int = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """x (N, C, L) * weight (K, C / groups, O) + bias (O,) -> (N, O, OL): conv2d of an image of height 1."""
    steps, zeros, gaps = pair(stride, "stride"), pair(padding, "padding", 0), pair(dilation, "dilation")
    window = Window((1, steps[1]), (0, zeros[1]), (1, gaps[1]), groups)
    if not (isinstance(x, Tensor) and isinstance(weight, Tensor)):
        _refuse("conv1d", x, weight)
    _check_conv("conv1d", x.shape, weight.shape, None if bias is None else bias.shape, window)
    return _convolved(x.expand_dims(2), weight.expand_dims(0), bias, window).squeeze(2)


def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1, padding: int | Pair = 0,
    output_padding: int | Pair = 0, groups: int = 1, dilation: int | Pair = 1,
) -> Tensor:  # fmt: skip
    """x (N, C, H, W), weight (KH, KW, O / groups, C), bias (O,) -> (N, O, OH, OW): the transpose of a conv2d from O
    channels to C in its image; OH = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1."""
    if not (isinstance(x, Tensor) and isinstance(weight, Tensor)):
        _refuse("conv_transpose2d", x, weight)
    window = Window(pair(stride, "stride"), pair(padding, "padding", 0), pair(dilation, "dilation"), groups)
    more = pair(output_padding, "output_padding", 0)
    shape = _transposed_shape(x.shape, weight.shape, None if bias is None else bias.shape, window, more)
    y = x.permute(_CHANNELS_LAST).conv2d_grad_input(weight, shape, window)
    return (y if bias is None else y + bias).permute(_CHANNELS_FIRST)


def _refuse(op: str, *operands: Any) -> NoReturn:
    other = next(x for x in operands if not isinstance(x, Tensor))
    raise NotATensorError(op, other)


def _hashable(step: Any) -> Any:
    return tuple(step) if type(step) is list else step


@lru_cache(maxsize=4096, typed=True)
def _checked_window(
    x: Shape, weight: Shape, bias: Shape | None, stride: int | Pair, padding: int | Pair, dilation: int | Pair,
    groups: int,
) -> Window:  # fmt: skip
    """How the kernel walks, after all that conv2d was given was found to fit."""
    window = Window(pair(stride, "stride"), pair(padding, "padding", 0), pair(dilation, "dilation"), groups)
    _check_conv("conv2d", x, weight, bias, window)
    return window


_CHANNELS_LAST, _CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    arrays = as_arrays(x, weight) if bias is None else as_arrays(x, weight, bias)
    if arrays is not None:
        image, kernel, *shift = arrays
        last = image.permuted(_CHANNELS_LAST)
        result = last.conv2d_bias(kernel, shift[0], window) if shift else last.conv2d(kernel, window)
        return wrapped(result.permuted(_CHANNELS_FIRST))
    y = x.permute(0, 2, 3, 1).conv2d(weight, window)
    return (y if bias is None else y + bias).permute(0, 3, 1, 2)


def batch_norm2d(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float = 1e-5, relu: bool = False
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of x (N, C, H, W), with moments that are not x's own;
    and relu of that if asked for."""
    arrays = as_arrays(x, weight, bias, mean, var)
    if arrays is not None:
        image, w, b, m, v = arrays
        if image.layout.shape[1:2] == w.layout.shape == b.layout.shape == m.layout.shape == v.layout.shape:
            last = image.permuted(_CHANNELS_LAST)
            result = last.batch_norm_relu(w, b, m, v, eps) if relu else last.batch_norm(w, b, m, v, eps)
            return wrapped(result.permuted(_CHANNELS_FIRST))
    y = x.permute(_CHANNELS_LAST).batch_norm(weight, bias, mean, var, eps, False).permute(_CHANNELS_FIRST)
    return y._unary(Unary.RELU) if relu else y


def max_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Tensor:
    """The largest of each window of x (N, C, H, W); the stride is the window unless given. Padding never wins."""
    return _pooled(Pool.MAX, "max_pool2d", x, kernel_size, stride, padding)


def avg_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Tensor:
    """The mean of each window of x (N, C, H, W); the stride is the window unless given. Padding counts as zeros."""
    return _pooled(Pool.MEAN, "avg_pool2d", x, kernel_size, stride, padding)


def adaptive_avg_pool2d(x: Tensor, output_size: int | Pair = 1) -> Tensor:
    """x (N, C, H, W) -> (N, C, OH, OW): the means of windows from floor(i * H / OH) to ceil((i + 1) * H / OH)."""
    _check_rank("adaptive_avg_pool2d", x.shape, 4)
    size = pair(output_size, "output_size")
    if size == (1, 1):
        return x.mean((2, 3), keepdims=True)
    if not (x.shape[2] % size[0] or x.shape[3] % size[1]):
        return avg_pool2d(x, (x.shape[2] // size[0], x.shape[3] // size[1]))
    rows, columns = (_means(x, n, m) for n, m in zip(x.shape[2:], size, strict=True))
    return ((x @ columns).mT @ rows).mT


def _means(x: Tensor, n: int, m: int) -> Tensor:
    """The matrix (n, m) whose column i takes the mean of window i of n elements, beside x."""
    weights = np.zeros((n, m))
    for i in range(m):
        window = slice(i * n // m, ceil((i + 1) * n / m))
        weights[window, i] = 1 / (window.stop - window.start)
    return x.like(from_numpy(weights, x.array.device, x.dtype if x.dtype.is_float else "float32"))


def _pooled(
    kind: Pool, op: str, x: Tensor, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair
) -> Tensor:
    _check_rank(op, x.shape, 4)
    size, zeros = pair(kernel_size, "kernel_size"), pair(padding, "padding", 0)
    if any(2 * p > k for p, k in zip(zeros, size, strict=True)):
        raise ShapeError(f"{op}: a padding of {zeros} is more than half of the window {size}")
    _check_fits(op, x.shape, size, zeros)
    step = size if stride is None else pair(stride, "stride")
    return x.permute(0, 2, 3, 1).pool2d(kind, size, step, zeros).permute(0, 3, 1, 2)


# What does not fit, in the shapes that the caller knows.


def _check_conv(op: str, x: Shape, weight: Shape, bias: Shape | None, window: Window) -> None:
    rank = 4 if op == "conv2d" else 3
    _check_rank(op, x, rank)
    if len(weight) != rank:
        raise ShapeError(f"{op}: takes a weight {_WEIGHTS[rank]}: weight is {weight}")
    *size, width, out = weight
    channels, groups = x[1], window.groups
    if groups < 1 or channels % groups or out % groups:
        raise ShapeError(f"{op}: {groups} groups do not divide {channels} channels in and {out} out")
    if channels != width * groups:
        takes = f"x has {channels} channels, the weight takes {width * groups}"
        raise ShapeError(f"{op}: {takes}: x is {x}, weight is {weight}")
    if bias is not None and bias != (out,):
        raise ShapeError(f"{op}: takes a bias ({out},), one for each channel out: bias is {bias}")
    gaps = window.dilation[-len(size) :]
    _check_fits(op, x, tuple(d * (k - 1) + 1 for k, d in zip(size, gaps, strict=True)), window.padding[-len(size) :])


@lru_cache(maxsize=4096)
def _transposed_shape(x: Shape, weight: Shape, bias: Shape | None, window: Window, more: Pair) -> Shape:
    """(N, OH, OW, O) of a conv_transpose2d, or a ShapeError."""
    op = "conv_transpose2d"
    _check_rank(op, x, 4)
    if len(weight) != 4:
        raise ShapeError(f"{op}: takes a weight (KH, KW, O / groups, C): weight is {weight}")
    *size, width, channels = weight
    groups, out = window.groups, width * window.groups
    if groups < 1 or channels % groups:
        raise ShapeError(f"{op}: {groups} groups do not divide {channels} channels in")
    if x[1] != channels:
        raise ShapeError(f"{op}: x has {x[1]} channels, the weight takes {channels}: x is {x}, weight is {weight}")
    if bias is not None and bias != (out,):
        raise ShapeError(f"{op}: takes a bias ({out},), one for each channel out: bias is {bias}")
    if any(m >= s for m, s in zip(more, window.stride, strict=True)):
        raise ShapeError(f"{op}: an output_padding of {more} is not below the stride {window.stride}")
    steps = zip(x[2:], size, *window[:3], more, strict=True)
    height, breadth = ((n - 1) * s - 2 * p + d * (k - 1) + m + 1 for n, k, s, p, d, m in steps)
    if height < 1 or breadth < 1:
        raise ShapeError(f"{op}: a padding of {window.padding} leaves nothing: x is {x}, weight is {weight}")
    return x[0], height, breadth, out


def _check_rank(op: str, x: Shape, rank: int) -> None:
    if len(x) != rank:
        raise ShapeError(f"{op}: takes {_AXES[rank]}: x is {x}")


def _check_fits(op: str, x: Shape, reach: Shape, padding: Shape) -> None:
    padded = tuple(n + 2 * p for n, p in zip(x[2:], padding, strict=True))
    if any(k > n for k, n in zip(reach, padded, strict=True)):
        raise ShapeError(f"{op}: the kernel {reach} is larger than the padded image {padded}: x is {x}")

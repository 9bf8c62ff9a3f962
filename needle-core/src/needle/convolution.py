"""Convolution and pooling of arrays: images are (batch, height, width, channels), kernels (height, width, in, out).

The order of axes is one of indices, not of memory: an image stored with channels first is passed as a permuted view.
"""

from functools import lru_cache
from numbers import Integral
from typing import Any, NamedTuple, Self, TypeAlias

from needle import dispatch, tracing
from needle.errors import ShapeError, shown
from needle.kinds import Binary, Pool
from needle.layout import Layout
from needle.shape import Shape
from needle.views import Views

Pair: TypeAlias = tuple[int, int]


class Window(NamedTuple):
    """How a kernel walks over an image: its steps, the zeros around the image, the gaps in the kernel, groups."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


def pair(value: int | Pair, name: str, least: int = 1) -> Pair:
    """`2` means `(2, 2)`."""
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(_counts(n, least) for n in both):
        raise ShapeError(f"{name} is one int or two, at least {least}, not {shown(value)}")
    return int(both[0]), int(both[1])


def _counts(n: Any, least: int) -> bool:
    return isinstance(n, Integral) and int(n) >= least


class Convolutions(Views):
    """The convolutions and poolings of NDArray."""

    __slots__ = ()

    def conv2d(self, kernel: Self, window: Window) -> Self:
        """(N, H, W, C) * (KH, KW, C / groups, O) -> (N, OH, OW, O): a correlation, as everywhere in this field."""
        out = self.new(conv_shape(self.shape, kernel.shape, window), self.dtype)
        dispatch.run(self.device, "conv2d", out, self, kernel, *window)
        return out

    def conv2d_bias(self, kernel: Self, bias: Self, window: Window) -> Self:
        """conv2d and a bias (O,). A capture gets two steps, which its passes join to each other or to what follows."""
        if tracing.active is not None or not dispatch.offers(self.device, "conv2d_bias"):
            return self.conv2d(kernel, window)._binary(Binary.ADD, bias)
        out = self.new(conv_shape(self.shape, kernel.shape, window), self.dtype)
        dispatch.run(self.device, "conv2d_bias", out, self, kernel, bias, *window)
        return out

    def conv2d_grad_input(self, kernel: Self, shape: Shape, window: Window) -> Self:
        """The gradient of the image, of this shape, for g = self: the transpose of conv2d in its image."""
        out = self.new(shape, self.dtype)
        dispatch.run(self.device, "conv2d_grad_input", out, self, kernel, *window)
        return out

    def conv2d_grad_weight(self, image: Self, shape: Shape, window: Window) -> Self:
        """The gradient of the kernel, of this shape, for g = self: the transpose of conv2d in its kernel."""
        out = self.new(shape, self.dtype)
        dispatch.run(self.device, "conv2d_grad_weight", out, image, self, *window)
        return out

    def pool2d(self, kind: Pool, size: Pair, stride: Pair, padding: Pair) -> Self:
        """The largest, or the mean, of each window: (N, H, W, C) -> (N, OH, OW, C)."""
        out = self.room("pool2d", pool_shape(self.shape, size, stride, padding))
        dispatch.run(self.device, "pool2d", kind, out, self, size, stride, padding)
        return out

    def pool2d_grad(self, kind: Pool, x: Self, y: Self, size: Pair, stride: Pair, padding: Pair) -> Self:
        """The gradient of x for g = self. Of equal largest elements the first in its window takes all."""
        out = x.room("pool2d_grad", x.shape)
        dispatch.run(self.device, "pool2d_grad", kind, out, self, x, y, size, stride, padding)
        return out

    def windows(self, size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Self:
        """(N, H, W, C) -> (N, OH, OW, KH, KW, C), a view in which neighbours share elements."""
        return self.viewed(window_layout(self.layout, size, stride, dilation))


@lru_cache(maxsize=4096)
def window_layout(layout: Layout, size: Pair, stride: Pair, dilation: Pair) -> Layout:
    """The overlapping view of all windows."""
    (n, h, w, c), (sn, sh, sw, sc) = layout.shape, layout.strides
    oh, ow = (_positions(m, k, 0, s, d) for m, k, s, d in zip((h, w), size, stride, dilation, strict=True))
    shape = (n, oh, ow, *size, c)
    return Layout(shape, (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc), layout.offset)


def _positions(n: int, k: int, padding: int, stride: int, dilation: int) -> int:
    """How often a kernel of k fits, with its gaps, into n and the padding on both sides."""
    return (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1


@lru_cache(maxsize=4096)
def conv_shape(image: Shape, kernel: Shape, window: Window) -> Shape:
    """The shape of a convolution, or a ShapeError."""
    if len(image) != 4 or len(kernel) != 4:
        raise ShapeError(f"conv: takes (N, H, W, C) and (KH, KW, C, O): image is {image}, kernel is {kernel}")
    groups = window.groups
    if groups < 1 or kernel[3] % groups or image[3] % groups:
        raise ShapeError(f"conv: {groups} groups do not divide {image[3]} channels in and {kernel[3]} out")
    if image[3] != kernel[2] * groups:
        raise ShapeError(
            f"conv: the image has {image[3]} channels, the kernel takes {kernel[2] * groups}: "
            f"image is {image}, kernel is {kernel}"
        )
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel[:2], window.dilation, strict=True))
    check_fits("conv", image, reach, window.padding)
    sizes = zip(image[1:3], kernel[:2], window.padding, window.stride, window.dilation, strict=True)
    return (image[0], *(_positions(*each) for each in sizes), kernel[3])


@lru_cache(maxsize=4096)
def pool_shape(image: Shape, size: Pair, stride: Pair, padding: Pair) -> Shape:
    """The shape of a pooling, or a ShapeError."""
    if len(image) != 4:
        raise ShapeError(f"pool: takes (N, H, W, C): image is {image}")
    if any(2 * p > k for p, k in zip(padding, size, strict=True)):
        raise ShapeError(f"pool: a padding of {padding} is more than half of the window {size}")
    check_fits("pool", image, size, padding)
    sizes = zip(image[1:3], size, padding, stride, strict=True)
    return (image[0], *(_positions(n, k, p, s, 1) for n, k, p, s in sizes), image[3])


def check_fits(op: str, image: Shape, reach: Any, padding: Pair) -> None:
    padded = tuple(n + 2 * p for n, p in zip(image[1:3], padding, strict=True))
    if any(k > n for k, n in zip(reach, padded, strict=True)):
        raise ShapeError(f"{op}: the kernel {tuple(reach)} is larger than the padded image {padded}: image is {image}")

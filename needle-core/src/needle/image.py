"""Convolution and pooling of images (batch, channels, height, width), in PyTorch's order of arguments.

Below, channels come last: an image is passed on as a permuted view, and the result is one, so that from layer to layer
memory keeps the order that kernels like. Kernels are (height, width, in / groups, out), as everywhere in Needle.
"""

from needle.convolution import Pair, Window, pair
from needle.errors import ShapeError
from needle.kinds import Pool
from needle.tensor import Tensor


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Pair = 1, padding: int | Pair = 0,
    dilation: int | Pair = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """x (N, C, H, W) * weight (KH, KW, C / groups, O) + bias (O,) -> (N, O, OH, OW)."""
    _check("conv2d", x, 4)
    window = Window(pair(stride, "stride"), pair(padding, "padding", 0), pair(dilation, "dilation"), groups)
    y = x.permute(0, 2, 3, 1).conv2d(weight, window)
    return (y if bias is None else y + bias).permute(0, 3, 1, 2)


def conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, dilation: int = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """x (N, C, L) * weight (K, C / groups, O) + bias (O,) -> (N, O, OL): conv2d of an image of height 1."""
    _check("conv1d", x, 3)
    y = conv2d(x.expand_dims(2), weight.expand_dims(0), bias, (1, stride), (0, padding), (1, dilation), groups)
    return y.squeeze(2)


def max_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Tensor:
    """The largest of each window of x (N, C, H, W); the stride is the window unless given. Padding never wins."""
    return _pooled(Pool.MAX, "max_pool2d", x, kernel_size, stride, padding)


def avg_pool2d(x: Tensor, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Tensor:
    """The mean of each window of x (N, C, H, W); the stride is the window unless given. Padding counts as zeros."""
    return _pooled(Pool.MEAN, "avg_pool2d", x, kernel_size, stride, padding)


def adaptive_avg_pool2d(x: Tensor, output_size: int | Pair = 1) -> Tensor:
    """x (N, C, H, W) -> (N, C, OH, OW), the means of equal windows; OH and OW divide H and W."""
    _check("adaptive_avg_pool2d", x, 4)
    size = pair(output_size, "output_size")
    if x.shape[2] % size[0] or x.shape[3] % size[1]:
        raise ShapeError(
            f"adaptive_avg_pool2d: {size} does not divide {x.shape[2:]} into equal windows: x is {x.shape}"
        )
    return x.mean((2, 3), keepdims=True) if size == (1, 1) else avg_pool2d(x, _ratio(x, size))


def _ratio(x: Tensor, size: Pair) -> Pair:
    return x.shape[2] // size[0], x.shape[3] // size[1]


def _pooled(
    kind: Pool, op: str, x: Tensor, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair
) -> Tensor:
    _check(op, x, 4)
    size = pair(kernel_size, "kernel_size")
    step = size if stride is None else pair(stride, "stride")
    return x.permute(0, 2, 3, 1).pool2d(kind, size, step, pair(padding, "padding", 0)).permute(0, 3, 1, 2)


def _check(op: str, x: Tensor, rank: int) -> None:
    if x.ndim != rank:
        axes = "(N, C, H, W)" if rank == 4 else "(N, C, L)"
        raise ShapeError(f"{op}: takes {axes}: x is {x.shape}")

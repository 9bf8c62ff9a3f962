"""Pooling: windows of an image (N, C, H, W) made one number each."""

import needle
from needle import Tensor
from needle.convolution import Pair, pair
from needle_nn.nn.module import Module


class _Pool2d(Module):
    """The arguments that pools share; the stride is the window unless given."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        pair(kernel_size, "kernel_size")
        pair(kernel_size if stride is None else stride, "stride")
        pair(padding, "padding", 0)

    def _describe(self) -> str:
        stride = "" if self.stride is None else f", stride={self.stride}"
        return f"{self.kernel_size}{stride}" + (f", padding={self.padding}" if self.padding else "")


class MaxPool2d(_Pool2d):
    """The largest of each window; padding never wins."""

    def forward(self, x: Tensor) -> Tensor:
        return needle.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool2d):
    """The mean of each window; padding counts as zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return needle.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """(N, C, H, W) -> (N, C, OH, OW): the means of as many windows as asked for, which may overlap."""

    def __init__(self, output_size: int | Pair = 1) -> None:
        super().__init__()
        pair(output_size, "output_size")
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return needle.adaptive_avg_pool2d(x, self.output_size)

    def _describe(self) -> str:
        return str(self.output_size)


class GlobalAvgPool(Module):
    """(N, C, ...) -> (N, C): the mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(tuple(range(2, x.ndim)))


class Upsample(Module):
    """(N, C, H, W) -> (N, C, scale * H, scale * W): each pixel so often (the nearest one, in PyTorch's words)."""

    def __init__(self, scale: int | Pair) -> None:
        super().__init__()
        self.scale = pair(scale, "scale")

    def forward(self, x: Tensor) -> Tensor:
        return needle.repeat(needle.repeat(x, self.scale[0], 2), self.scale[1], 3)

    def _describe(self) -> str:
        return str(self.scale)

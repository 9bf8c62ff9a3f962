"""Convolutions: layers whose weights walk over an image or a sequence.

Images are (batch, channels, height, width), weights (height, width, in / groups, out): the course's layout, also where
the arguments are PyTorch's.
"""

from math import prod, sqrt
from typing import Any

import needle
from needle import Device, Tensor, init
from needle.convolution import Pair, pair
from needle.errors import ShapeError
from needle_nn.nn.module import Module, Parameter


class _Convolution(Module):
    """What convolutions share: weight by kaiming_uniform, then bias from U(-b, b) with b = 1 / sqrt(fan_in)."""

    def __init__(
        self, in_channels: int, out_channels: int, size: tuple[int, ...], groups: int, bias: bool,
        device: Device | str | None, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(f"conv: {groups} groups do not divide {in_channels} channels in and {out_channels} out")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        width, area = in_channels // groups, prod(size)
        shape = (*size, width, out_channels)
        fan_in = width * area
        weight = init.kaiming_uniform(fan_in, out_channels * area, shape=shape, device=device, dtype=dtype)
        self.weight = Parameter(weight)
        self.bias: Parameter | None = None
        if bias:
            bound = 1.0 / sqrt(fan_in)
            self.bias = Parameter(init.uniform(out_channels, low=-bound, high=bound, device=device, dtype=dtype))

    def _check(self, x: Tensor) -> None:
        shape, rank = x.shape, self.weight.ndim
        if len(shape) != rank or shape[1] != self.in_channels:
            axes = "(N, C, H, W)" if rank == 4 else "(N, C, L)"
            raise ShapeError(f"{type(self).__name__}: takes {axes} with {self.in_channels} channels: x is {x.shape}")


def _check_steps(stride: int | Pair, padding: int | Pair, dilation: int | Pair) -> None:
    """Raise ShapeError for numbers that no image could make right."""
    pair(stride, "stride")
    pair(padding, "padding", 0)
    pair(dilation, "dilation")


class Conv2d(_Convolution):
    """(N, in, H, W) -> (N, out, OH, OW), with PyTorch's arguments; the weight is (KH, KW, in / groups, out)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(in_channels, out_channels, pair(kernel_size, "kernel_size"), groups, bias, device, dtype)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        _check_steps(stride, padding, dilation)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        return needle.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def _describe(self) -> str:
        defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
        changed = [
            f", {name}={value}" for name, usual in defaults.items() if (value := getattr(self, name, usual)) != usual
        ]
        head = f"{self.in_channels}, {self.out_channels}, {self.kernel_size}"
        return head + "".join(changed) + (", bias=False" if self.bias is None else "")


class Conv(Conv2d):
    """(N, in, H, W) -> (N, out, OH, OW), the course's: padded by kernel_size // 2, so that stride 1 keeps H and W."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:
        size = pair(kernel_size, "kernel_size")
        padding = (size[0] // 2, size[1] // 2)
        super().__init__(in_channels, out_channels, size, stride, padding, bias=bias, device=device, dtype=dtype)
        self.kernel_size = size[0] if size[0] == size[1] else size

    def _describe(self) -> str:
        stride = "" if self.stride == 1 else f", stride={self.stride}"
        bias = ", bias=False" if self.bias is None else ""
        return f"{self.in_channels}, {self.out_channels}, {self.kernel_size}{stride}{bias}"


class ConvTranspose2d(Module):
    """(N, in, H, W) -> (N, out, OH, OW), larger by the stride, with PyTorch's arguments; the weight is (KH, KW,
    out / groups, in), that of the convolution of which this is the transpose."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(f"conv: {groups} groups do not divide {in_channels} channels in and {out_channels} out")
        _check_steps(stride, padding, dilation)
        pair(output_padding, "output_padding", 0)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.output_padding, self.dilation = output_padding, dilation
        size = pair(kernel_size, "kernel_size")
        # A place of the result sums this many products: of the taps, every stride-th falls on an element of x.
        fan_in = max(1, in_channels // groups * prod(size) // prod(pair(stride, "stride")))
        shape = (*size, out_channels // groups, in_channels)
        self.weight = Parameter(
            init.kaiming_uniform(fan_in, out_channels * prod(size), shape=shape, device=device, dtype=dtype)
        )
        self.bias: Parameter | None = None
        if bias:
            bound = 1.0 / sqrt(fan_in)
            self.bias = Parameter(init.uniform(out_channels, low=-bound, high=bound, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return needle.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )

    _describe = Conv2d._describe


class Conv1d(_Convolution):
    """(N, in, L) -> (N, out, OL), with PyTorch's arguments; the weight is (K, in / groups, out)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(in_channels, out_channels, (kernel_size,), groups, bias, device, dtype)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        _check_steps(stride, padding, dilation)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        return needle.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    _describe = Conv2d._describe

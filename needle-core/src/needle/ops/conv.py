"""Convolution and its two transposes, which are each other's gradients; and pooling."""

from dataclasses import dataclass

from needle.convolution import Pair, Window, conv_shape, pool_shape
from needle.kinds import Pool
from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op, reads
from needle.shape import Shape


@dataclass(frozen=True)
class Conv(Op):
    """(N, H, W, C) * (KH, KW, C / groups, O) -> (N, OH, OW, O)."""

    autocast = "lower"

    window: Window
    reads = reads(0, 1)

    def shape(self, image: Shape, kernel: Shape) -> Shape:
        return conv_shape(image, kernel, self.window)

    def forward(self, image: NDArray, kernel: NDArray) -> NDArray:
        return image.conv2d(kernel, self.window)

    def vjp(self, g: Array, y: Array, image: Array, kernel: Array) -> Cotangents:
        return (
            lambda: g.conv2d_grad_input(kernel, image.shape, self.window),
            lambda: g.conv2d_grad_weight(image, kernel.shape, self.window),
        )


@dataclass(frozen=True)
class ConvGradInput(Op):
    """The transpose of Conv in its image: result (N, OH, OW, O), kernel -> image."""

    target: Shape
    window: Window
    reads = reads(0, 1)

    def shape(self, result: Shape, kernel: Shape) -> Shape:
        return self.target

    def forward(self, result: NDArray, kernel: NDArray) -> NDArray:
        return result.conv2d_grad_input(kernel, self.target, self.window)

    def vjp(self, g: Array, y: Array, result: Array, kernel: Array) -> Cotangents:
        return (
            lambda: g.conv2d(kernel, self.window),
            lambda: result.conv2d_grad_weight(g, kernel.shape, self.window),
        )


@dataclass(frozen=True)
class ConvGradWeight(Op):
    """The transpose of Conv in its kernel: result (N, OH, OW, O), image -> kernel."""

    target: Shape
    window: Window
    reads = reads(0, 1)

    def shape(self, result: Shape, image: Shape) -> Shape:
        return self.target

    def forward(self, result: NDArray, image: NDArray) -> NDArray:
        return result.conv2d_grad_weight(image, self.target, self.window)

    def vjp(self, g: Array, y: Array, result: Array, image: Array) -> Cotangents:
        return (
            lambda: image.conv2d(g, self.window),
            lambda: result.conv2d_grad_input(g, image.shape, self.window),
        )


@dataclass(frozen=True)
class Pool2d(Op):
    """The largest, or the mean, of each window of an image (N, H, W, C)."""

    kind: Pool
    size: Pair
    stride: Pair
    padding: Pair = (0, 0)
    reads = reads(0, "y")

    def shape(self, x: Shape) -> Shape:
        return pool_shape(x, self.size, self.stride, self.padding)

    def forward(self, x: NDArray) -> NDArray:
        return x.pool2d(self.kind, self.size, self.stride, self.padding)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.pool2d_grad(self.kind, x, y, self.size, self.stride, self.padding),)

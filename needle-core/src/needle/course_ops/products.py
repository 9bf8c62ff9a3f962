"""Matrix products and convolution under the course's names."""

from typing import Any

import numpy as np

from needle.backend_selection import data_of, ours
from needle.convolution import Window, pair
from needle.course_op import TensorOp, by_rule
from needle.ops.conv import Conv as ConvRule
from needle.ops.matmul import MatMul as MatMulRule


class MatMul(TensorOp):
    """(..., m, k) @ (..., k, n) -> (..., m, n), batches broadcast."""

    def compute(self, *args: Any) -> Any:
        a, b = args
        if isinstance(a, np.ndarray):
            return a @ b
        return data_of(a.array @ b.array)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return by_rule(MatMulRule(), out_grad, node)


class Conv(TensorOp):
    """(N, H, W, in) * (k, k, in, out) -> (N, H', W', out)."""

    def __init__(self, stride: int | None = 1, padding: int | None = 0) -> None:
        self.stride, self.padding = stride or 1, padding or 0
        self.rule = ConvRule(Window(pair(self.stride, "stride"), pair(self.padding, "padding", 0)))

    def compute(self, *args: Any) -> Any:
        image, kernel = alike(*args)
        self.rule.shape(image.shape, kernel.shape)
        return data_of(self.rule.forward(ours(image), ours(kernel)))

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return by_rule(self.rule, out_grad, node)


def alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Two arrays of one dtype."""
    if isinstance(a, np.ndarray) and a.dtype != b.dtype:
        common = np.result_type(a, b)
        return a.astype(common), b.astype(common)
    return a, b


def matmul(a: Any, b: Any) -> Any:
    """Of vectors too, by way of matrices."""
    return MatMul()(a, b) if min(len(a.shape), len(b.shape)) > 1 else a @ b


def conv(a: Any, b: Any, stride: int = 1, padding: int = 1) -> Any:
    return Conv(stride, padding)(a, b)

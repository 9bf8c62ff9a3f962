"""The device `mps`: what Metal Performance Shaders compute best, on msl's memory and queue; all else is msl's.

Each function of the extension says whether it took its operands. What it leaves (bfloat16, integers, strides that MPS
does not describe, empty arrays) goes to msl's kernel, on the same device and in the same order.
"""

from collections.abc import Callable
from typing import Any

from needle.backend import View
from needle.dtype import float16, float32
from needle.kinds import Unary
from needle.layout import Layout
from needle_backend_mps import _ext
from needle_backend_msl import _ext as msl
from needle_backend_msl.backend import MslBackend


def _first(mps: Callable[..., bool], other: Callable[..., None]) -> Any:
    """A method that MPS computes if it takes the operands, and msl else."""

    def method(*args: Any) -> None:
        if not mps(*args):
            other(*args)

    return staticmethod(method)


class MpsBackend(MslBackend):
    """The system's default GPU, as for `msl`: arrays of both lie in the same memory, and work of both in one queue."""

    strided = MslBackend.strided - {"conv2d", "conv2d_bias"}  # MPSGraph is given packed images

    matmul = _first(_ext.matmul, msl.matmul)
    reduce = _first(_ext.reduce, msl.reduce)
    softmax = _first(_ext.softmax, msl.softmax)
    log_softmax = _first(_ext.log_softmax, msl.log_softmax)
    softmax_grad = _first(_ext.softmax_grad, msl.softmax_grad)
    log_softmax_grad = _first(_ext.log_softmax_grad, msl.log_softmax_grad)
    layer_norm = _first(_ext.layer_norm, msl.layer_norm)
    rms_norm = _first(_ext.rms_norm, msl.rms_norm)
    layer_norm_grad = _first(_ext.layer_norm_grad, msl.layer_norm_grad)
    rms_norm_grad = _first(_ext.rms_norm_grad, msl.rms_norm_grad)
    moments = _first(_ext.moments, msl.moments)
    batch_norm = _first(_ext.batch_norm, msl.batch_norm)
    batch_norm_grad = _first(_ext.batch_norm_grad, msl.batch_norm_grad)
    conv2d = _first(_ext.conv2d, msl.conv2d)
    conv2d_bias = _first(_ext.conv2d_bias, msl.conv2d_bias)
    conv2d_grad_input = _first(_ext.conv2d_grad_input, msl.conv2d_grad_input)
    conv2d_grad_weight = _first(_ext.conv2d_grad_weight, msl.conv2d_grad_weight)
    attention = _first(_ext.attention, msl.attention)
    attention_grad = _first(_ext.attention_grad, msl.attention_grad)

    def linear(self, dst: View, a: View, b: View, bias: View, transpose_b: bool, activation: Unary | None) -> None:
        """The bias in every row, to which MPS adds the product; then the activation, in place."""
        if dst.dtype in (float16, float32) and 0 not in (dst.size, a.size):
            msl.copy(dst, View(bias.buffer, Layout(dst.shape, (0, 1), bias.offset), bias.dtype))
            if _ext.add_matmul(dst, a, b, transpose_b):
                if activation is not None:
                    msl.unary(activation, dst, dst)
                return
        msl.linear(dst, a, b, bias, transpose_b, activation)

    def describe(self) -> str:
        name = msl.device_name()
        return f"mps (simulator): {name}" if "simulator" in name else name

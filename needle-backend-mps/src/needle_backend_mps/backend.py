"""The device `mps`: what Metal Performance Shaders compute best, on msl's memory and queue; all else is msl's.

Each function of the extension says whether it took its operands. What it leaves (bfloat16, integers, strides that MPS
does not describe, empty arrays) goes to msl's kernel, on the same device and in the same order.
"""

from collections.abc import Callable, Sequence
from typing import Any

from needle.backend import View
from needle.dtype import DType, float16, float32
from needle.errors import KernelError
from needle.kinds import Kind, Unary
from needle.layout import Layout
from needle_backend_mps import _ext
from needle_backend_msl import _ext as msl
from needle_backend_msl.backend import MslBackend

_ATTENTION = frozenset({"attention", "attention_grad"})


def _first(mps: Callable[..., bool], other: Callable[..., None]) -> Any:
    """A method that MPS computes if it takes the operands, and msl else."""

    def method(*args: Any) -> None:
        if not mps(*args):
            other(*args)

    return staticmethod(method)


def _of_nothing(op: str, results: Sequence[View], operands: Sequence[View]) -> None:
    """Sums over no rows or columns: zeros."""
    if all(x.size for x in operands):
        raise KernelError(op, "arrays have at most 2147483647 elements")
    for view in results:
        item = view.dtype.itemsize
        msl.upload(view.buffer, view.offset * item, memoryview(bytes(view.size * item)))


class MpsBackend(MslBackend):
    """The system's default GPU, as for `msl`: arrays of both lie in the same memory, and work of both in one queue."""

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
    conv2d_grad_input = _first(_ext.conv2d_grad_input, msl.conv2d_grad_input)
    conv2d_grad_weight = _first(_ext.conv2d_grad_weight, msl.conv2d_grad_weight)

    def linear(self, dst: View, a: View, b: View, bias: View, transpose_b: bool, activation: Unary | None) -> None:
        """The bias in every row, to which MPS adds the product; then the activation, in place."""
        if dst.dtype in (float16, float32) and 0 not in (dst.size, a.size):
            msl.copy(dst, View(bias.buffer, Layout(dst.shape, (0, 1), bias.offset), bias.dtype))
            if _ext.add_matmul(dst, a, b, transpose_b):
                if activation is not None:
                    msl.unary(activation, dst, dst)
                return
        msl.linear(dst, a, b, bias, transpose_b, activation)

    def attention(self, dst: View, q: View, k: View, v: View, causal: bool, scale: float) -> None:
        if not _ext.attention(dst, q, k, v, causal, scale):
            _of_nothing("attention", [dst], [q, k, v])

    def attention_grad(
        self, dq: View, dk: View, dv: View, g: View, q: View, k: View, v: View, y: View, causal: bool, scale: float
    ) -> None:
        if not _ext.attention_grad(dq, dk, dv, g, q, k, v, y, causal, scale):
            _of_nothing("attention_grad", [dq, dk, dv], [g, q, k, v])

    def describe(self) -> str:
        name = msl.device_name()
        return f"mps (simulator): {name}" if "simulator" in name else name

    def supports(self, op: str, kind: Kind | None, dtypes: tuple[DType, ...]) -> str | None:
        if op in _ATTENTION and dtypes[0] not in (float16, float32):
            return f"{op} takes float16 and float32, not {dtypes[0]}"
        return super().supports(op, kind, dtypes)

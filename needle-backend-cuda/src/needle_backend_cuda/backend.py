"""A CUDA device: each method of the protocol is one function of the extension.

Functions of the extension are class attributes as they are, so that a call costs no Python frame: which device is
meant they see from the buffers of their operands.
"""

from collections.abc import Callable, Sequence
from typing import Any

from needle.backend import IN_PLACE, Backend, Recording, View
from needle.dtype import DTYPES, DType, bfloat16, float16, float32, float64, int32, int64
from needle.kinds import Binary, Kind, Random, Unary
from needle_backend_cuda import libraries

libraries.load()

from needle_backend_cuda import _ext  # noqa: E402  (needs the libraries)

_STRIDED = (
    "copy", "cast", "unary", "binary", "binary_scalar", "elementwise", "where", "reduce", "argmax", "cumsum", "matmul",
    "linear", "gather", "scatter_add", "conv2d", "conv2d_bias", "conv2d_grad_input", "conv2d_grad_weight", "pool2d",
    "pool2d_grad", "argsort", "moments", "batch_norm", "batch_norm_relu", "batch_norm_grad",
)  # fmt: skip
_FLOATS_ONLY = frozenset(
    {
        "softmax", "log_softmax", "softmax_grad", "log_softmax_grad", "cross_entropy", "cross_entropy_grad",
        "sgd_step", "adam_step", "conv2d", "conv2d_bias", "conv2d_grad_input", "conv2d_grad_weight", "pool2d",
        "pool2d_grad", "layer_norm", "layer_norm_grad", "rms_norm", "rms_norm_grad", "moments", "batch_norm",
        "batch_norm_relu", "batch_norm_grad", "attention", "attention_grad", "lstm", "lstm_grad",
    }
)  # fmt: skip
_HALVES = frozenset({float16, bfloat16})
_TWICE_ROUNDED = frozenset({float64, int64})  # on their way to a half by float32


class CudaBackend(Backend):
    """One GPU: work is queued in its stream, in order, and the host goes on."""

    dtypes = frozenset(DTYPES)
    strided = frozenset(_STRIDED)
    keeps_order = frozenset({"batch_norm", "batch_norm_relu", "batch_norm_grad", "pool2d", "pool2d_grad"})
    in_place = IN_PLACE | {"elementwise", "cross_entropy_grad"}

    def __init__(self, index: int) -> None:
        self.index = index
        _ext.synchronize(index)  # a device that cannot be used says so here

    def allocate(self, nbytes: int) -> _ext.Buffer:
        return _ext.allocate(self.index, nbytes)

    upload = staticmethod(_ext.upload)
    download = staticmethod(_ext.download)

    def synchronize(self) -> None:
        _ext.synchronize(self.index)

    copy = staticmethod(_ext.copy)
    cast = staticmethod(_ext.cast)
    unary = staticmethod(_ext.unary)
    binary = staticmethod(_ext.binary)
    where = staticmethod(_ext.where)
    reduce = staticmethod(_ext.reduce)

    binary_scalar = staticmethod(_ext.binary_scalar)
    elementwise = staticmethod(_ext.elementwise)
    matmul = staticmethod(_ext.matmul)
    linear = staticmethod(_ext.linear)
    conv2d = staticmethod(_ext.conv2d)
    conv2d_bias = staticmethod(_ext.conv2d_bias)
    conv2d_grad_input = staticmethod(_ext.conv2d_grad_input)
    conv2d_grad_weight = staticmethod(_ext.conv2d_grad_weight)
    pool2d = staticmethod(_ext.pool2d)
    pool2d_grad = staticmethod(_ext.pool2d_grad)
    layer_norm = staticmethod(_ext.layer_norm)
    layer_norm_grad = staticmethod(_ext.layer_norm_grad)
    rms_norm = staticmethod(_ext.rms_norm)
    rms_norm_grad = staticmethod(_ext.rms_norm_grad)
    moments = staticmethod(_ext.moments)
    batch_norm = staticmethod(_ext.batch_norm)
    batch_norm_relu = staticmethod(_ext.batch_norm_relu)
    batch_norm_grad = staticmethod(_ext.batch_norm_grad)
    attention = staticmethod(_ext.attention)
    attention_grad = staticmethod(_ext.attention_grad)
    lstm = staticmethod(_ext.lstm)
    lstm_grad = staticmethod(_ext.lstm_grad)
    argsort = staticmethod(_ext.argsort)
    gather = staticmethod(_ext.gather)
    scatter_add = staticmethod(_ext.scatter_add)
    argmax = staticmethod(_ext.argmax)
    cumsum = staticmethod(_ext.cumsum)
    softmax = staticmethod(_ext.softmax)
    log_softmax = staticmethod(_ext.log_softmax)
    softmax_grad = staticmethod(_ext.softmax_grad)
    log_softmax_grad = staticmethod(_ext.log_softmax_grad)
    cross_entropy = staticmethod(_ext.cross_entropy)
    cross_entropy_grad = staticmethod(_ext.cross_entropy_grad)
    random = staticmethod(_ext.random)

    def sgd_step(
        self, params: Sequence[View], grads: Sequence[View], velocities: Sequence[View],
        lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        _ext.sgd_step(params, grads, velocities, lr, momentum, dampening, weight_decay, nesterov)

    def adam_step(
        self, params: Sequence[View], grads: Sequence[View], means: Sequence[View], squares: Sequence[View],
        lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, step: int,
    ) -> None:  # fmt: skip
        _ext.adam_step(params, grads, means, squares, lr, beta1, beta2, eps, weight_decay, decoupled, step)

    def sequence(self, calls: Sequence[tuple[str, tuple[Any, ...]]], moving: Sequence[View]) -> Callable[[], None]:
        return _ext.Sequence(self.index, list(calls), list(moving)).run

    def recording(
        self, calls: Sequence[tuple[str, tuple[Any, ...]]], moving: Sequence[View], after: Sequence[Sequence[int]]
    ) -> Recording:
        return _ext.Recording(self.index, list(calls), list(moving), [list(those) for those in after])

    def copy_from(self, dst: _ext.Buffer, offset: int, src: _ext.Buffer, src_offset: int, nbytes: int) -> bool:
        _ext.copy_peer(dst, offset, src, src_offset, nbytes)
        return True

    def set_matmul_precision(self, precision: str) -> None:
        _ext.set_tf32(precision == "high")

    def memory_stats(self) -> dict[str, int]:
        return _ext.memory_stats(self.index)

    def reset_peak(self) -> None:
        """Count "peak" and "peak_held" of memory_stats from here on."""
        _ext.reset_peak(self.index)

    def empty_cache(self) -> None:
        """Give memory that no array holds back to the driver."""
        _ext.empty_cache(self.index)

    def set_memory_limit(self, nbytes: int) -> None:
        """Hold at most so many bytes of the card, arrays and cache together."""
        _ext.set_memory_limit(self.index, nbytes)

    def record(self) -> _ext.Event:
        """A mark in the queue here: `wait` for it, or measure the milliseconds_since another."""
        return _ext.Event(self.index)

    def describe(self) -> str:
        return _ext.describe(self.index)

    def versions(self) -> dict[str, str]:
        return _ext.versions()

    def supports(self, op: str, kind: Kind | None, dtypes: tuple[DType, ...]) -> str | None:
        if isinstance(kind, Unary) and op == "unary" and not _ext.has_unary(kind, dtypes[1].code):
            return f"{kind.op} does not compute in {dtypes[1]}"
        if isinstance(kind, Binary) and not _ext.has_binary(kind, dtypes[1].code):
            return f"{kind.op} does not compute in {dtypes[1]}"
        if op == "elementwise" and _HALVES & set(dtypes) and _TWICE_ROUNDED & set(dtypes):
            return "elementwise has no cast of float64 or int64 to a half"
        if op in _FLOATS_ONLY and not dtypes[0].is_float:
            return f"{op} takes floats, not {dtypes[0]}"
        if isinstance(kind, Random) and dtypes[0] is not (int32 if kind is Random.BITS else float32):
            return f"{kind.op} numbers are {'int32' if kind is Random.BITS else 'float32'}, not {dtypes[0]}"
        return None

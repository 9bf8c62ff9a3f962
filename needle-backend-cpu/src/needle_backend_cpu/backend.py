"""The CPU device: each method of the protocol is one function of the extension.

Functions of the extension are class attributes as they are, so that a call costs no Python frame.
"""

from collections.abc import Callable, Sequence
from typing import Any

from needle.backend import IN_PLACE, Backend, View
from needle.dtype import DTYPES, DType, bool_, float32, float64, int32, int64
from needle.kinds import Binary, Kind, Random, Unary
from needle_backend_cpu import _ext

_KEEPING = ("batch_norm", "batch_norm_relu", "batch_norm_grad")
_STRIDED = (
    "copy", "cast", "unary", "binary", "binary_scalar", "elementwise", "elementwise_reduce", "where", "reduce",
    "argmax", "cumsum", "matmul",
    "linear", "gather", "scatter_add", "conv2d", "conv2d_bias", "conv2d_grad_input", "conv2d_grad_weight", "pool2d",
    "pool2d_grad", "moments", *_KEEPING, "argsort",
)  # fmt: skip
_FLOATS_ONLY = frozenset(
    {
        "softmax", "log_softmax", "softmax_grad", "log_softmax_grad", "cross_entropy", "cross_entropy_grad",
        "sgd_step", "adam_step", "conv2d", "conv2d_bias", "conv2d_grad_input", "conv2d_grad_weight", "pool2d",
        "pool2d_grad", "layer_norm", "layer_norm_grad", "rms_norm", "rms_norm_grad", "moments", *_KEEPING, "attention",
        "attention_grad",
    }
)  # fmt: skip


_UNROUNDED = frozenset({float32, float64, int32, int64, bool_})


class CpuBackend(Backend):
    """All cores of the machine, as one device. Kernels run in the calling thread and the pool, so nothing waits."""

    dtypes = frozenset(DTYPES)
    strided = frozenset(_STRIDED)
    keeps_order = frozenset(_KEEPING)
    in_place = IN_PLACE | {"elementwise", "cross_entropy_grad"}

    allocate = staticmethod(_ext.allocate)
    upload = staticmethod(_ext.upload)
    download = staticmethod(_ext.download)

    def synchronize(self) -> None:
        """Nothing is ever pending."""

    copy = staticmethod(_ext.copy)
    cast = staticmethod(_ext.cast)
    unary = staticmethod(_ext.unary)
    binary = staticmethod(_ext.binary)
    where = staticmethod(_ext.where)
    elementwise = staticmethod(_ext.elementwise)
    elementwise_reduce = staticmethod(_ext.elementwise_reduce)
    reduce = staticmethod(_ext.reduce)

    binary_scalar = staticmethod(_ext.binary_scalar)
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
        return _ext.Sequence(calls, list(moving)).run

    def host_view(self, buffer: _ext.Buffer) -> memoryview:
        return memoryview(buffer)

    memory_stats = staticmethod(_ext.memory_stats)

    def describe(self) -> str:
        return f"CPU, {_ext.isa} kernels, {_ext.num_threads()} threads"

    def supports(self, op: str, kind: Kind | None, dtypes: tuple[DType, ...]) -> str | None:
        if isinstance(kind, Unary) and op == "unary" and not _ext.has_unary(kind, dtypes[1].code):
            return f"{kind.op} does not compute in {dtypes[1]}"
        if isinstance(kind, Binary) and not _ext.has_binary(kind, dtypes[1].code):
            return f"{kind.op} does not compute in {dtypes[1]}"
        if op in ("elementwise", "elementwise_reduce") and not _UNROUNDED.issuperset(dtypes):
            return "elementwise takes types that are computed in as they are stored, and bool"
        if op in _FLOATS_ONLY and not dtypes[0].is_float:
            return f"{op} takes floats, not {dtypes[0]}"
        if isinstance(kind, Random) and dtypes[0] is not (int32 if kind is Random.BITS else float32):
            return f"{kind.op} numbers are {'int32' if kind is Random.BITS else 'float32'}, not {dtypes[0]}"
        return None

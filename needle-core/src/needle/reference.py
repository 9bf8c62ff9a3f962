"""The reference backend: the protocol in NumPy. It is the device `numpy`, and what every other device must equal.

Slow and right: each method is the definition of its primitive. Halves are computed in float32 and rounded once.
"""

from collections.abc import Callable, Sequence
from math import erf
from typing import Any

import numpy as np

from needle import philox
from needle.backend import IN_PLACE, Backend, BackendInfo, ConformanceProfile, Probe, View, hookimpl
from needle.dtype import (
    DTYPES,
    DType,
    bfloat16,
    bfloat16_from_float32,
    bool_,
    float16,
    float32_from_bfloat16,
    numpy_dtype,
)
from needle.errors import IndexRangeError, OutOfMemoryError
from needle.expression import Expression, Step
from needle.host_arrays import Array, elements, limit, read, write
from needle.kinds import Binary, Random, Reduce, Unary
from needle.layout import Layout
from needle.reference_layers import LayerReference
from needle.reference_recurrent import RecurrentReference


class HostBuffer:
    """Bytes in the memory of the process."""

    __slots__ = ("raw",)

    def __init__(self, nbytes: int) -> None:
        try:
            self.raw: Array = np.empty(nbytes, np.uint8)
        except (MemoryError, ValueError):
            raise OutOfMemoryError(nbytes) from None

    @classmethod
    def around(cls, raw: Array) -> "HostBuffer":
        """Bytes that are there already."""
        self = cls.__new__(cls)
        self.raw = raw
        return self

    @property
    def nbytes(self) -> int:
        return self.raw.size


def _erf(x: Array) -> Array:
    """NumPy has no error function; the C library's is exact to an ulp, one element at a time."""
    return np.array([erf(v) for v in x.flat], x.dtype).reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def _pow(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        shape = np.broadcast_shapes(np.shape(a), np.shape(b), (1,))
        each = np.array(np.broadcast_to(b, shape))  # of a number that stands for all NumPy takes short cuts: sqrt(-inf)
        powers: Array = np.power(a, each)
        return powers
    inverse = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0)).astype(a.dtype)  # b < 0, rounded to 0
    return np.where(b < 0, inverse, np.power(a, np.maximum(b, 0)))


def _shift(shift: Callable[..., Array]) -> Callable[[Array, Array], Array]:
    """A shift by the width or more pushes every bit out; NumPy leaves that to the processor."""

    def f(a: Array, b: Array) -> Array:
        width = 8 * a.dtype.itemsize
        out = np.where(a < 0, -1, 0).astype(a.dtype) if shift is np.right_shift else np.zeros_like(a)
        inside = (b >= 0) & (b < width)
        return np.where(inside, shift(a, np.where(inside, b, 0)), out)

    return f


UNARY: dict[Unary, Callable[[Array], Array]] = {
    Unary.NEG: np.negative,
    Unary.ABS: np.abs,
    Unary.SQUARE: np.square,
    Unary.SIGN: np.sign,
    Unary.RELU: lambda x: np.maximum(x, 0),
    Unary.EXP: np.exp,
    Unary.EXPM1: np.expm1,
    Unary.LOG: np.log,
    Unary.LOG1P: np.log1p,
    Unary.SQRT: np.sqrt,
    Unary.RSQRT: lambda x: 1 / np.sqrt(x),
    Unary.RECIPROCAL: lambda x: 1 / x,
    Unary.SIN: np.sin,
    Unary.COS: np.cos,
    Unary.TANH: np.tanh,
    Unary.SIGMOID: _sigmoid,
    Unary.ERF: _erf,
    Unary.FLOOR: np.floor,
    Unary.CEIL: np.ceil,
    Unary.ROUND: np.rint,
    Unary.TRUNC: np.trunc,
    Unary.LOGICAL_NOT: np.logical_not,
    Unary.BITWISE_NOT: np.invert,
    Unary.ISNAN: np.isnan,
    Unary.ISINF: np.isinf,
    Unary.ISFINITE: np.isfinite,
    Unary.SOFTPLUS: lambda x: np.logaddexp(x, x.dtype.type(0)),
}

BINARY: dict[Binary, Callable[[Array, Array], Array]] = {
    Binary.ADD: np.add,
    Binary.SUB: np.subtract,
    Binary.MUL: np.multiply,
    Binary.DIV: np.divide,
    Binary.POW: _pow,
    Binary.MAXIMUM: np.maximum,
    Binary.MINIMUM: np.minimum,
    Binary.FLOOR_DIVIDE: np.floor_divide,
    Binary.REMAINDER: np.remainder,
    Binary.ATAN2: np.arctan2,
    Binary.RELU_GRAD: lambda a, b: np.where(b > 0, a, np.zeros_like(a)),
    Binary.EQUAL: np.equal,
    Binary.NOT_EQUAL: np.not_equal,
    Binary.LESS: np.less,
    Binary.LESS_EQUAL: np.less_equal,
    Binary.GREATER: np.greater,
    Binary.GREATER_EQUAL: np.greater_equal,
    Binary.LOGICAL_AND: np.logical_and,
    Binary.LOGICAL_OR: np.logical_or,
    Binary.LOGICAL_XOR: np.logical_xor,
    Binary.BITWISE_AND: np.bitwise_and,
    Binary.BITWISE_OR: np.bitwise_or,
    Binary.BITWISE_XOR: np.bitwise_xor,
    Binary.SHIFT_LEFT: _shift(np.left_shift),
    Binary.SHIFT_RIGHT: _shift(np.right_shift),
}

REDUCE: dict[Reduce, np.ufunc] = {
    Reduce.SUM: np.add,
    Reduce.PROD: np.multiply,
    Reduce.MAX: np.maximum,
    Reduce.MIN: np.minimum,
}


class NumpyBackend(LayerReference, RecurrentReference, Backend):
    """The device `numpy`."""

    dtypes = frozenset(DTYPES)
    strided = frozenset(
        {"copy", "cast", "unary", "binary", "binary_scalar", "elementwise", "elementwise_reduce", "where", "reduce",
         "matmul", "linear", "gather", "scatter_add", "argmax", "cumsum", "softmax", "log_softmax", "softmax_grad",
         "log_softmax_grad", "cross_entropy", "cross_entropy_grad", "sgd_step", "adam_step", "argsort", "conv2d",
         "conv2d_bias", "conv2d_grad_input", "conv2d_grad_weight", "pool2d", "pool2d_grad", "layer_norm",
         "layer_norm_grad", "rms_norm", "rms_norm_grad", "moments", "batch_norm", "batch_norm_relu",
         "batch_norm_grad", "attention", "attention_grad", "lstm", "lstm_grad"}
    )  # fmt: skip
    in_place = IN_PLACE | {"elementwise", "cross_entropy_grad"}

    def allocate(self, nbytes: int) -> HostBuffer:
        return HostBuffer(nbytes)

    def upload(self, dst: HostBuffer, offset: int, host: memoryview) -> None:
        dst.raw[offset : offset + host.nbytes] = np.frombuffer(host, np.uint8)

    def download(self, src: HostBuffer, offset: int, host: memoryview) -> None:
        np.frombuffer(host, np.uint8)[:] = src.raw[offset : offset + host.nbytes]

    def synchronize(self) -> None:
        """Every call has finished when it returns."""

    def host_view(self, buffer: HostBuffer) -> memoryview:
        return buffer.raw.data

    def describe(self) -> str:
        return f"NumPy {np.__version__}"

    def copy(self, dst: View, src: View) -> None:
        np.copyto(elements(dst), elements(src))

    def cast(self, dst: View, src: View) -> None:
        values = read(src)
        with np.errstate(all="ignore"):
            write(dst, values != 0 if dst.dtype is bool_ else values)

    def unary(self, kind: Unary, dst: View, x: View) -> None:
        with np.errstate(all="ignore"):
            write(dst, UNARY[kind](read(x)))

    def binary(self, kind: Binary, dst: View, a: View, b: View) -> None:
        with np.errstate(all="ignore"):
            write(dst, BINARY[kind](*_stretched(dst, a, b)))

    def binary_scalar(self, kind: Binary, dst: View, x: View, scalar: float | int | bool, swapped: bool) -> None:
        values = read(x)
        with np.errstate(all="ignore"):
            other = _rounded(scalar, x.dtype).astype(values.dtype)
            write(dst, BINARY[kind](other, values) if swapped else BINARY[kind](values, other))

    def elementwise(
        self, dsts: Sequence[View], srcs: Sequence[View], expression: Expression, scalars: Sequence[float]
    ) -> None:
        values = [read(src).reshape(src.size if src.size > 1 else ()) for src in srcs]
        with np.errstate(all="ignore"):
            for step in expression.steps:
                values.append(_step(step, [values[i] for i in step.inputs], scalars))
        for dst, number in zip(dsts, expression.results, strict=True):
            write(dst, values[number])

    def elementwise_reduce(
        self, dst: View, srcs: Sequence[View], expression: Expression, scalars: Sequence[float],
        kind: Reduce, rows: int, n: int,
    ) -> None:  # fmt: skip
        made = View(self.allocate(rows * n * dst.dtype.itemsize), Layout.compact((rows, n)), dst.dtype)
        self.elementwise([made], srcs, expression, scalars)
        self.reduce(kind, dst, made, rows, n)

    def where(self, dst: View, condition: View, a: View, b: View) -> None:
        write(dst, np.where(*_stretched(dst, condition, a, b)))

    def reduce(self, kind: Reduce, dst: View, x: View, rows: int, n: int) -> None:
        values = read(x).reshape(rows, n)
        with np.errstate(all="ignore"):
            if n == 0 and kind in (Reduce.MAX, Reduce.MIN):
                write(dst, np.full(rows, limit(values.dtype, lowest=kind is Reduce.MAX)))
            else:
                write(dst, REDUCE[kind].reduce(values, axis=1, dtype=values.dtype))

    def matmul(self, dst: View, a: View, b: View, transpose_a: bool, transpose_b: bool) -> None:
        left = read(a).swapaxes(1, 2) if transpose_a else read(a)
        right = read(b).swapaxes(1, 2) if transpose_b else read(b)
        with np.errstate(all="ignore"):
            write(dst, left @ right)

    def linear(self, dst: View, a: View, b: View, bias: View, transpose_b: bool, activation: Unary | None) -> None:
        with np.errstate(all="ignore"):
            product = read(a) @ (read(b).T if transpose_b else read(b)) + read(bias)
            write(dst, product if activation is None else UNARY[activation](product))

    def gather(self, dst: View, x: View, index: View) -> None:
        write(dst, np.take_along_axis(read(x), _checked("gather", elements(index), x.shape[1]), 1))

    def scatter_add(self, dst: View, index: View, src: View) -> None:
        where = _checked("scatter_add", elements(index), dst.shape[1])
        outer, inner = np.ogrid[: where.shape[0], : where.shape[2]]
        total = read(dst).copy()
        np.add.at(total, (outer[:, :, None], where, inner[:, None, :]), read(src))
        write(dst, total)

    def argmax(self, dst: View, x: View, rows: int, n: int) -> None:
        write(dst, np.argmax(read(x).reshape(rows, n), axis=1))

    def cumsum(self, dst: View, x: View, rows: int, n: int) -> None:
        values = read(x).reshape(rows, n)
        write(dst, np.cumsum(values, axis=1, dtype=values.dtype))

    def softmax(self, dst: View, x: View, rows: int, n: int) -> None:
        with np.errstate(all="ignore"):
            write(dst, np.exp(_log_softmax(read(x).reshape(rows, n))))

    def log_softmax(self, dst: View, x: View, rows: int, n: int) -> None:
        with np.errstate(all="ignore"):
            write(dst, _log_softmax(read(x).reshape(rows, n)))

    def softmax_grad(self, dst: View, g: View, y: View, rows: int, n: int) -> None:
        cotangent, result = read(g).reshape(rows, n), read(y).reshape(rows, n)
        with np.errstate(all="ignore"):
            write(dst, result * (cotangent - (cotangent * result).sum(1, keepdims=True)))

    def log_softmax_grad(self, dst: View, g: View, y: View, rows: int, n: int) -> None:
        cotangent, result = read(g).reshape(rows, n), read(y).reshape(rows, n)
        with np.errstate(all="ignore"):
            write(dst, cotangent - np.exp(result) * cotangent.sum(1, keepdims=True))

    def cross_entropy(self, dst: View, logits: View, labels: View) -> None:
        at = _checked("cross_entropy", elements(labels), logits.shape[1])
        with np.errstate(all="ignore"):
            write(dst, -_log_softmax(read(logits))[np.arange(len(at)), at])

    def cross_entropy_grad(self, dst: View, g: View, logits: View, labels: View) -> None:
        at = _checked("cross_entropy_grad", elements(labels), logits.shape[1])
        with np.errstate(all="ignore"):
            result = np.exp(_log_softmax(read(logits)))
            result[np.arange(len(at)), at] -= 1
            write(dst, result * read(g).reshape(-1, 1))

    def sgd_step(
        self, params: Sequence[View], grads: Sequence[View], velocities: Sequence[View],
        lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
            p, g = read(param), read(grad)
            g = g + _of(p, weight_decay) * p
            step = g
            if velocities:
                v = _of(p, momentum) * read(velocities[i]) + _of(p, 1 - dampening) * g
                write(velocities[i], v)
                step = g + _of(p, momentum) * v if nesterov else v
            write(param, p - _of(p, lr) * step)

    def adam_step(
        self, params: Sequence[View], grads: Sequence[View], means: Sequence[View], squares: Sequence[View],
        lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, step: int,
    ) -> None:  # fmt: skip
        for param, grad, mean, square in zip(params, grads, means, squares, strict=True):
            p, g = read(param), read(grad)
            if decoupled:
                p = p * _of(p, 1 - lr * weight_decay)
            else:
                g = g + _of(p, weight_decay) * p
            m = _of(p, beta1) * read(mean) + _of(p, 1 - beta1) * g
            s = _of(p, beta2) * read(square) + _of(p, 1 - beta2) * g * g
            write(mean, m)
            write(square, s)
            root = np.sqrt(s / _of(p, 1 - beta2**step)) + _of(p, eps)
            write(param, p - _of(p, lr / (1 - beta1**step)) * m / root)

    def random(self, kind: Random, dst: View, seed: int, offset: int) -> None:
        draw = {Random.BITS: philox.bits, Random.UNIFORM: philox.uniform, Random.NORMAL: philox.normal}[kind]
        write(dst, draw(seed, offset, dst.layout.size))


def _rounded(scalar: float | int | bool | Array, dtype: DType) -> Array:
    """The scalar, or each of an array's elements, as an element of a dtype."""
    if dtype is bfloat16:
        return float32_from_bfloat16(bfloat16_from_float32(np.asarray(scalar, np.float32)))
    return np.asarray(scalar).astype(numpy_dtype(dtype))


def _of(values: Array, scalar: float) -> Any:
    """The scalar in the type of the values, so that NumPy does not widen the result."""
    return values.dtype.type(scalar)


def _step(step: Step, inputs: list[Array], scalars: Sequence[float]) -> Array:
    """The result of one step of an expression, rounded as if it were stored; halves stay in float32."""
    values = _computed(step, inputs, scalars)
    if step.result not in (float16, bfloat16):
        return values
    return _rounded(values, step.result).astype(np.float32)


def _computed(step: Step, inputs: list[Array], scalars: Sequence[float]) -> Array:
    if isinstance(step.kind, Unary):
        return UNARY[step.kind](inputs[0])
    if step.op == "binary_scalar":
        inputs.insert(0 if step.swapped else 1, _rounded(scalars[step.scalar], step.dtype).astype(inputs[0].dtype))
    if step.kind is not None:
        return BINARY[step.kind](*inputs)
    if step.op == "where":
        return np.where(*inputs)
    if step.result in (float16, bfloat16):
        return inputs[0]
    return inputs[0] != 0 if step.result is bool_ else inputs[0].astype(numpy_dtype(step.result))


def _stretched(dst: View, *operands: View) -> list[Array]:
    """Each operand's values, those of one element as a scalar array that NumPy broadcasts."""
    return [read(v) if v.shape == dst.shape else read(v).reshape(()) for v in operands]


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=1, keepdims=True, initial=-np.inf)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _checked(op: str, index: Array, n: int) -> Array:
    """The indices, each in 0 to n - 1."""
    outside = (index < 0) | (index >= n)
    if outside.any():
        raise IndexRangeError(f"{op}: index {index[outside].flat[0]} is out of range for size {n}")
    return index.astype(np.int64)


@hookimpl
def needle_backend_info() -> BackendInfo:
    return BackendInfo("numpy", summary="the reference, in NumPy: slow and right")


@hookimpl
def needle_probe() -> Probe:
    return Probe((f"NumPy {np.__version__} on the host",))


@hookimpl
def needle_create_backend() -> Backend:
    return NumpyBackend()


@hookimpl
def needle_conformance_profile() -> ConformanceProfile:
    return ConformanceProfile({}, {})

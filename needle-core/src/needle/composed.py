"""The defaults of the optional primitives, composed from the required ones on the same device.

Each fills `dst`, as the backend's method would. They are not in the Backend class because they compute with NDArray,
which stands above it, and because every step of theirs passes dispatch like any other op. They are written to be
right in every case, not to be fast: whoever writes a device replaces them in the order that its profile tells.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import copysign
from typing import Any

import numpy as np

from needle import dispatch, philox
from needle.device import Device
from needle.dispatch import composes
from needle.dtype import DType, float32, numpy_dtype
from needle.errors import IndexRangeError
from needle.exchange import bytes_of
from needle.expression import Expression
from needle.kinds import Binary, Random, Reduce, Unary
from needle.ndarray import NDArray, arange, from_numpy

_CHUNK = 1 << 22  # elements of the largest temporary that a composition makes
_ROW = 1 << 14  # elements that are compared in about the time that it takes to start a copy


@lru_cache(maxsize=1024)
def _constant(device: Device, dtype: DType, scalar: float | int | bool, sign: float) -> NDArray:
    """One element on the device; training asks for the same few numbers again and again. `sign` tells -0.0 from 0."""
    return from_numpy(np.asarray(scalar), device, dtype)


@composes("binary_scalar")
def binary_scalar(kind: Binary, dst: NDArray, x: NDArray, scalar: float | int | bool, swapped: bool) -> None:
    one = _constant(x.device, x.dtype, scalar, copysign(1.0, scalar))
    dispatch.binary(x.device, kind, dst, *((one, x) if swapped else (x, one)))


@composes("elementwise")
def elementwise(
    dsts: Sequence[NDArray], srcs: Sequence[NDArray], expression: Expression, scalars: Sequence[float]
) -> None:
    """One step after another."""
    size = max(dst.size for dst in dsts)
    values = [x if x.size == 1 else x.reshape(size) for x in srcs]
    for step in expression.steps:
        inputs = [values[i] for i in step.inputs]
        whole = any(x.size > 1 for x in inputs)
        dst = inputs[0].new((size,) if whole else (), step.result)
        arguments: list[Any] = [dst, *inputs]
        if step.op == "binary_scalar":
            arguments += [scalars[step.scalar], step.swapped]
        dispatch.run(dst.device, step.op, *([] if step.kind is None else [step.kind]), *arguments)
        values.append(dst)
    for dst, number in zip(dsts, expression.results, strict=True):
        value = values[number]
        dst.assign(value.reshape(dst.shape) if value.size == dst.size else value)


@composes("elementwise_reduce")
def elementwise_reduce(
    dst: NDArray, srcs: Sequence[NDArray], expression: Expression, scalars: Sequence[float],
    kind: Reduce, rows: int, n: int,
) -> None:  # fmt: skip
    """First the elements, then their rows."""
    made = dst.new((rows, n), dst.dtype)
    if made.size:
        dispatch.run(dst.device, "elementwise", [made], list(srcs), expression, tuple(scalars))
    dispatch.reduce(dst.device, kind, dst, made, rows, n)


@composes("matmul")
def matmul(dst: NDArray, a: NDArray, b: NDArray, transpose_a: bool, transpose_b: bool) -> None:
    """Rows of a times columns of b, summed: some rows of dst at a time, to bound the temporary."""
    rows, columns = widened(a.mT if transpose_a else a), widened(b if transpose_b else b.mT)
    batch, m, n = dst.shape
    step = max(1, _CHUNK // max(1, n * rows.shape[-1]))
    for i in range(batch):
        left, right = rows[i % rows.shape[0]], columns[i % columns.shape[0]]
        for start in range(0, m, step):
            products = left[start : start + step, None, :] * right[None, :, :]
            dst[i, start : start + step] = products._reduced(Reduce.SUM, -1, keepdims=False)


@composes("linear")
def linear(dst: NDArray, a: NDArray, b: NDArray, bias: NDArray, transpose_b: bool, activation: Unary | None) -> None:
    result = (a @ (b.mT if transpose_b else b)) + bias
    dst.assign(result if activation is None else result._unary(activation))


@composes("gather")
def gather(dst: NDArray, x: NDArray, index: NDArray) -> None:
    """Compare each index with every position, and sum what is selected: exact, as all else is 0."""
    if _in_rows(index, x.shape[1]):
        for rows, j, position in _positions("gather", index, x.shape[1]):
            dst[rows, j] = x[rows, position]
        return
    for start, stop, chosen in _selections(index, x.shape[1]):
        values = chosen.where(x[:, None, :, :], 0)
        dst[:, start:stop] = values._reduced(Reduce.SUM, 2, keepdims=False)


@composes("scatter_add")
def scatter_add(dst: NDArray, index: NDArray, src: NDArray) -> None:
    total, values = widened(dst), widened(src)
    if _in_rows(index, dst.shape[1]):
        for rows, j, position in _positions("scatter_add", index, dst.shape[1]):
            total[rows, position] = total[rows, position] + values[rows, j]
    else:
        for start, stop, chosen in _selections(index, dst.shape[1]):
            selected = chosen.where(values[:, start:stop, None, :], 0)
            total = total + selected._reduced(Reduce.SUM, 1, keepdims=False)
    dst.assign(total)


@composes("argmax")
def argmax(dst: NDArray, x: NDArray, rows: int, n: int) -> None:
    """The least position among those that hold the largest value, or a NaN if there is one."""
    values = x.reshape(rows, n)
    largest = values == values.max(1, keepdims=True)
    if x.dtype.is_float:
        largest = largest | values.isnan()
    dst.assign(largest.where(arange(n, dst.dtype, x.device), n).min(1).reshape(dst.shape))


@composes("cumsum")
def cumsum(dst: NDArray, x: NDArray, rows: int, n: int) -> None:
    """Doubling steps: add what stands 1, 2, 4, ... places before (Hillis and Steele, 1986)."""
    total = widened(x.reshape(rows, n)).copy()
    shift = 1
    while shift < n:
        total[:, shift:] = total[:, shift:] + total[:, :-shift]
        shift *= 2
    dst.assign(total.reshape(dst.shape))


@composes("softmax")
def softmax(dst: NDArray, x: NDArray, rows: int, n: int) -> None:
    e = _shifted(x.reshape(rows, n)).exp()
    dst.assign((e / e.sum(1, keepdims=True)).reshape(dst.shape))


@composes("log_softmax")
def log_softmax(dst: NDArray, x: NDArray, rows: int, n: int) -> None:
    dst.assign(_log_softmax(x.reshape(rows, n)).reshape(dst.shape))


@composes("softmax_grad")
def softmax_grad(dst: NDArray, g: NDArray, y: NDArray, rows: int, n: int) -> None:
    cotangent, result = widened(g.reshape(rows, n)), widened(y.reshape(rows, n))
    dst.assign((result * (cotangent - (cotangent * result).sum(1, keepdims=True))).reshape(dst.shape))


@composes("log_softmax_grad")
def log_softmax_grad(dst: NDArray, g: NDArray, y: NDArray, rows: int, n: int) -> None:
    cotangent, result = widened(g.reshape(rows, n)), widened(y.reshape(rows, n))
    dst.assign((cotangent - result.exp() * cotangent.sum(1, keepdims=True)).reshape(dst.shape))


@composes("cross_entropy")
def cross_entropy(dst: NDArray, logits: NDArray, labels: NDArray) -> None:
    chosen = _log_softmax(logits).gather(labels.reshape(-1, 1), 1)
    dst.assign(-chosen.reshape(dst.shape))


@composes("cross_entropy_grad")
def cross_entropy_grad(dst: NDArray, g: NDArray, logits: NDArray, labels: NDArray) -> None:
    hit = labels.reshape(-1, 1) == arange(logits.shape[1], labels.dtype, labels.device)
    dst.assign((_log_softmax(logits).exp() - hit.astype(float32)) * widened(g.reshape(-1, 1)))


@composes("sgd_step")
def sgd_step(
    params: Sequence[NDArray], grads: Sequence[NDArray], velocities: Sequence[NDArray],
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        p, g = widened(param), widened(grad)
        g = g + weight_decay * p if weight_decay else g
        step = g
        if velocities:
            v = momentum * widened(velocities[i]) + (1 - dampening) * g
            velocities[i].assign(v)
            step = g + momentum * v if nesterov else v
        param.assign(p - lr * step)


@composes("adam_step")
def adam_step(
    params: Sequence[NDArray], grads: Sequence[NDArray], means: Sequence[NDArray], squares: Sequence[NDArray],
    lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, step: int,
) -> None:  # fmt: skip
    for param, grad, mean, square in zip(params, grads, means, squares, strict=True):
        p, g = widened(param), widened(grad)
        if decoupled:
            p = p * (1 - lr * weight_decay)
        elif weight_decay:
            g = g + weight_decay * p
        mean.assign(beta1 * widened(mean) + (1 - beta1) * g)
        square.assign(beta2 * widened(square) + (1 - beta2) * g * g)
        root = (widened(square) / (1 - beta2**step)).sqrt() + eps
        param.assign(p - (lr / (1 - beta1**step)) * widened(mean) / root)


@composes("random")
def random(kind: Random, dst: NDArray, seed: int, offset: int) -> None:
    """Drawn on the host and uploaded: the bits are the same everywhere."""
    draw = {Random.BITS: philox.bits, Random.UNIFORM: philox.uniform, Random.NORMAL: philox.normal}[kind]
    if dst.size:
        door = dispatch.dispatcher(dst.device)
        start = dst.layout.offset * dst.dtype.itemsize
        door.backend.upload(dst.buffer, start, bytes_of(draw(seed, offset, dst.size)))


def widened(x: NDArray) -> NDArray:
    """Halves in float32, in which a composition of several steps is computed."""
    return x.astype(float32) if x.dtype.is_float and x.dtype.itemsize < 4 else x


def _shifted(x: NDArray) -> NDArray:
    wide = widened(x)
    return wide - wide.max(1, keepdims=True)


def _log_softmax(x: NDArray) -> NDArray:
    shifted = _shifted(x)
    return shifted - shifted.exp().sum(1, keepdims=True).log()


def _selections(index: NDArray, n: int) -> list[tuple[int, int, NDArray]]:
    """For some of the m indices at a time: start, stop, and (outer, m, n, inner) which position each selects."""
    outer, m, inner = index.shape
    positions = arange(n, index.dtype, index.device).reshape(1, 1, n, 1)
    step = max(1, _CHUNK // max(1, outer * n * inner))
    starts = range(0, m, step)
    return [(s, min(s + step, m), index[:, s : s + step, None, :] == positions) for s in starts]


def _in_rows(index: NDArray, n: int) -> bool:
    """Whether it pays to move row after row: every index stands for a row of more than `_ROW` comparisons."""
    outer, m, inner = index.shape
    whole = inner == 1 or index.strides[2] == 0
    compared = n * inner * (outer if index.strides[0] == 0 else 1)
    return whole and m > 0 and outer > 0 and compared > _ROW


def _positions(op: str, index: NDArray, n: int) -> Iterator[tuple[slice, int, int]]:
    """What each index of a row says: which outer rows it is for, its own place, and the position that it names."""
    alike = index.strides[0] == 0
    lists = index[: 1 if alike else None, :, 0].contiguous()
    host = np.empty(lists.shape, numpy_dtype(lists.dtype))
    door = dispatch.dispatcher(
        index.device
    )  # and not `numpy()`: a graph that is captured must not depend on the values
    door.backend.download(lists.buffer, lists.layout.offset * lists.dtype.itemsize, bytes_of(host))
    for i, row in enumerate(host.tolist()):
        for j, position in enumerate(row):
            if not 0 <= position < n:
                raise IndexRangeError(f"{op}: index {position} is out of range for size {n}")
            yield (slice(None) if alike else slice(i, i + 1)), j, position

"""A device of protocol 1.0 in NumPy: the ten required functions, and some optional ones.

It depends on no more of Needle than the protocol gives: Backend, View (buffer, layout, dtype) and the numbers of kinds
and dtypes. Kinds of later versions are not in its tables, and `supports` declines them.
"""

import math

import numpy as np
from needle.backend import Backend
from needle.dtype import bool_, float32, float64, int32, int64
from needle.errors import IndexRangeError, OutOfMemoryError

NUMPY = {bool_: np.bool_, int32: np.int32, int64: np.int64, float32: np.float32, float64: np.float64}


class Memory:
    def __init__(self, nbytes):
        self.nbytes = nbytes
        try:
            self.bytes = np.empty(nbytes, np.uint8)
        except (MemoryError, ValueError):
            raise OutOfMemoryError(nbytes) from None


def array(view):
    """The elements of a view, which NumPy can read and write."""
    size, layout = view.dtype.itemsize, view.layout
    offset = layout.offset * size if layout.size else 0
    strides = tuple(stride * size for stride in layout.strides)
    return np.ndarray(layout.shape, NUMPY[view.dtype], view.buffer.bytes, offset, strides)


def like(dst, *operands):
    """Operands that have dst's shape, or stand for all of it with one element."""
    return [array(x) if x.shape == dst.shape else array(x).reshape(()) for x in operands]


def power(a, b):
    if a.dtype.kind == "f":
        shape = np.broadcast_shapes(a.shape, b.shape, (1,))
        full = np.array(np.broadcast_to(a, shape)), np.array(np.broadcast_to(b, shape))
        return np.power(*full).reshape(np.broadcast_shapes(a.shape, b.shape))
    below = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))
    return np.where(b < 0, below, np.power(a, np.maximum(b, 0)))


def shift_left(a, b):
    inside = (b >= 0) & (b < 8 * a.dtype.itemsize)
    return np.where(inside, np.left_shift(a, np.where(inside, b, 0)), 0)


def shift_right(a, b):
    inside = (b >= 0) & (b < 8 * a.dtype.itemsize)
    return np.where(inside, np.right_shift(a, np.where(inside, b, 0)), np.where(a < 0, -1, 0))


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e))


def erf(x):
    return np.array([math.erf(v) for v in x.ravel().tolist()], x.dtype).reshape(x.shape)


# By the numbers of needle.kinds in protocol 1.0.
UNARY = {
    0: np.negative, 1: np.abs, 2: np.square, 3: np.sign, 4: lambda x: np.maximum(x, x.dtype.type(0)), 5: np.exp,
    6: np.expm1, 7: np.log, 8: np.log1p, 9: np.sqrt, 10: lambda x: 1 / np.sqrt(x), 11: lambda x: 1 / x, 12: np.sin,
    13: np.cos, 14: np.tanh, 15: sigmoid, 16: erf, 17: np.floor, 18: np.ceil, 19: np.rint, 20: np.trunc,
    21: np.logical_not, 22: np.invert, 23: np.isnan, 24: np.isinf, 25: np.isfinite,
    26: lambda x: np.logaddexp(x, x.dtype.type(0)),
}
BINARY = {
    0: np.add, 1: np.subtract, 2: np.multiply, 3: np.divide, 4: power, 5: np.maximum, 6: np.minimum,
    7: np.floor_divide, 8: np.remainder, 9: np.arctan2, 10: lambda a, b: np.where(b > 0, a, a.dtype.type(0)),
    11: np.equal, 12: np.not_equal, 13: np.less, 14: np.less_equal, 15: np.greater, 16: np.greater_equal,
    17: np.logical_and, 18: np.logical_or, 19: np.logical_xor, 20: np.bitwise_and, 21: np.bitwise_or,
    22: np.bitwise_xor, 23: shift_left, 24: shift_right,
}
REDUCE = {0: np.add, 1: np.multiply, 2: np.maximum, 3: np.minimum}
KINDS = {"unary": UNARY, "binary": BINARY, "binary_scalar": BINARY, "reduce": REDUCE}


def quiet(method):
    """NumPy need not warn of what floats give."""

    def wrapped(*args):
        with np.errstate(all="ignore"):
            method(*args)

    return wrapped


class CapsuleBackend(Backend):
    dtypes = frozenset(NUMPY)
    strided = frozenset({"copy", "unary", "binary", "matmul"})

    def __init__(self, index):
        self.index = index

    def allocate(self, nbytes):
        return Memory(nbytes)

    def upload(self, dst, offset, host):
        dst.bytes[offset : offset + host.nbytes] = np.frombuffer(host, np.uint8)

    def download(self, src, offset, host):
        np.frombuffer(host, np.uint8)[:] = src.bytes[offset : offset + host.nbytes]

    def synchronize(self):
        pass

    def copy(self, dst, src):
        array(dst)[...] = array(src)

    @quiet
    def cast(self, dst, src):
        values = array(src)
        array(dst)[...] = values != 0 if dst.dtype == "bool" else values.astype(NUMPY[dst.dtype])

    @quiet
    def unary(self, kind, dst, x):
        array(dst)[...] = UNARY[int(kind)](*like(dst, x))

    @quiet
    def binary(self, kind, dst, a, b):
        array(dst)[...] = BINARY[int(kind)](*like(dst, a, b))

    def where(self, dst, condition, a, b):
        array(dst)[...] = np.where(*like(dst, condition, a, b))

    @quiet
    def reduce(self, kind, dst, x, rows, n):
        values = array(x).reshape(rows, n)
        if n:
            result = REDUCE[int(kind)].reduce(values, axis=1, dtype=values.dtype)
        elif int(kind) < 2:
            result = np.full(rows, int(kind))
        else:
            result = np.full(rows, extreme(values.dtype, lowest=int(kind) == 2))
        array(dst)[...] = result.reshape(dst.shape)

    @quiet
    def binary_scalar(self, kind, dst, x, scalar, swapped):
        values = like(dst, x)[0]
        number = np.asarray(scalar).astype(values.dtype)
        array(dst)[...] = BINARY[int(kind)](*((number, values) if swapped else (values, number)))

    @quiet
    def matmul(self, dst, a, b, transpose_a, transpose_b):
        left, right = array(a), array(b)
        left = left.swapaxes(1, 2) if transpose_a else left
        array(dst)[...] = left @ (right.swapaxes(1, 2) if transpose_b else right)

    def gather(self, dst, x, index):
        array(dst)[...] = np.take_along_axis(array(x), within(array(index), x.shape[1], "gather"), 1)

    def scatter_add(self, dst, index, src):
        at = within(array(index), dst.shape[1], "scatter_add")
        outer, inner = np.ogrid[: at.shape[0], : at.shape[2]]
        np.add.at(array(dst), (outer[:, :, None], at, inner[:, None, :]), array(src))

    def argmax(self, dst, x, rows, n):
        array(dst)[...] = np.argmax(array(x).reshape(rows, n), axis=1).reshape(dst.shape)

    @quiet
    def softmax(self, dst, x, rows, n):
        values = array(x).reshape(rows, n)
        e = np.exp(values - values.max(axis=1, keepdims=True, initial=-np.inf))
        array(dst)[...] = (e / e.sum(axis=1, keepdims=True)).reshape(dst.shape)

    @quiet
    def sgd_step(self, params, grads, velocities, lr, momentum, dampening, weight_decay, nesterov):
        for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
            p, number = array(param), NUMPY[param.dtype]
            g = array(grad) + number(weight_decay) * p
            step = g
            if velocities:
                v = array(velocities[i])
                v[...] = number(momentum) * v + number(1 - dampening) * g
                step = g + number(momentum) * v if nesterov else v
            p -= number(lr) * step

    def describe(self):
        return f"the time capsule, device {self.index}"

    def supports(self, op, kind, dtypes):
        known = KINDS.get(op)
        if known is not None and int(kind) not in known:
            return f"{op} number {int(kind)} came after protocol 1.0"
        if op in ("softmax", "sgd_step") and not dtypes[0].is_float:
            return f"{op} takes floats, not {dtypes[0]}"
        return None


def extreme(dtype, lowest):
    if dtype.kind == "b":
        return not lowest
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max


def within(index, n, op):
    outside = index[(index < 0) | (index >= n)]
    if outside.size:
        raise IndexRangeError(f"{op}: index {outside[0]} is out of range for size {n}")
    return index.astype(np.int64)

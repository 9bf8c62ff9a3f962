"""The reference backend's layers: convolution, pooling, normalization, attention and sorting, in NumPy.

Each method is the definition of its primitive, told otherwise than in `formulas.py`: convolutions place by place of
the kernel, gradients of norms by the chain rule through their statistics. Halves are computed in float32.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from needle.backend import Pair, View
from needle.host_arrays import Array, limit, read, write
from needle.kinds import Pool
from needle.shape import Shape


class LayerReference:
    """The layers of the device `numpy`."""

    def argsort(self, dst: View, x: View, rows: int, n: int, descending: bool) -> None:
        values = read(x).reshape(rows, n)
        if descending:  # the last of the reversed row is the first of the row
            write(dst, n - 1 - np.argsort(values[:, ::-1], axis=1, kind="stable")[:, ::-1])
        else:
            write(dst, np.argsort(values, axis=1, kind="stable"))

    def conv2d(self, dst: View, x: View, w: View, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
        image, kernel = _surrounded(read(x), padding, 0), read(w)
        total = np.zeros(dst.shape, kernel.dtype)
        with np.errstate(all="ignore"):
            for i, o in _groups(image.shape[3], dst.shape[3], groups):
                for place, seen in _places(image[..., i], kernel.shape, dst.shape, stride, dilation):
                    total[..., o] += seen @ kernel[place][:, o]
        write(dst, total)

    def conv2d_bias(
        self, dst: View, x: View, w: View, bias: View, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> None:
        self.conv2d(dst, x, w, stride, padding, dilation, groups)
        with np.errstate(all="ignore"):
            write(dst, read(dst) + read(bias))

    def conv2d_grad_input(
        self, dst: View, g: View, w: View, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> None:
        cotangent, kernel = read(g), read(w)
        total = _surrounded(np.zeros(dst.shape, kernel.dtype), padding, 0)
        with np.errstate(all="ignore"):
            for i, o in _groups(dst.shape[3], g.shape[3], groups):
                for place, seen in _places(total[..., i], kernel.shape, g.shape, stride, dilation):
                    seen += cotangent[..., o] @ kernel[place][:, o].T
        write(dst, _inner(total, padding))

    def conv2d_grad_weight(
        self, dst: View, x: View, g: View, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> None:
        image, cotangent = _surrounded(read(x), padding, 0), read(g)
        total = np.zeros(dst.shape, image.dtype)
        with np.errstate(all="ignore"):
            for i, o in _groups(image.shape[3], g.shape[3], groups):
                for place, seen in _places(image[..., i], dst.shape, g.shape, stride, dilation):
                    total[place][:, o] = np.tensordot(seen, cotangent[..., o], ([0, 1, 2], [0, 1, 2]))
        write(dst, total)

    def pool2d(self, kind: Pool, dst: View, x: View, size: Pair, stride: Pair, padding: Pair) -> None:
        values = read(x)
        around = _surrounded(values, padding, limit(values.dtype, lowest=True) if kind is Pool.MAX else 0)
        windows = np.stack([seen for _, seen in _places(around, size, dst.shape, stride)])
        with np.errstate(all="ignore"):
            write(dst, windows.max(0) if kind is Pool.MAX else windows.sum(0) / len(windows))

    def pool2d_grad(
        self, kind: Pool, dst: View, g: View, x: View, y: View, size: Pair, stride: Pair, padding: Pair
    ) -> None:
        cotangent = read(g)
        total = _surrounded(np.zeros(dst.shape, cotangent.dtype), padding, 0)
        shares = _shares(kind, cotangent, read(x), read(y), size, stride, padding)
        for (_, seen), share in zip(_places(total, size, g.shape, stride), shares, strict=True):
            seen += share
        write(dst, _inner(total, padding))

    def layer_norm(self, dst: View, x: View, weight: View, bias: View, rows: int, n: int, eps: float) -> None:
        mean, var = _statistics(read(x).reshape(rows, n), 1)
        with np.errstate(all="ignore"):
            normalized = (read(x).reshape(rows, n) - mean) / np.sqrt(var + eps)
            write(dst, normalized * read(weight) + read(bias))

    def layer_norm_grad(
        self, dx: View, dw: View, db: View, g: View, x: View, weight: View, rows: int, n: int, eps: float
    ) -> None:
        cotangent, values = read(g).reshape(rows, n), read(x).reshape(rows, n)
        mean, var = _statistics(values, 1)
        with np.errstate(all="ignore"):
            write(dx, _through_statistics(cotangent * read(weight), values - mean, var + eps, 1))
            write(dw, (cotangent * (values - mean) / np.sqrt(var + eps)).sum(0))
            write(db, cotangent.sum(0))

    def rms_norm(self, dst: View, x: View, weight: View, rows: int, n: int, eps: float) -> None:
        values = read(x).reshape(rows, n)
        with np.errstate(all="ignore"):
            write(dst, values / _root_mean_square(values, eps) * read(weight))

    def rms_norm_grad(self, dx: View, dw: View, g: View, x: View, weight: View, rows: int, n: int, eps: float) -> None:
        cotangent, values = read(g).reshape(rows, n), read(x).reshape(rows, n)
        with np.errstate(all="ignore"):
            root = _root_mean_square(values, eps)
            direct = cotangent * read(weight)
            of_root = -(direct * values).sum(1, keepdims=True) / root**2
            write(dx, direct / root + of_root * values / (n * root))
            write(dw, (cotangent * values / root).sum(0))

    def moments(self, mean: View, var: View, x: View) -> None:
        for dst, values in zip((mean, var), _statistics(_by_channel(x), 0), strict=True):
            write(dst, values)

    def batch_norm(self, dst: View, x: View, weight: View, bias: View, mean: View, var: View, eps: float) -> None:
        with np.errstate(all="ignore"):
            normalized = (_by_channel(x) - read(mean)) / np.sqrt(read(var) + eps)
            write(dst, normalized * read(weight) + read(bias))

    def batch_norm_relu(self, dst: View, x: View, weight: View, bias: View, mean: View, var: View, eps: float) -> None:
        self.batch_norm(dst, x, weight, bias, mean, var, eps)
        write(dst, np.maximum(read(dst), 0))

    def batch_norm_grad(
        self, dx: View, dw: View, db: View, g: View, x: View, weight: View, mean: View, var: View, eps: float,
        training: bool,
    ) -> None:  # fmt: skip
        cotangent, centered, square = _by_channel(g), _by_channel(x) - read(mean), read(var) + eps
        with np.errstate(all="ignore"):
            direct = cotangent * read(weight)
            write(dx, _through_statistics(direct, centered, square, 0) if training else direct / np.sqrt(square))
            write(dw, (cotangent * centered / np.sqrt(square)).sum(0))
            write(db, cotangent.sum(0))

    def attention(self, dst: View, q: View, k: View, v: View, causal: bool, scale: float) -> None:
        with np.errstate(all="ignore"):
            write(dst, _weights(read(q), read(k), causal, scale) @ read(v))

    def attention_grad(
        self, dq: View, dk: View, dv: View, g: View, q: View, k: View, v: View, y: View, causal: bool, scale: float
    ) -> None:
        cotangent, query, key = read(g), read(q), read(k)
        with np.errstate(all="ignore"):
            weights = _weights(query, key, causal, scale)
            of_weights = cotangent @ read(v).swapaxes(-1, -2)
            of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdims=True))
            write(dq, of_scores @ key * scale)
            write(dk, of_scores.swapaxes(-1, -2) @ query * scale)
            write(dv, weights.swapaxes(-1, -2) @ cotangent)


def _surrounded(x: Array, padding: Pair, value: Any) -> Array:
    """The image with `padding` of a value on each side."""
    return np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)), constant_values=value)


def _inner(x: Array, padding: Pair) -> Array:
    """The image without its padding."""
    return x[:, padding[0] : x.shape[1] - padding[0], padding[1] : x.shape[2] - padding[1]]


def _places(
    image: Array, size: Shape, out: Shape, stride: Pair, dilation: Pair = (1, 1)
) -> Iterator[tuple[Pair, Array]]:
    """The places of a window, row by row, and what of the image each sees: a view (N, OH, OW, C)."""
    for k, m in np.ndindex(*size[:2]):
        i, j = k * dilation[0], m * dilation[1]
        rows = slice(i, i + stride[0] * (out[1] - 1) + 1, stride[0])
        yield (k, m), image[:, rows, j : j + stride[1] * (out[2] - 1) + 1 : stride[1]]


def _groups(inputs: int, outputs: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """The channels in and out of each group."""
    i, o = inputs // groups, outputs // groups
    for n in range(groups):
        yield slice(n * i, (n + 1) * i), slice(n * o, (n + 1) * o)


def _shares(kind: Pool, g: Array, x: Array, y: Array, size: Pair, stride: Pair, padding: Pair) -> Iterator[Array]:
    """What of g falls to each place of the windows; of a maximum all, to the first place that holds it."""
    inside = _surrounded(np.ones(x.shape, bool), padding, False)
    places = zip(_places(_surrounded(x, padding, 0), size, g.shape, stride),
                 _places(inside, size, g.shape, stride), strict=True)  # fmt: skip
    taken = np.zeros(g.shape, bool)
    for (_, seen), (_, real) in places:
        first = real & (seen == y) & ~taken
        taken |= first
        yield np.where(first, g, 0) if kind is Pool.MAX else g / (size[0] * size[1])


def _statistics(x: Array, axis: int) -> tuple[Array, Array]:
    """The mean and the biased variance, with the axis kept."""
    with np.errstate(all="ignore"):
        mean = x.sum(axis, keepdims=True) / x.shape[axis]
        return mean, np.square(x - mean).sum(axis, keepdims=True) / x.shape[axis]


def _through_statistics(g: Array, centered: Array, square: Array, axis: int) -> Array:
    """The gradient of x for g of (x - mean) / sqrt(square), where mean and square = var + eps depend on x."""
    n, root = g.shape[axis], np.sqrt(square)
    of_mean = -(g / root).sum(axis, keepdims=True)
    of_square = -(g * centered).sum(axis, keepdims=True) / (2 * square * root)
    result: Array = g / root + of_mean / n + of_square * 2 * centered / n
    return result


def _root_mean_square(x: Array, eps: float) -> Array:
    result: Array = np.sqrt(np.square(x).sum(1, keepdims=True) / x.shape[1] + eps)
    return result


def _by_channel(x: View) -> Array:
    """(..., C) -> (rows, C)."""
    return read(x).reshape(-1, x.shape[-1])


def _weights(q: Array, k: Array, causal: bool, scale: float) -> Array:
    """The softmax of each row's scores, those behind the row hidden if causal."""
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, -np.inf).astype(scores.dtype)
    exponentials = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
    result: Array = exponentials / exponentials.sum(-1, keepdims=True)
    return result

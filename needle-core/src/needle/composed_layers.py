"""The composed defaults of convolution, pooling, normalization, attention and sorting; see `composed.py`."""

from typing import Any

import numpy as np

from needle import formulas
from needle.backend import Pair
from needle.composed import widened as _wide
from needle.convolution import Window
from needle.dispatch import composes
from needle.formulas import inner_steps, padded_shape, places, window_steps
from needle.kinds import Pool, Reduce, Unary
from needle.ndarray import NDArray, arange
from needle.shape import Shape

_CHUNK = 1 << 24  # elements of the largest unfolded image


def _padded(x: NDArray, padding: Pair) -> NDArray:
    return x.embedded(inner_steps(x.shape, padding), padded_shape(x.shape, padding)) if any(padding) else x


def _batches(n: int, per_image: int) -> list[slice]:
    """Some images at a time, so that unfolding them stays within bounds."""
    step = max(1, _CHUNK // max(1, per_image))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def _channels(x: NDArray, group: int, groups: int) -> NDArray:
    width = x.shape[-1] // groups
    return x[..., group * width : (group + 1) * width]


def _columns(x: NDArray, size: Pair, stride: Pair, padding: Pair, dilation: Pair, out: Shape) -> NDArray:
    """(N, H, W, C) -> (N * OH * OW, KH * KW * C): each window as a row."""
    windows = _padded(x, padding).windows(size, stride, dilation)[:, : out[1], : out[2]]
    return windows.reshape(x.shape[0] * out[1] * out[2], size[0] * size[1] * x.shape[3])


@composes("conv2d")
def conv2d(dst: NDArray, x: NDArray, w: NDArray, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
    size = (w.shape[0], w.shape[1])
    for images in _batches(x.shape[0], dst.shape[1] * dst.shape[2] * size[0] * size[1] * x.shape[3]):
        for group in range(groups):
            columns = _columns(_channels(x[images], group, groups), size, stride, padding, dilation, dst.shape)
            kernel = _channels(w, group, groups)
            target = _channels(dst[images], group, groups)
            target.assign((columns @ kernel.reshape(-1, kernel.shape[3])).reshape(target.shape))


@composes("conv2d_bias")
def conv2d_bias(
    dst: NDArray, x: NDArray, w: NDArray, bias: NDArray, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> None:
    dst.assign(x.conv2d(w, Window(stride, padding, dilation, groups)) + bias)


@composes("conv2d_grad_input")
def conv2d_grad_input(
    dst: NDArray, g: NDArray, w: NDArray, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> None:
    shape = padded_shape(dst.shape, padding)
    for group in range(groups):
        kernel, cotangent = _channels(w, group, groups), _channels(g, group, groups)
        flat = cotangent.reshape(-1, cotangent.shape[3])
        total = dst.filled((*shape[:3], kernel.shape[2]), 0, _wide(g).dtype)
        for i, j in places(kernel.shape[:2]):
            part = (flat @ kernel[i, j].mT).reshape(*g.shape[:3], kernel.shape[2])
            steps = window_steps(total.shape, g.shape, stride, (i * dilation[0], j * dilation[1]))
            view = total.sliced(steps)
            view.assign(view + part)
        inner = inner_steps((*dst.shape[:3], kernel.shape[2]), padding)
        _channels(dst, group, groups).assign(total.sliced(inner))


@composes("conv2d_grad_weight")
def conv2d_grad_weight(
    dst: NDArray, x: NDArray, g: NDArray, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> None:
    size = (dst.shape[0], dst.shape[1])
    total = dst.filled(dst.shape, 0, _wide(dst).dtype)
    for images in _batches(x.shape[0], g.shape[1] * g.shape[2] * size[0] * size[1] * x.shape[3]):
        for group in range(groups):
            columns = _columns(_channels(x[images], group, groups), size, stride, padding, dilation, g.shape)
            cotangent = _channels(g[images], group, groups)
            target = _channels(total, group, groups)
            product = columns.mT @ cotangent.reshape(-1, cotangent.shape[3])
            target.assign(target + product.reshape(target.shape))
    dst.assign(total)


@composes("pool2d")
def pool2d(kind: Pool, dst: NDArray, x: NDArray, size: Pair, stride: Pair, padding: Pair) -> None:
    shape = padded_shape(x.shape, padding)
    if kind is Pool.MAX and any(padding):
        around = dst.filled(shape, float("-inf"), x.dtype)
        around.sliced(inner_steps(x.shape, padding)).assign(x)
    else:
        around = _padded(x, padding)
    total: NDArray | None = None
    for place in places(size):
        part = _wide(around.sliced(window_steps(shape, dst.shape, stride, place)))
        total = part if total is None else total.maximum(part) if kind is Pool.MAX else total + part
    assert total is not None
    dst.assign(total if kind is Pool.MAX else total * (1.0 / (size[0] * size[1])))


@composes("pool2d_grad")
def pool2d_grad(
    kind: Pool, dst: NDArray, g: NDArray, x: NDArray, y: NDArray, size: Pair, stride: Pair, padding: Pair
) -> None:
    if kind is Pool.MAX:
        dst.assign(formulas.max_pool_grad(_wide(g), _wide(x), _wide(y), size, stride, padding))
    else:
        dst.assign(formulas.mean_pool_grad(_wide(g), x.shape, size, stride, padding))


@composes("layer_norm")
def layer_norm(dst: NDArray, x: NDArray, weight: NDArray, bias: NDArray, rows: int, n: int, eps: float) -> None:
    dst.assign(formulas.layer_norm(_wide(x), weight, bias, eps))


@composes("layer_norm_grad")
def layer_norm_grad(
    dx: NDArray, dw: NDArray, db: NDArray, g: NDArray, x: NDArray, weight: NDArray, rows: int, n: int, eps: float
) -> None:
    _assign_all((dx, dw, db), formulas.layer_norm_grad(_wide(g), _wide(x), weight, eps))


@composes("rms_norm")
def rms_norm(dst: NDArray, x: NDArray, weight: NDArray, rows: int, n: int, eps: float) -> None:
    dst.assign(formulas.rms_norm(_wide(x), weight, eps))


@composes("rms_norm_grad")
def rms_norm_grad(
    dx: NDArray, dw: NDArray, g: NDArray, x: NDArray, weight: NDArray, rows: int, n: int, eps: float
) -> None:
    _assign_all((dx, dw), formulas.rms_norm_grad(_wide(g), _wide(x), weight, eps))


@composes("moments")
def moments(mean: NDArray, var: NDArray, x: NDArray) -> None:
    _assign_all((mean, var), formulas.moments(_wide(x)))


@composes("batch_norm")
def batch_norm(
    dst: NDArray, x: NDArray, weight: NDArray, bias: NDArray, mean: NDArray, var: NDArray, eps: float
) -> None:
    dst.assign(formulas.batch_norm(_wide(x), weight, bias, _wide(mean), _wide(var), eps))


@composes("batch_norm_relu")
def batch_norm_relu(
    dst: NDArray, x: NDArray, weight: NDArray, bias: NDArray, mean: NDArray, var: NDArray, eps: float
) -> None:
    dst.assign(x.batch_norm(weight, bias, mean, var, eps)._unary(Unary.RELU))


@composes("batch_norm_grad")
def batch_norm_grad(
    dx: NDArray, dw: NDArray, db: NDArray, g: NDArray, x: NDArray, weight: NDArray, mean: NDArray, var: NDArray,
    eps: float, training: bool,
) -> None:  # fmt: skip
    found = formulas.batch_norm_grad(_wide(g), _wide(x), weight, _wide(mean), _wide(var), eps, training)
    _assign_all((dx, dw, db), found)


@composes("attention")
def attention(dst: NDArray, q: NDArray, k: NDArray, v: NDArray, causal: bool, scale: float) -> None:
    dst.assign(formulas.attention_weights(_wide(q), _wide(k), causal, scale) @ _wide(v))


@composes("attention_grad")
def attention_grad(
    dq: NDArray, dk: NDArray, dv: NDArray, g: NDArray, q: NDArray, k: NDArray, v: NDArray, y: NDArray,
    causal: bool, scale: float,
) -> None:  # fmt: skip
    _assign_all((dq, dk, dv), formulas.attention_grad(_wide(g), _wide(q), _wide(k), _wide(v), causal, scale))


@composes("argsort")
def argsort(dst: NDArray, x: NDArray, rows: int, n: int, descending: bool) -> None:
    """An element's place is the number of those that come before it; then each index is put in its place."""
    values = x.reshape(rows, n)
    a, b = values[:, :, None], values[:, None, :]
    before, same = (b > a) if descending else (b < a), a == b
    if x.dtype.is_float:  # a NaN is larger than all
        numbers_a, numbers_b = a.isnan().logical_not(), b.isnan().logical_not()
        beyond = numbers_a & b.isnan() if descending else a.isnan() & numbers_b
        before, same = before | beyond, same | (a.isnan() & b.isnan())
    earlier = x.like(np.tri(n, n, -1, dtype=bool))
    place = (before | (same & earlier)).astype(dst.dtype)._reduced(Reduce.SUM, 2, keepdims=False)
    order = dst.filled((rows, n), 0, dst.dtype)
    dst.assign(order.scatter_add(place, arange(n, dst.dtype, x.device).broadcast_to(rows, n), 1).reshape(dst.shape))


def _assign_all(targets: tuple[NDArray, ...], values: Any) -> None:
    for target, value in zip(targets, values, strict=True):
        target.assign(value)

"""The mathematics of fused functions, written over what NDArray and Tensor share.

On NDArrays they are the composed defaults of backends; on Tensors, the differentiable forms of fused gradients, from
which derivatives of higher order follow.
"""

from collections.abc import Iterator
from math import pi, sqrt
from typing import Any

import numpy as np

from needle.indexing import Step
from needle.shape import Shape


def exp_of_difference(x: Any, y: Any) -> tuple[Any]:
    return ((x - y).exp(),)


def squared_difference(x: Any, y: Any) -> tuple[Any]:
    return ((x - y).square(),)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    normalized, _ = _standardized(x, eps)
    return normalized * weight + bias


def _standardized(x: Any, eps: float) -> tuple[Any, Any]:
    """(x - mean) / sqrt(var + eps) over the last axis, and 1 / sqrt(var + eps)."""
    centered = x - x.mean(-1, keepdims=True)
    scale = (centered.square().mean(-1, keepdims=True) + eps).rsqrt()
    return centered * scale, scale


def layer_norm_grad(g: Any, x: Any, weight: Any, eps: float) -> tuple[Any, Any, Any]:
    """With h = g * weight and z the normalized x: dx = (h - mean(h) - z * mean(h * z)) / sqrt(var + eps)."""
    z, scale = _standardized(x, eps)
    h = g * weight
    dx = (h - h.mean(-1, keepdims=True) - z * (h * z).mean(-1, keepdims=True)) * scale
    rows = tuple(range(len(x.shape) - 1))
    return dx, (g * z).sum(rows), g.sum(rows)


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    return x * (x.square().mean(-1, keepdims=True) + eps).rsqrt() * weight


def rms_norm_grad(g: Any, x: Any, weight: Any, eps: float) -> tuple[Any, Any]:
    """With h = g * weight and z the normalized x: dx = (h - z * mean(h * z)) / rms."""
    scale = (x.square().mean(-1, keepdims=True) + eps).rsqrt()
    z, h = x * scale, g * weight
    dx = (h - z * (h * z).mean(-1, keepdims=True)) * scale
    return dx, (g * z).sum(tuple(range(len(x.shape) - 1)))


def moments(x: Any) -> tuple[Any, Any]:
    """Mean and biased variance per channel, the last axis."""
    rows = tuple(range(len(x.shape) - 1))
    mean = x.mean(rows)
    return mean, (x - mean).square().mean(rows)


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> Any:
    return (x - mean) * ((var + eps).rsqrt() * weight) + bias


def batch_norm_grad(
    g: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, training: bool
) -> tuple[Any, Any, Any]:
    """As in layer_norm_grad, over the rows; with fixed statistics dx is g * weight / sqrt(var + eps) alone."""
    rows = tuple(range(len(x.shape) - 1))
    scale = (var + eps).rsqrt()
    z = (x - mean) * scale
    dw, db = (g * z).sum(rows), g.sum(rows)
    if not training:
        return g * (scale * weight), dw, db
    n = 1
    for size in x.shape[:-1]:
        n *= size
    return (g - db * (1.0 / n) - z * (dw * (1.0 / n))) * (scale * weight), dw, db


def attention_weights(q: Any, k: Any, causal: bool, scale: float) -> Any:
    """softmax(q @ k.mT * scale), where causal hides from each row the columns behind it."""
    scores = (q @ k.mT) * scale
    if causal:
        rows, columns = scores.shape[-2:]
        visible = q.like(np.tri(rows, columns, dtype=bool))
        scores = visible.broadcast_to(scores.shape).where(scores, float("-inf"))
    return scores.softmax(-1)


def attention_grad(g: Any, q: Any, k: Any, v: Any, causal: bool, scale: float) -> tuple[Any, Any, Any]:
    """For P the weights: dv = P.T g; dS = P * (g v.T - rowsum(g v.T * P)); dq = dS k, dk = dS.T q, both scaled."""
    weights = attention_weights(q, k, causal, scale)
    scores = (g @ v.mT).softmax_grad(weights) * scale
    return scores @ k, scores.mT @ q, weights.mT @ g


def window_steps(shape: Shape, out: Shape, stride: Any, offset: Any) -> tuple[Step, ...]:
    """The steps that take, of an image (N, H, W, C), the element at one place in each of its windows."""
    n, _, _, c = shape
    return (0, 1, n), (offset[0], stride[0], out[1]), (offset[1], stride[1], out[2]), (0, 1, c)


def places(size: Any) -> Iterator[tuple[int, int]]:
    """The places in a window, row by row."""
    return ((i, j) for i in range(size[0]) for j in range(size[1]))


def inner_steps(shape: Shape, padding: Any) -> tuple[Step, ...]:
    """The steps that take the image of this shape out of one with padding around it."""
    n, h, w, c = shape
    return (0, 1, n), (padding[0], 1, h), (padding[1], 1, w), (0, 1, c)


def padded_shape(shape: Shape, padding: Any) -> Shape:
    return shape[0], shape[1] + 2 * padding[0], shape[2] + 2 * padding[1], shape[3]


def max_pool_grad(g: Any, x: Any, y: Any, size: Any, stride: Any, padding: Any) -> Any:
    """g at the first element of each window that is its largest; x and y are not differentiated."""
    shape = padded_shape(x.shape, padding)
    around = x.embedded(inner_steps(x.shape, padding), shape)
    inside = x.like(np.pad(np.ones(x.shape[1:3], bool), [(p, p) for p in padding])[None, :, :, None])
    inside = inside.broadcast_to(shape)
    total: Any = None
    taken: Any = None
    for place in places(size):
        steps = window_steps(shape, y.shape, stride, place)
        hit = around.sliced(steps).equal(y).logical_and(inside.sliced(steps))
        first = hit if taken is None else hit.logical_and(taken.logical_not())
        taken = hit if taken is None else taken.logical_or(hit)
        share = first.where(g, 0.0).embedded(steps, shape)
        total = share if total is None else total + share
    return total.sliced(inner_steps(x.shape, padding))


def mean_pool_grad(g: Any, shape: Shape, size: Any, stride: Any, padding: Any) -> Any:
    """An equal share of g for every element of each window."""
    wide = padded_shape(shape, padding)
    share = g * (1.0 / (size[0] * size[1]))
    total: Any = None
    for place in places(size):
        part = share.embedded(window_steps(wide, g.shape, stride, place), wide)
        total = part if total is None else total + part
    return total.sliced(inner_steps(shape, padding))


# Of single elements, for `one_pass`: hence tuples, and None for what is left out.


def gelu(x: Any) -> tuple[Any]:
    """x * P(N(0, 1) <= x)."""
    return (x * ((x * sqrt(0.5)).erf() + 1.0) * 0.5,)


def gelu_grad(g: Any, x: Any) -> tuple[Any]:
    """P(N(0, 1) <= x) + x times its density."""
    share = ((x * sqrt(0.5)).erf() + 1.0) * 0.5
    return (g * (share + x * (x.square() * -0.5).exp() * (1 / sqrt(2 * pi))),)


def gelu_tanh(x: Any) -> tuple[Any]:
    """x * (1 + tanh(z)) / 2 with z = sqrt(2 / pi) * (x + 0.044715 x**3)."""
    return (x * (_bent(x).tanh() + 1.0) * 0.5,)


def gelu_tanh_grad(g: Any, x: Any) -> tuple[Any]:
    t = _bent(x).tanh()
    slope = (x.square() * (3 * 0.044715) + 1.0) * sqrt(2 / pi)  # of z
    return (g * ((t + 1.0) * 0.5 + x * (1.0 - t * t) * slope * 0.5),)


def _bent(x: Any) -> Any:
    return (x + x.square() * x * 0.044715) * sqrt(2 / pi)


def silu(x: Any) -> tuple[Any]:
    """x * sigmoid(x)."""
    return (x * x.sigmoid(),)


def silu_grad(g: Any, x: Any) -> tuple[Any]:
    s = x.sigmoid()
    return (g * (s + x * (s * (1.0 - s))),)


def lstm_step(*sums_and_cell: Any) -> tuple[Any, ...]:
    """h', c' and the gates i, f, g, o, from what the inputs and the state give to each gate, and c."""
    *sums, c = sums_and_cell
    i, f, g, o = (a + b for a, b in zip(sums[:4], sums[4:], strict=True))
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    return o * c.tanh(), c, i, f, g, o


def lstm_step_grad(dh: Any, back: Any, dc: Any, i: Any, f: Any, g: Any, o: Any, c: Any, before: Any) -> tuple[Any, ...]:
    """The cotangents of the gates' sums and of the cell before, from that of h (its result's and its successor's) and
    of c; any of the three may be None, but not all."""
    t = c.tanh()
    dh = dh if back is None else back if dh is None else dh + back
    through = None if dh is None else dh * (o * (1.0 - t * t))
    dc = dc if through is None else through if dc is None else dc + through
    do = o * 0.0 if dh is None else dh * (t * (o * (1.0 - o)))
    return dc * (g * (i * (1.0 - i))), dc * (before * (f * (1.0 - f))), dc * (i * (1.0 - g * g)), do, dc * f


def lstm(inputs: Any, h: Any, c: Any, weight: Any, bias: Any) -> list[list[Any]]:
    """h, c and the gates i, f, g, o of each time: (T, B, 4H), ... -> six lists of T (B, H)."""
    n, kept = weight.shape[0], []
    for t in range(inputs.shape[0]):
        sums = inputs[t], h @ weight + bias
        kept.append(lstm_step(*[x[:, i * n : (i + 1) * n] for x in sums for i in range(4)], c))
        h, c = kept[-1][:2]
    return [list(values) for values in zip(*kept, strict=True)]


def lstm_grad(dh: Any, dc: Any, inputs: Any, h: Any, c: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
    """The gradients of all inputs, from those of h at all times and of the last c, either of which may be None."""
    hidden, cells, *gates = lstm(inputs, h, c, weight, bias)
    steps, back = len(hidden), None
    sums: list[Any] = []
    for t in reversed(range(steps)):
        wanted = None if dh is None else dh[t]
        i, f, g, o = (gate[t] for gate in gates)
        *slopes, dc = lstm_step_grad(wanted, back, dc, i, f, g, o, cells[t], cells[t - 1] if t else c)
        sums.insert(0, slopes[0].concatenated(slopes[1:], 1))
        back = sums[0] @ weight.mT
    rows, earlier = sums[0].concatenated(sums[1:], 0), h.concatenated(hidden[:-1], 0)
    return rows.reshape(steps, *sums[0].shape), back, dc, earlier.mT @ rows, rows.sum(0)

"""Layers, losses and optimizer steps as tensor expressions."""

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import te, tirx, topi

from needle.kinds import Pool, Reduce
from needle_tvm.te_ops import REDUCE, Tensor, const


def conv2d(stride: Any, padding: Any, dilation: Any, groups: int) -> Callable[[Tensor, Tensor], Tensor]:
    """(N, H, W, C) and (KH, KW, C / groups, O)."""

    def expression(x: Tensor, w: Tensor) -> Tensor:
        padded = topi.nn.pad(x, [0, *padding, 0], [0, *padding, 0], name="T_pad") if any(padding) else x
        height, width = ((int(padded.shape[1 + i]) - dilation[i] * (int(w.shape[i]) - 1) - 1) // stride[i] + 1
                         for i in range(2))  # fmt: skip
        rows, columns = te.reduce_axis((0, w.shape[0]), name="ky"), te.reduce_axis((0, w.shape[1]), name="kx")
        channel = te.reduce_axis((0, w.shape[2]), name="c")
        per_group = int(w.shape[3]) // groups

        def element(image: Any, i: Any, j: Any, o: Any) -> Any:
            first = 0 if groups == 1 else o // per_group * w.shape[2]
            pixel = padded(
                image, i * stride[0] + rows * dilation[0], j * stride[1] + columns * dilation[1], first + channel
            )
            return te.sum(pixel * w(rows, columns, channel, o), axis=[rows, columns, channel])

        return te.compute((x.shape[0], height, width, w.shape[3]), element, name="T_conv2d")

    return expression


def pool2d(kind: Pool, size: Any, stride: Any, padding: Any) -> Callable[[Tensor], Tensor]:
    """Windows of (N, H, W, C)."""

    def expression(x: Tensor) -> Tensor:
        outside = const(float("-inf") if kind is Pool.MAX else 0.0, x)
        padded = topi.nn.pad(x, [0, *padding, 0], [0, *padding, 0], outside, name="T_pad") if any(padding) else x
        height, width = ((int(padded.shape[1 + i]) - size[i]) // stride[i] + 1 for i in range(2))
        rows, columns = te.reduce_axis((0, size[0]), name="ky"), te.reduce_axis((0, size[1]), name="kx")
        fold = REDUCE[Reduce.MAX if kind is Pool.MAX else Reduce.SUM]
        found = te.compute(
            (x.shape[0], height, width, x.shape[3]),
            lambda n, i, j, c: fold(padded(n, i * stride[0] + rows, j * stride[1] + columns, c), axis=[rows, columns]),
            name="T_pool",
        )
        if kind is Pool.MAX:
            return found
        share = const(1.0 / (size[0] * size[1]), x)
        return te.compute(found.shape, lambda *at: found(*at) * share, name="T_mean")

    return expression


def batch_norm(eps: float) -> Callable[..., Tensor]:
    """(..., C) by given moments."""

    def expression(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        def element(*at: Any) -> Any:
            c = at[-1]
            scale = weight(c) / tirx.sqrt(var(c) + const(eps, x))
            return (x(*at) - mean(c)) * scale + bias(c)

        return te.compute(x.shape, element, name="T_batch_norm")

    return expression


def rows_normalized(eps: float, n: int, centred: bool) -> Callable[..., Tensor]:
    """layer_norm, or rms_norm without a mean, of (rows, n)."""

    def expression(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        share = const(1.0 / n, x)
        if centred:
            k = te.reduce_axis((0, n), name="k")
            total = te.compute((x.shape[0],), lambda r: te.sum(x(r, k), axis=k), name="T_total")
            shifted = te.compute(x.shape, lambda r, i: x(r, i) - total(r) * share, name="T_centred")
        else:
            shifted = x
        j = te.reduce_axis((0, n), name="j")
        squares = te.compute((x.shape[0],), lambda r: te.sum(shifted(r, j) * shifted(r, j), axis=j), name="T_squares")

        def element(r: Any, i: Any) -> Any:
            value = shifted(r, i) / tirx.sqrt(squares(r) * share + const(eps, x)) * weight(i)
            return value + bias[0](i) if bias else value

        return te.compute(x.shape, element, name="T_normalized")

    return expression


def softmax(x: Tensor) -> Tensor:
    return topi.nn.softmax(x, axis=-1)


def log_softmax(x: Tensor) -> Tensor:
    return topi.nn.log_softmax(x, axis=-1)


def softmax_grad(g: Tensor, y: Tensor) -> Tensor:
    """y * (g - sum(g * y)) of (rows, n)."""
    k = te.reduce_axis((0, y.shape[1]), name="k")
    total = te.compute((y.shape[0],), lambda r: te.sum(g(r, k) * y(r, k), axis=k), name="T_total")
    return te.compute(y.shape, lambda r, i: y(r, i) * (g(r, i) - total(r)), name="T_softmax_grad")


def log_softmax_grad(g: Tensor, y: Tensor) -> Tensor:
    """g - exp(y) * sum(g) of (rows, n)."""
    k = te.reduce_axis((0, y.shape[1]), name="k")
    total = te.compute((y.shape[0],), lambda r: te.sum(g(r, k), axis=k), name="T_total")
    return te.compute(y.shape, lambda r, i: g(r, i) - tirx.exp(y(r, i)) * total(r), name="T_log_softmax_grad")


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(rows, n) and (rows,) -> (rows,)."""
    y = topi.nn.log_softmax(logits, axis=-1)
    return te.compute((logits.shape[0],), lambda r: -y(r, labels(r)), name="T_cross_entropy")


def cross_entropy_grad(g: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """g * (softmax(logits) - one_hot(labels)); g has a number for each row, or one."""
    y = topi.nn.softmax(logits, axis=-1)

    def element(r: Any, i: Any) -> Any:
        hit = tirx.EQ(labels(r), i.astype(str(labels.dtype)))
        each = g(*[0] * len(g.shape)) if prod(map(int, g.shape)) == 1 else g(r)
        return each * (y(r, i) - tirx.Select(hit, const(1, logits), const(0, logits)))

    return te.compute(logits.shape, element, name="T_cross_entropy_grad")


def sgd_step(nesterov: bool) -> Callable[..., Any]:
    """The parameter after a step, and its velocity if there is one; each of the four numbers is a tensor of one."""

    def expression(
        p: Tensor, g: Tensor, lr: Tensor, momentum: Tensor, dampening: Tensor, decay: Tensor, *velocity: Tensor
    ) -> Any:
        decayed = te.compute(p.shape, lambda *at: g(*at) + decay(0) * p(*at), name="T_decayed")
        if not velocity:
            return te.compute(p.shape, lambda *at: p(*at) - lr(0) * decayed(*at), name="T_stepped")
        share = const(1, p) - dampening(0)
        v = te.compute(p.shape, lambda *at: momentum(0) * velocity[0](*at) + share * decayed(*at), name="T_velocity")
        further = te.compute(p.shape, lambda *at: decayed(*at) + momentum(0) * v(*at), name="T_way")
        way = further if nesterov else v
        return [te.compute(p.shape, lambda *at: p(*at) - lr(0) * way(*at), name="T_stepped"), v]

    return expression


def scaled(scale: float, causal: bool) -> Callable[[Tensor], Tensor]:
    """Scores (B, T, S) times a number; causal: row i sees columns 0 to i."""

    def expression(x: Tensor) -> Tensor:
        number, never = const(scale, x), const(float("-inf"), x)

        def element(b: Any, i: Any, j: Any) -> Any:
            value = x(b, i, j) * number
            return tirx.Select(j <= i, value, never) if causal else value

        return te.compute(x.shape, element, name="T_scores")

    return expression

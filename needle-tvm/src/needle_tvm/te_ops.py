"""The primitives as tensor expressions, one function each: what `emit_te` turns into a function of loops."""

from collections.abc import Callable
from math import prod
from typing import Any

from needle.kinds import Binary, Pool, Reduce, Unary
from tvm import te, tirx, topi

Tensor = Any  # te.Tensor


def _unary(f: Callable[[Any], Any], name: str) -> Callable[[Tensor], Tensor]:
    def expression(x: Tensor) -> Tensor:
        return te.compute(x.shape, lambda *at: f(x(*at)), name=f"T_{name}")

    return expression


def _binary(f: Callable[[Any, Any], Any], name: str) -> Callable[[Tensor, Tensor], Tensor]:
    def expression(a: Tensor, b: Tensor) -> Tensor:
        shape = a.shape if prod(map(int, a.shape)) >= prod(map(int, b.shape)) else b.shape
        return te.compute(shape, lambda *at: f(_at(a, at), _at(b, at)), name=f"T_{name}")

    return expression


def _at(x: Tensor, at: tuple[Any, ...]) -> Any:
    """An element of an operand, which may be one for all."""
    return x(*[0] * len(x.shape)) if prod(map(int, x.shape)) == 1 else x(*at)


def _one(x: Any) -> Any:
    return tirx.const(1, x.dtype)


def _zero(x: Any) -> Any:
    return tirx.const(0, x.dtype)


UNARY: dict[Unary, Callable[[Any], Any]] = {
    Unary.NEG: lambda x: -x,
    Unary.ABS: tirx.abs,
    Unary.SQUARE: lambda x: x * x,
    Unary.SIGN: lambda x: tirx.Select(x > 0, _one(x), tirx.Select(x < 0, -_one(x), _zero(x))),
    Unary.RELU: lambda x: tirx.max(x, _zero(x)),
    Unary.EXP: tirx.exp,
    Unary.LOG: tirx.log,
    Unary.LOG1P: tirx.log1p,
    Unary.SQRT: tirx.sqrt,
    Unary.RSQRT: lambda x: _one(x) / tirx.sqrt(x),
    Unary.RECIPROCAL: lambda x: _one(x) / x,
    Unary.SIN: tirx.sin,
    Unary.COS: tirx.cos,
    Unary.TANH: tirx.tanh,
    Unary.SIGMOID: tirx.sigmoid,
    Unary.ERF: tirx.erf,
    Unary.FLOOR: tirx.floor,
    Unary.CEIL: tirx.ceil,
    Unary.TRUNC: tirx.trunc,
    Unary.LOGICAL_NOT: lambda x: tirx.Not(x),
}

BINARY: dict[Binary, Callable[[Any, Any], Any]] = {
    Binary.ADD: lambda a, b: a + b,
    Binary.SUB: lambda a, b: a - b,
    Binary.MUL: lambda a, b: a * b,
    Binary.DIV: lambda a, b: a / b,
    Binary.POW: tirx.pow,
    Binary.MAXIMUM: tirx.max,
    Binary.MINIMUM: tirx.min,
    Binary.RELU_GRAD: lambda a, b: tirx.Select(b > 0, a, _zero(a)),
    Binary.EQUAL: lambda a, b: a == b,
    Binary.NOT_EQUAL: lambda a, b: a != b,
    Binary.LESS: lambda a, b: a < b,
    Binary.LESS_EQUAL: lambda a, b: a <= b,
    Binary.GREATER: lambda a, b: a > b,
    Binary.GREATER_EQUAL: lambda a, b: a >= b,
    Binary.LOGICAL_AND: tirx.And,
    Binary.LOGICAL_OR: tirx.Or,
}

REDUCE = {Reduce.SUM: te.sum, Reduce.MAX: te.max, Reduce.MIN: te.min}
NAMES = {Binary.ADD: "ewise_add", Binary.MUL: "ewise_mul", Binary.DIV: "ewise_div", Binary.POW: "ewise_pow"}


def unary(kind: Unary) -> tuple[str, Callable[[Tensor], Tensor]]:
    return kind.op, _unary(UNARY[kind], kind.op)


def binary(kind: Binary) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    return NAMES.get(kind, kind.op), _binary(BINARY[kind], kind.op)


def binary_scalar(kind: Binary, scalar: Any, swapped: bool) -> tuple[str, Callable[[Tensor], Tensor]]:
    def f(x: Any) -> Any:
        number = tirx.const(scalar, x.dtype)
        return BINARY[kind](number, x) if swapped else BINARY[kind](x, number)

    return f"{kind.op}_scalar", _unary(f, f"{kind.op}_scalar")


def cast(dtype: str) -> Callable[[Tensor], Tensor]:
    return _unary(lambda x: x != _zero(x) if dtype == "bool" else x.astype(dtype), "cast")


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    shape = max((condition, a, b), key=lambda x: prod(map(int, x.shape))).shape
    return te.compute(
        shape, lambda *at: tirx.Select(_at(condition, at), _at(a, at), _at(b, at)), name="T_where"
    )


def reduce(kind: Reduce, rows: int) -> Callable[[Tensor], Tensor]:
    """Over all axes behind the leading ones, which count `rows`."""

    def expression(x: Tensor) -> Tensor:
        sizes = [int(n) for n in x.shape]
        kept = next(i for i in range(len(sizes) + 1) if prod(sizes[:i]) == rows)
        axes = [te.reduce_axis((0, n), name=f"k{i}") for i, n in enumerate(sizes[kept:])]
        if not axes:
            return te.compute(sizes, lambda *at: x(*at), name=f"T_{kind.op}")
        shape = sizes[:kept] or [1]
        return te.compute(
            shape, lambda *at: REDUCE[kind](x(*at[:kept], *axes), axis=axes), name=f"T_{kind.op}"
        )

    return expression


def matmul(transpose_a: bool, transpose_b: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Matrices, or batches of them, of which one may serve all."""

    def expression(a: Tensor, b: Tensor) -> Tensor:
        m, k = (a.shape[-1], a.shape[-2]) if transpose_a else (a.shape[-2], a.shape[-1])
        n = b.shape[-2] if transpose_b else b.shape[-1]
        inner = te.reduce_axis((0, k), name="k")

        def element(*at: Any) -> Any:
            i, j = at[-2:]
            left = [0] * (len(a.shape) - 2) if len(a.shape) == 2 or int(a.shape[0]) == 1 else list(at[:1])
            right = [0] * (len(b.shape) - 2) if len(b.shape) == 2 or int(b.shape[0]) == 1 else list(at[:1])
            x = a(*left, inner, i) if transpose_a else a(*left, i, inner)
            y = b(*right, j, inner) if transpose_b else b(*right, inner, j)
            return te.sum(x * y, axis=inner)

        batch = [] if len(a.shape) == 2 else [max(int(a.shape[0]), int(b.shape[0]))]
        return te.compute((*batch, m, n), element, name="T_matmul")

    return expression


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
        outside = tirx.const(float("-inf") if kind is Pool.MAX else 0.0, x.dtype)
        padded = topi.nn.pad(x, [0, *padding, 0], [0, *padding, 0], outside, name="T_pad") if any(padding) else x
        height, width = ((int(padded.shape[1 + i]) - size[i]) // stride[i] + 1 for i in range(2))
        rows, columns = te.reduce_axis((0, size[0]), name="ky"), te.reduce_axis((0, size[1]), name="kx")
        fold = te.max if kind is Pool.MAX else te.sum
        found = te.compute(
            (x.shape[0], height, width, x.shape[3]),
            lambda n, i, j, c: fold(padded(n, i * stride[0] + rows, j * stride[1] + columns, c), axis=[rows, columns]),
            name="T_pool",
        )
        if kind is Pool.MAX:
            return found
        share = tirx.const(1.0 / (size[0] * size[1]), x.dtype)
        return te.compute(found.shape, lambda *at: found(*at) * share, name="T_mean")

    return expression


def batch_norm(eps: float) -> Callable[..., Tensor]:
    """(..., C) by given moments."""

    def expression(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        def element(*at: Any) -> Any:
            c = at[-1]
            scale = weight(c) / tirx.sqrt(var(c) + tirx.const(eps, x.dtype))
            return (x(*at) - mean(c)) * scale + bias(c)

        return te.compute(x.shape, element, name="T_batch_norm")

    return expression


def rows_normalized(eps: float, n: int, centred: bool) -> Callable[..., Tensor]:
    """layer_norm, or rms_norm without a mean, of (rows, n)."""

    def expression(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        share = tirx.const(1.0 / n, x.dtype)
        if centred:
            k = te.reduce_axis((0, n), name="k")
            total = te.compute((x.shape[0],), lambda r: te.sum(x(r, k), axis=k), name="T_total")
            shifted = te.compute(x.shape, lambda r, i: x(r, i) - total(r) * share, name="T_centred")
        else:
            shifted = x
        j = te.reduce_axis((0, n), name="j")
        squares = te.compute((x.shape[0],), lambda r: te.sum(shifted(r, j) * shifted(r, j), axis=j), name="T_squares")

        def element(r: Any, i: Any) -> Any:
            value = shifted(r, i) / tirx.sqrt(squares(r) * share + tirx.const(eps, x.dtype)) * weight(i)
            return value + bias[0](i) if bias else value

        return te.compute(x.shape, element, name="T_normalized")

    return expression


def gather(x: Tensor, index: Tensor) -> Tensor:
    """x (outer, n, inner) at index (outer, m, inner) along the middle axis."""
    return te.compute(index.shape, lambda i, j, k: x(i, index(i, j, k), k), name="T_gather")


def softmax(x: Tensor) -> Tensor:
    return topi.nn.softmax(x, axis=-1)


def log_softmax(x: Tensor) -> Tensor:
    return topi.nn.log_softmax(x, axis=-1)




def scaled(scale: float, causal: bool) -> Callable[[Tensor], Tensor]:
    """Scores (B, T, S) times a number; causal: row i sees columns 0 to i."""

    def expression(x: Tensor) -> Tensor:
        number, never = tirx.const(scale, x.dtype), tirx.const(float("-inf"), x.dtype)

        def element(b: Any, i: Any, j: Any) -> Any:
            value = x(b, i, j) * number
            return tirx.Select(j <= i, value, never) if causal else value

        return te.compute(x.shape, element, name="T_scores")

    return expression

"""Elementwise primitives, reductions and products as tensor expressions: what `emit_te` turns into functions of loops.

A NaN wins maxima, as it does everywhere in Needle. TVM's `max(a, b)` is `a > b ? a : b`, so the order of its operands
matters: of a NaN in the second one it gives the NaN.
"""

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import te, tirx

from needle.kinds import Binary, Reduce, Unary

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


def const(value: Any, like: Any) -> Any:
    """A number of the type that a tensor or an element of one has."""
    return tirx.const(value, _dtype(like))


def _dtype(x: Any) -> str:
    return str(x.dtype if hasattr(x, "dtype") else x.ty.dtype)  # a tensor has the one, an element of it the other


def _one(x: Any) -> Any:
    return const(1, x)


def _zero(x: Any) -> Any:
    return const(0, x)


def _expm1(x: Any) -> Any:
    """exp(x) - 1, near 0 by Kahan's formula, which keeps the digits that the subtraction would lose."""
    u = tirx.exp(x)
    near = tirx.Select(tirx.EQ(u, _one(x)), x, (u - _one(x)) * x / tirx.log(u))
    return tirx.Select(tirx.abs(x) < const(0.5, x), near, u - _one(x))


def _log1p(x: Any) -> Any:
    """log(1 + x), likewise."""
    u = x + _one(x)
    near = tirx.Select(tirx.EQ(u, _one(x)), x, tirx.log(u) * x / (u - _one(x)))
    return tirx.Select(tirx.abs(x) < const(0.5, x), near, tirx.log(u))


def _softplus(x: Any) -> Any:
    return tirx.max(_zero(x), x) + _log1p(tirx.exp(-tirx.abs(x)))


def _sigmoid(x: Any) -> Any:
    return _one(x) / (_one(x) + tirx.exp(-x))


UNARY: dict[Unary, Callable[[Any], Any]] = {
    Unary.NEG: lambda x: -x,
    Unary.ABS: tirx.abs,
    Unary.SQUARE: lambda x: x * x,
    Unary.SIGN: lambda x: tirx.Select(x > _zero(x), _one(x), tirx.Select(x < _zero(x), -_one(x), x)),
    Unary.RELU: lambda x: tirx.max(_zero(x), x),
    Unary.EXP: tirx.exp,
    Unary.EXPM1: _expm1,
    Unary.LOG: tirx.log,
    Unary.LOG1P: _log1p,
    Unary.SQRT: tirx.sqrt,
    Unary.RSQRT: lambda x: _one(x) / tirx.sqrt(x),
    Unary.RECIPROCAL: lambda x: _one(x) / x,
    Unary.SIN: tirx.sin,
    Unary.COS: tirx.cos,
    Unary.TANH: tirx.tanh,
    Unary.SIGMOID: _sigmoid,
    Unary.ERF: tirx.erf,
    Unary.FLOOR: tirx.floor,
    Unary.CEIL: tirx.ceil,
    Unary.ROUND: tirx.nearbyint,
    Unary.TRUNC: tirx.trunc,
    Unary.LOGICAL_NOT: tirx.Not,
    Unary.BITWISE_NOT: tirx.bitwise_not,
    Unary.ISNAN: tirx.isnan,
    Unary.ISINF: tirx.isinf,
    Unary.ISFINITE: tirx.isfinite,
    Unary.SOFTPLUS: _softplus,
}


def is_float(x: Any) -> bool:
    return _dtype(x).startswith("float")


def _larger(a: Any, b: Any) -> Any:
    return tirx.Select(tirx.isnan(a), a, tirx.max(a, b)) if is_float(a) else tirx.max(a, b)


def _smaller(a: Any, b: Any) -> Any:
    return tirx.Select(tirx.isnan(a), a, tirx.min(a, b)) if is_float(a) else tirx.min(a, b)


def _equal(a: Any, b: Any) -> Any:
    return tirx.Not(_differ(a, b)) if _dtype(a) == "bool" else tirx.EQ(a, b)


def _differ(a: Any, b: Any) -> Any:
    """TVM's `!=` of a NaN is false, and code is not made of it for bools."""
    if _dtype(a) == "bool":
        return tirx.And(tirx.Or(a, b), tirx.Not(tirx.And(a, b)))
    unordered = tirx.Or(tirx.isnan(a), tirx.isnan(b)) if is_float(a) else tirx.const(False)
    return tirx.Or(unordered, tirx.NE(a, b))


def _floor_divide(a: Any, b: Any) -> Any:
    return tirx.floor(a / b) if is_float(a) else tirx.floordiv(a, b)


BINARY: dict[Binary, Callable[[Any, Any], Any]] = {
    Binary.ADD: lambda a, b: a + b,
    Binary.SUB: lambda a, b: a - b,
    Binary.MUL: lambda a, b: a * b,
    Binary.DIV: lambda a, b: a / b,
    Binary.POW: tirx.pow,
    Binary.MAXIMUM: _larger,
    Binary.MINIMUM: _smaller,
    Binary.FLOOR_DIVIDE: _floor_divide,
    Binary.ATAN2: tirx.atan2,
    Binary.RELU_GRAD: lambda a, b: tirx.Select(b > _zero(b), a, _zero(a)),
    Binary.EQUAL: _equal,
    Binary.NOT_EQUAL: _differ,
    Binary.LESS: lambda a, b: a < b,
    Binary.LESS_EQUAL: lambda a, b: a <= b,
    Binary.GREATER: lambda a, b: a > b,
    Binary.GREATER_EQUAL: lambda a, b: a >= b,
    Binary.LOGICAL_AND: tirx.And,
    Binary.LOGICAL_OR: tirx.Or,
    Binary.LOGICAL_XOR: _differ,
    Binary.BITWISE_AND: tirx.bitwise_and,
    Binary.BITWISE_OR: tirx.bitwise_or,
    Binary.BITWISE_XOR: tirx.bitwise_xor,
    Binary.SHIFT_LEFT: tirx.shift_left,
    Binary.SHIFT_RIGHT: tirx.shift_right,
}

_product = te.comm_reducer(lambda a, b: a * b, lambda dtype: tirx.const(1, dtype), name="prod")


def lowest(dtype: str) -> Any:
    """What every number is larger than."""
    return tirx.const(float("-inf"), dtype) if dtype.startswith("float") else tirx.min_value(dtype)


def highest(dtype: str) -> Any:
    return tirx.const(float("inf"), dtype) if dtype.startswith("float") else tirx.max_value(dtype)


_largest = te.comm_reducer(_larger, lambda dtype: lowest(str(dtype)), name="max")
_smallest = te.comm_reducer(_smaller, lambda dtype: highest(str(dtype)), name="min")
REDUCE = {Reduce.SUM: te.sum, Reduce.PROD: _product, Reduce.MAX: _largest, Reduce.MIN: _smallest}
_EMPTY = {
    Reduce.SUM: lambda dtype: tirx.const(0, dtype), Reduce.PROD: lambda dtype: tirx.const(1, dtype),
    Reduce.MAX: lowest, Reduce.MIN: highest,
}  # fmt: skip
NAMES = {Binary.ADD: "ewise_add", Binary.MUL: "ewise_mul", Binary.DIV: "ewise_div", Binary.POW: "ewise_pow"}


def unary(kind: Unary) -> tuple[str, Callable[[Tensor], Tensor]]:
    return kind.op, _unary(UNARY[kind], kind.op)


def binary(kind: Binary) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    return NAMES.get(kind, kind.op), _binary(BINARY[kind], kind.op)


def binary_scalar(kind: Binary, scalar: Any, swapped: bool) -> tuple[str, Callable[..., Tensor]]:
    """With a number that is known now, or, as `scalar` None, with one in a second tensor."""

    def expression(x: Tensor, *number: Tensor) -> Tensor:
        def f(value: Any) -> Any:
            other = number[0](0).astype(str(x.dtype)) if number else const(scalar, x)
            return BINARY[kind](other, value) if swapped else BINARY[kind](value, other)

        return _unary(f, f"{kind.op}_scalar")(x)

    return f"{kind.op}_scalar", expression


def cast(dtype: str) -> Callable[[Tensor], Tensor]:
    return _unary(lambda x: _differ(x, _zero(x)) if dtype == "bool" else x.astype(dtype), "cast")


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    shape = max((condition, a, b), key=lambda x: prod(map(int, x.shape))).shape
    return te.compute(shape, lambda *at: tirx.Select(_at(condition, at), _at(a, at), _at(b, at)), name="T_where")


def reduce(kind: Reduce) -> Callable[[Tensor], Tensor]:
    """(rows, n) -> (rows,)."""

    def expression(x: Tensor) -> Tensor:
        if int(x.shape[1]) == 0:
            return te.compute(x.shape[:1], lambda r: _EMPTY[kind](str(x.dtype)), name=f"T_{kind.op}")
        k = te.reduce_axis((0, x.shape[1]), name="k")
        return te.compute(x.shape[:1], lambda r: REDUCE[kind](x(r, k), axis=k), name=f"T_{kind.op}")

    return expression


def argmax(dtype: str) -> Callable[[Tensor], Tensor]:
    """(rows, n) -> (rows,): the first position of the largest; a NaN is larger than all."""

    def later(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
        over = b[1] > a[1]
        if is_float(a[1]):
            over = tirx.And(tirx.Not(tirx.isnan(a[1])), tirx.Or(over, tirx.isnan(b[1])))
        beats = tirx.Or(a[0] < 0, tirx.Or(over, tirx.And(tirx.EQ(a[1], b[1]), tirx.And(b[0] >= 0, b[0] < a[0]))))
        return tirx.Select(beats, b[0], a[0]), tirx.Select(beats, b[1], a[1])

    fold = te.comm_reducer(later, lambda index, value: (tirx.const(-1, index), lowest(str(value))), name="argmax")

    def expression(x: Tensor) -> Tensor:
        k = te.reduce_axis((0, x.shape[1]), name="k")
        found = te.compute(x.shape[:1], lambda r: fold((k.var.astype(dtype), x(r, k)), axis=k), name="T_argmax")
        return te.compute(x.shape[:1], lambda r: found[0](r), name="T_index")

    return expression


def gather(x: Tensor, index: Tensor) -> Tensor:
    """x (outer, n, inner) at index (outer, m, inner) along the middle axis."""
    return te.compute(index.shape, lambda i, j, k: x(i, index(i, j, k), k), name="T_gather")


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

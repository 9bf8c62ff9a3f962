"""What each primitive becomes: one rule per method of the backend protocol, by its name."""

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import relax

from needle.kinds import Binary, Pool, Reduce, Unary
from needle.live import is_live
from needle.program.graph import Operand
from needle_tvm import te_layers, te_ops
from needle_tvm.translate import Translator

Rule = Callable[..., None]
RULES: dict[str, Rule] = {}

# Relax's ops that do what Needle's do, NaN included.
RELAX_UNARY = {
    Unary.RELU: relax.op.nn.relu, Unary.EXP: relax.op.exp, Unary.LOG: relax.op.log, Unary.SQRT: relax.op.sqrt,
    Unary.TANH: relax.op.tanh, Unary.SIGMOID: relax.op.sigmoid, Unary.NEG: relax.op.negative, Unary.ABS: relax.op.abs,
    Unary.ERF: relax.op.erf, Unary.SIN: relax.op.sin, Unary.COS: relax.op.cos, Unary.FLOOR: relax.op.floor,
    Unary.CEIL: relax.op.ceil, Unary.SQUARE: relax.op.square,
}  # fmt: skip
RELAX_BINARY = {
    Binary.ADD: relax.op.add, Binary.SUB: relax.op.subtract, Binary.MUL: relax.op.multiply, Binary.DIV: relax.op.divide,
    Binary.LESS: relax.op.less, Binary.GREATER: relax.op.greater,
}  # fmt: skip


def rule(op: str) -> Callable[[Rule], Rule]:
    def known(function: Rule) -> Rule:
        RULES[op] = function
        return function

    return known


def _known(t: Translator, kind: Any, table: dict[Any, Any]) -> None:
    if kind not in table:
        raise t.unsupported("is an expression of TVM's")


# Elementwise functions and reductions.


@rule("unary")
def unary(t: Translator, kind: Unary, dst: Operand, x: Operand) -> None:
    _known(t, kind, te_ops.UNARY)
    t.write(dst, _unary(t, kind, t.read(x)), x.layout.shape)


def _unary(t: Translator, kind: Unary, value: Any) -> Any:
    if t.style == "relax" and kind in RELAX_UNARY:
        return t.emit(RELAX_UNARY[kind](value))
    return t.te(*te_ops.unary(kind), value)


@rule("binary")
def binary(t: Translator, kind: Binary, dst: Operand, a: Operand, b: Operand) -> None:
    _known(t, kind, te_ops.BINARY)
    shape = dst.layout.shape
    t.write(dst, _binary(t, kind, *(t.read(x, None if x.layout.size == 1 else shape) for x in (a, b))))


def _binary(t: Translator, kind: Binary, left: Any, right: Any) -> Any:
    if t.style == "relax" and kind in RELAX_BINARY:
        return t.emit(RELAX_BINARY[kind](left, right))
    return t.te(*te_ops.binary(kind), left, right)


@rule("binary_scalar")
def binary_scalar(t: Translator, kind: Binary, dst: Operand, x: Operand, scalar: Any, swapped: bool) -> None:
    _known(t, kind, te_ops.BINARY)
    operands = [t.read(x), t.number(scalar)] if is_live(scalar) else [t.read(x)]
    t.write(dst, t.te(*te_ops.binary_scalar(kind, scalar, swapped), *operands), x.layout.shape)


@rule("where")
def where(t: Translator, dst: Operand, condition: Operand, a: Operand, b: Operand) -> None:
    shape = dst.layout.shape
    operands = [t.read(x, None if x.layout.size == 1 else shape) for x in (condition, a, b)]
    t.write(dst, t.te("where", te_ops.where, *operands))


@rule("cast")
def cast(t: Translator, dst: Operand, x: Operand) -> None:
    t.write(dst, t.te("cast", te_ops.cast(str(dst.dtype)), t.read(x)), x.layout.shape)


@rule("copy")
def copy(t: Translator, dst: Operand, x: Operand) -> None:
    t.write(dst, t.read(x))


@rule("reduce")
def reduce(t: Translator, kind: Reduce, dst: Operand, x: Operand, rows: int, n: int) -> None:
    t.write(dst, t.te(kind.op, te_ops.reduce(kind), t.read(x, (rows, n))), (rows,))


@rule("argmax")
def argmax(t: Translator, dst: Operand, x: Operand, rows: int, n: int) -> None:
    t.write(dst, t.te("argmax", te_ops.argmax(str(dst.dtype)), t.read(x, (rows, n))), (rows,))


@rule("gather")
def gather(t: Translator, dst: Operand, x: Operand, index: Operand) -> None:
    t.write(dst, t.te("gather", te_ops.gather, t.read(x), t.read(index)))


# Products.


@rule("matmul")
def matmul(t: Translator, dst: Operand, a: Operand, b: Operand, transpose_a: bool, transpose_b: bool) -> None:
    shape = dst.layout.shape
    if shape[0] == 1:  # a batch of one is a matrix
        left, right, shape = t.read(a, a.layout.shape[1:]), t.read(b, b.layout.shape[1:]), shape[1:]
    else:
        left, right = t.read(a), t.read(b)
    t.write(dst, _matmul(t, left, right, transpose_a, transpose_b), shape)


def _matmul(t: Translator, left: Any, right: Any, transpose_a: bool, transpose_b: bool) -> Any:
    if t.style == "relax" and not transpose_a and not transpose_b:
        return t.emit(relax.op.matmul(left, right))
    return t.te("matmul", te_ops.matmul(transpose_a, transpose_b), left, right)


@rule("linear")
def linear(
    t: Translator, dst: Operand, a: Operand, b: Operand, bias: Operand, transpose_b: bool, activation: Unary | None
) -> None:
    """As the course writes it: a product, the bias as a row, broadcast, added; then the activation."""
    m, n = dst.layout.shape
    product = _matmul(t, t.read(a), t.read(b), False, transpose_b)
    row = t.read(bias, (1, n))
    total = _binary(t, Binary.ADD, product, t.shown("broadcast_to", (row, (1, n)), (m, n)))
    t.write(dst, total if activation is None else _unary(t, activation, total))


@rule("conv2d")
def conv2d(t: Translator, dst: Operand, x: Operand, w: Operand, *window: Any) -> None:
    t.write(dst, t.te("conv2d", te_layers.conv2d(*window), t.read(x), t.read(w)))


@rule("attention")
def attention(t: Translator, dst: Operand, q: Operand, k: Operand, v: Operand, causal: bool, scale: float) -> None:
    shape = q.layout.shape
    batch = prod(shape[:-2])
    queries, keys, values = (t.read(x, (batch, *x.layout.shape[-2:])) for x in (q, k, v))
    scores = t.te("attention_scores", te_layers.scaled(scale, causal), _matmul(t, queries, keys, False, True))
    weights = t.te("softmax", te_layers.softmax, scores)
    t.write(dst, _matmul(t, weights, values, False, False), (batch, shape[-2], v.layout.shape[-1]))


# Rows and images.


@rule("softmax")
def softmax(t: Translator, dst: Operand, x: Operand, rows: int, n: int) -> None:
    t.write(dst, t.te("softmax", te_layers.softmax, t.read(x, (rows, n))), (rows, n))


@rule("log_softmax")
def log_softmax(t: Translator, dst: Operand, x: Operand, rows: int, n: int) -> None:
    t.write(dst, t.te("log_softmax", te_layers.log_softmax, t.read(x, (rows, n))), (rows, n))


@rule("softmax_grad")
def softmax_grad(t: Translator, dst: Operand, g: Operand, y: Operand, rows: int, n: int) -> None:
    values = t.read(g, (rows, n)), t.read(y, (rows, n))
    t.write(dst, t.te("softmax_grad", te_layers.softmax_grad, *values), (rows, n))


@rule("log_softmax_grad")
def log_softmax_grad(t: Translator, dst: Operand, g: Operand, y: Operand, rows: int, n: int) -> None:
    values = t.read(g, (rows, n)), t.read(y, (rows, n))
    t.write(dst, t.te("log_softmax_grad", te_layers.log_softmax_grad, *values), (rows, n))


@rule("cross_entropy")
def cross_entropy(t: Translator, dst: Operand, logits: Operand, labels: Operand) -> None:
    rows = logits.layout.shape[0]
    t.write(dst, t.te("cross_entropy", te_layers.cross_entropy, t.read(logits), t.read(labels)), (rows,))


@rule("cross_entropy_grad")
def cross_entropy_grad(t: Translator, dst: Operand, g: Operand, logits: Operand, labels: Operand) -> None:
    values = t.read(g, (g.layout.size,)), t.read(logits), t.read(labels)
    t.write(dst, t.te("cross_entropy_grad", te_layers.cross_entropy_grad, *values))


@rule("layer_norm")
def layer_norm(t: Translator, dst: Operand, x: Operand, w: Operand, b: Operand, rows: int, n: int, eps: float) -> None:
    values = t.read(x, (rows, n)), t.read(w, (n,)), t.read(b, (n,))
    t.write(dst, t.te("layer_norm", te_layers.rows_normalized(eps, n, True), *values), (rows, n))


@rule("rms_norm")
def rms_norm(t: Translator, dst: Operand, x: Operand, w: Operand, rows: int, n: int, eps: float) -> None:
    values = t.read(x, (rows, n)), t.read(w, (n,))
    t.write(dst, t.te("rms_norm", te_layers.rows_normalized(eps, n, False), *values), (rows, n))


@rule("batch_norm")
def batch_norm(t: Translator, dst: Operand, x: Operand, *channel: Any) -> None:
    *given, eps = channel
    moments = [t.read(m, (m.layout.size,)) for m in given]
    t.write(dst, t.te("batch_norm", te_layers.batch_norm(eps), t.read(x), *moments))


@rule("pool2d")
def pool2d(t: Translator, kind: Pool, dst: Operand, x: Operand, *window: Any) -> None:
    t.write(dst, t.te(kind.op, te_layers.pool2d(kind, *window), t.read(x)))


# Optimizers.


@rule("sgd_step")
def sgd_step(
    t: Translator, params: list[Operand], grads: list[Operand], velocities: list[Operand], lr: Any, momentum: Any,
    dampening: Any, weight_decay: Any, nesterov: Any,
) -> None:  # fmt: skip
    if is_live(nesterov):
        raise t.unsupported("is Nesterov's in some calls only")
    numbers = [t.number(x) for x in (lr, momentum, dampening, weight_decay)]
    step = te_layers.sgd_step(bool(nesterov))
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        shape = p.layout.shape
        state = [t.read(velocities[i], shape)] if velocities else []
        stepped = t.te("sgd_step", step, t.read(p), t.read(g, shape), *numbers, *state)
        if velocities:
            t.write(p, t.emit(relax.TupleGetItem(stepped, 0)))
            t.write(velocities[i], t.emit(relax.TupleGetItem(stepped, 1)), shape)
        else:
            t.write(p, stepped)

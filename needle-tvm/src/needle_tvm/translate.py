"""From a Graph of Needle's primitives to a Relax IRModule, by BlockBuilder.

Both ways of writing a function are here. `style="te"` gives each primitive as a tensor expression through `emit_te`,
which names its function `te_<primitive>`; `style="relax"` uses Relax's own ops where there is one, which later become
expressions as well (LegalizeOps), and tensor expressions for the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import needle
from needle.errors import UnsupportedError
from needle.host_arrays import elements
from needle.kinds import Binary, Unary
from needle.layout import Layout
from needle.live import has_live
from needle.ndarray import NDArray
from needle.program.graph import Graph, Node, Operand, Role, Storage
from needle_tvm import te_ops, views
from tvm import relax

Style = Literal["te", "relax"]

_RELAX_UNARY = {
    Unary.RELU: relax.op.nn.relu, Unary.EXP: relax.op.exp, Unary.LOG: relax.op.log, Unary.SQRT: relax.op.sqrt,
    Unary.TANH: relax.op.tanh, Unary.SIGMOID: relax.op.sigmoid, Unary.NEG: relax.op.negative, Unary.ABS: relax.op.abs,
    Unary.ERF: relax.op.erf, Unary.SIN: relax.op.sin, Unary.COS: relax.op.cos,
}  # fmt: skip
_RELAX_BINARY = {
    Binary.ADD: relax.op.add, Binary.SUB: relax.op.subtract, Binary.MUL: relax.op.multiply, Binary.DIV: relax.op.divide,
    Binary.MAXIMUM: relax.op.maximum, Binary.MINIMUM: relax.op.minimum,
}  # fmt: skip


@dataclass(eq=False)
class Translation:
    """A module, and what it takes and gives: `main` has one parameter for each of `parameters`, in order, and returns
    a tuple of the results and of the `written` states."""

    module: Any
    parameters: list[Storage]
    results: list[Operand]
    written: list[Storage] = field(default_factory=list)


def to_relax(graph: Graph, style: Style = "te", *, constants: bool = True) -> Translation:
    """The graph as a Relax function `main`. With `constants` the states, such as weights, become constants of the
    module as they are now; without, they are parameters behind the inputs."""
    if style not in ("te", "relax"):
        raise UnsupportedError(f"to_relax: style is 'te' or 'relax', not {style!r}")
    return _Translator(graph, style, constants).translate()


class _Translator:
    def __init__(self, graph: Graph, style: Style, constants: bool) -> None:
        self.graph, self.style = graph, style
        self.builder = relax.BlockBuilder()
        self.values: dict[Storage, tuple[Any, tuple[int, ...]]] = {}  # a variable, and the shape that it has
        self.first: dict[Storage, Operand] = {}
        for x in graph.operands():
            if x.layout.compacted or x.storage not in self.first:
                self.first.setdefault(x.storage, x)
        self.changed = {x.storage for node in graph.nodes for x in node.writes if x.storage.role is Role.STATE}
        outside = [s for s in graph.storages() if s.role in (Role.INPUT, Role.STATE)]
        self.parameters = [s for s in outside if s.role is Role.INPUT or not constants or s in self.changed]

    def translate(self) -> Translation:
        variables = [self._parameter(i, s) for i, s in enumerate(self.parameters)]
        with self.builder.function("main", variables):
            with self.builder.dataflow():
                for storage in self.graph.storages():
                    self._outside(storage)
                for node in self.graph.nodes:
                    self._emit(node)
                results = [self._read(x) for x in self.graph.results]
                written = [s for s in self.parameters if s in self.changed]
                results += [self.values[s][0] for s in written]
                gives = results[0] if len(results) == 1 else relax.Tuple(results)
                output = self.builder.emit_output(gives)
            self.builder.emit_func_output(output)
        return Translation(self.builder.get(), self.parameters, self.graph.results, written)

    def _shape(self, storage: Storage) -> tuple[tuple[int, ...], str]:
        """The shape in which a storage from outside is handed over: that of a whole view of it, or flat."""
        whole = [x for x in self.graph.operands() if x.storage is storage and x.whole]
        if whole:
            return whole[0].layout.shape, str(whole[0].dtype)
        x = self.first[storage]
        return (storage.nbytes // x.dtype.itemsize,), str(x.dtype)

    def _parameter(self, number: int, storage: Storage) -> Any:
        shape, dtype = self._shape(storage)
        name = "X" if number == 0 else f"{storage.role.value}{number}"
        variable = relax.Var(name, relax.TensorType(shape, dtype))
        self.values[storage] = (variable, shape)
        return variable

    def _outside(self, storage: Storage) -> None:
        if storage not in self.values and storage.role in (Role.CONSTANT, Role.STATE):
            shape, dtype = self._shape(storage)
            self.values[storage] = (relax.const(host_values(storage, shape, dtype)), shape)

    # Reading and writing.

    def _read(self, x: Operand) -> Any:
        """The variable that an operand shows."""
        if x.storage not in self.values:
            raise UnsupportedError("tvm: a temporary is written in parts, which Relax's values cannot be")
        value, shape = self.values[x.storage]
        for name, argument in views.steps(shape, x.layout):
            value = self._shown(name, value, argument)
        return value

    def _shown(self, name: str, value: Any, argument: Any) -> Any:
        if self.style == "relax" and name != "view":
            ops = {"reshape": relax.op.reshape, "broadcast_to": relax.op.broadcast_to, "transpose": relax.op.permute_dims}
            return self.builder.emit(ops[name](value, argument))
        function = getattr(views, f"te_{name}")
        return self.builder.emit_te(function, value, argument, primfunc_name_hint=f"te_{name}")

    def _write(self, x: Operand, value: Any, shape: tuple[int, ...] | None = None) -> None:
        """Let a storage have a value, which has x's shape unless another is given."""
        if not x.whole_elements:
            raise UnsupportedError("tvm: a result is written in parts, which Relax's values cannot be")
        if not x.layout.contiguous:
            raise UnsupportedError("tvm: a result lies in another order of axes")
        self.values[x.storage] = (value, x.layout.shape if shape is None else shape)

    def te(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.builder.emit_te(function, *arguments, primfunc_name_hint=f"te_{name}")

    # The primitives.

    def _emit(self, node: Node) -> None:
        rule = getattr(self, f"_emit_{node.op}", None)
        if rule is None:
            raise UnsupportedError(f"tvm: there is no translation of {node.op}")
        if any(map(has_live, node.args)):
            raise UnsupportedError(f"tvm: {node.name} takes a number that changes between calls")
        try:
            rule(*node.args)
        except KeyError as error:
            raise UnsupportedError(f"tvm: there is no translation of {node.name}: {error}") from error

    def _emit_unary(self, kind: Unary, dst: Operand, x: Operand) -> None:
        value = self._read(x)
        if self.style == "relax" and kind in _RELAX_UNARY:
            self._write(dst, self.builder.emit(_RELAX_UNARY[kind](value)))
        else:
            self._write(dst, self.te(*te_ops.unary(kind), value), x.layout.shape)

    def _emit_binary(self, kind: Binary, dst: Operand, a: Operand, b: Operand) -> None:
        left, right = self._read(a), self._read(b)
        if self.style == "relax" and kind in _RELAX_BINARY:
            self._write(dst, self.builder.emit(_RELAX_BINARY[kind](left, right)))
        else:
            self._write(dst, self.te(*te_ops.binary(kind), left, right))

    def _emit_binary_scalar(self, kind: Binary, dst: Operand, x: Operand, scalar: Any, swapped: bool) -> None:
        self._write(dst, self.te(*te_ops.binary_scalar(kind, scalar, swapped), self._read(x)))

    def _emit_where(self, dst: Operand, condition: Operand, a: Operand, b: Operand) -> None:
        self._write(dst, self.te("where", te_ops.where, *map(self._read, (condition, a, b))))

    def _emit_cast(self, dst: Operand, x: Operand) -> None:
        self._write(dst, self.te("cast", te_ops.cast(str(dst.dtype)), self._read(x)))

    def _emit_copy(self, dst: Operand, x: Operand) -> None:
        self._write(dst, self._read(x))

    def _emit_reduce(self, kind: Any, dst: Operand, x: Operand, rows: int, n: int) -> None:
        value = self.te(kind.op, te_ops.reduce(kind, rows), self._read(x))
        self._write(dst, value, tuple(int(s) for s in value.ty.shape))

    def _emit_matmul(self, dst: Operand, a: Operand, b: Operand, transpose_a: bool, transpose_b: bool) -> None:
        left, right, shape = self._matrix(a), self._matrix(b), dst.layout.shape
        plain = not transpose_a and not transpose_b
        if dst.layout.shape[0] == 1:
            left, right, shape = self._flat(a), self._flat(b), shape[1:]
        if self.style == "relax" and plain:
            self._write(dst, self.builder.emit(relax.op.matmul(left, right)), shape)
        else:
            self._write(dst, self.te("matmul", te_ops.matmul(transpose_a, transpose_b), left, right), shape)

    def _matrix(self, x: Operand) -> Any:
        return self._read(x)

    def _flat(self, x: Operand) -> Any:
        """A batch of one as the matrix."""
        layout = Layout(x.layout.shape[-2:], x.layout.strides[-2:], x.layout.offset)
        return self._read(Operand(x.storage, layout, x.dtype))

    def _emit_linear(
        self, dst: Operand, a: Operand, b: Operand, bias: Operand, transpose_b: bool, activation: Unary | None
    ) -> None:
        """As the course writes it: a product, the bias as a row, broadcast, added; then the activation."""
        m, n = dst.layout.shape
        row = self._shown("reshape", self._read(bias), (1, n))
        spread = self._shown("broadcast_to", row, (m, n))
        if self.style == "relax" and not transpose_b:
            product = self.builder.emit(relax.op.matmul(self._read(a), self._read(b)))
            value = self.builder.emit(relax.op.add(product, spread))
            value = value if activation is None else self.builder.emit(_RELAX_UNARY[activation](value))
        else:
            product = self.te("matmul", te_ops.matmul(False, transpose_b), self._read(a), self._read(b))
            value = self.te(*te_ops.binary(Binary.ADD), product, spread)
            value = value if activation is None else self.te(*te_ops.unary(activation), value)
        self._write(dst, value)

    def _emit_conv2d(self, dst: Operand, x: Operand, w: Operand, *window: Any) -> None:
        self._write(dst, self.te("conv2d", te_ops.conv2d(*window), self._read(x), self._read(w)))

    def _emit_pool2d(self, kind: Any, dst: Operand, x: Operand, *window: Any) -> None:
        self._write(dst, self.te("pool2d", te_ops.pool2d(kind, *window), self._read(x)))

    def _emit_batch_norm(self, dst: Operand, x: Operand, *channel: Any) -> None:
        *moments, eps = channel
        self._write(dst, self.te("batch_norm", te_ops.batch_norm(eps), self._read(x), *map(self._read, moments)))

    def _emit_layer_norm(self, dst: Operand, x: Operand, w: Operand, b: Operand, rows: int, n: int, eps: float) -> None:
        values = self._rows(x, rows, n), self._read(w), self._read(b)
        self._write(dst, self.te("layer_norm", te_ops.rows_normalized(eps, n, True), *values), (rows, n))

    def _emit_rms_norm(self, dst: Operand, x: Operand, w: Operand, rows: int, n: int, eps: float) -> None:
        values = self._rows(x, rows, n), self._read(w)
        self._write(dst, self.te("rms_norm", te_ops.rows_normalized(eps, n, False), *values), (rows, n))

    def _emit_softmax(self, dst: Operand, x: Operand, rows: int, n: int) -> None:
        self._write(dst, self.te("softmax", te_ops.softmax, self._rows(x, rows, n)), (rows, n))

    def _emit_log_softmax(self, dst: Operand, x: Operand, rows: int, n: int) -> None:
        self._write(dst, self.te("log_softmax", te_ops.log_softmax, self._rows(x, rows, n)), (rows, n))

    def _emit_gather(self, dst: Operand, x: Operand, index: Operand) -> None:
        self._write(dst, self.te("gather", te_ops.gather, self._read(x), self._read(index)))

    def _emit_attention(self, dst: Operand, q: Operand, k: Operand, v: Operand, causal: bool, scale: float) -> None:
        shape = q.layout.shape
        batch = int(np.prod(shape[:-2]))
        queries, keys, values = (self._rows3(x, batch) for x in (q, k, v))
        scores = self.te("matmul", te_ops.matmul(False, True), queries, keys)
        scores = self.te("attention_scores", te_ops.scaled(scale, causal), scores)
        weights = self.te("softmax", te_ops.softmax, scores)
        mixed = self.te("matmul", te_ops.matmul(False, False), weights, values)
        self._write(dst, mixed, (batch, shape[-2], v.layout.shape[-1]))

    def _rows(self, x: Operand, rows: int, n: int) -> Any:
        value = self._read(x)
        return value if x.layout.shape == (rows, n) else self._shown("reshape", value, (rows, n))

    def _rows3(self, x: Operand, batch: int) -> Any:
        value, shape = self._read(x), (batch, *x.layout.shape[-2:])
        return value if x.layout.shape == shape else self._shown("reshape", value, shape)


def host_values(storage: Storage, shape: tuple[int, ...], dtype: str) -> Any:
    """A copy of what a storage holds now."""
    view = NDArray(storage.buffer, Layout.compact(shape), needle.dtype.as_dtype(dtype), storage.device)
    if storage.device.backend == "numpy":
        return np.array(elements(view))
    return view.numpy()

"""From a Graph of Needle's primitives to a Relax IRModule, by BlockBuilder.

Both ways of writing a function are here. `style="te"` gives each primitive as a tensor expression through `emit_te`,
which names its function `te_<primitive>`; `style="relax"` uses Relax's own ops where there is one, which later become
expressions as well (LegalizeOps), and tensor expressions for the rest. What each primitive becomes stands in `rules`;
this module keeps track of which variable holds what.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from tvm import relax

from needle.dtype import DType, bfloat16, float16
from needle.errors import UnsupportedError
from needle.layout import storage_order
from needle.live import is_live
from needle.program.graph import Graph, Node, Operand, Role, Storage
from needle_tvm import memory, views

Style = Literal["te", "relax"]

_RELAX_VIEWS = {
    "reshape": relax.op.reshape, "broadcast_to": relax.op.broadcast_to, "transpose": relax.op.permute_dims,
}  # fmt: skip


@dataclass(eq=False)
class Translation:
    """A module, and what its function `main` takes and gives.

    It takes a tensor for each of `parameters`, then one of shape (1,) for each of `numbers`, which are read anew at
    each call; it returns a tuple of the results and of the `written` states, or the one that there is.
    """

    module: Any
    parameters: list[Storage]
    shapes: list[tuple[tuple[int, ...], DType]]  # of the parameters
    results: list[Operand]
    written: list[Storage] = field(default_factory=list)
    numbers: list[Any] = field(default_factory=list)


def to_relax(graph: Graph, style: Style = "te", *, constants: bool = True) -> Translation:
    """The graph as a Relax function `main`. With `constants` the states, such as weights, become constants of the
    module as they are now; without, they are parameters behind the inputs."""
    if style not in ("te", "relax"):
        raise UnsupportedError(f"to_relax: style is 'te' or 'relax', not {style!r}")
    for x in graph.operands():
        if x.dtype in (float16, bfloat16):
            raise UnsupportedError(f"tvm: there is no translation of {x.dtype}; compute in float32")
    return Translator(graph, style, constants).translate()


class Translator:
    """A translation in progress: rules `read` operands, `te` or `emit` what they compute, and `write` the result."""

    def __init__(self, graph: Graph, style: Style, constants: bool) -> None:
        self.graph, self.style = graph, style
        self.builder = relax.BlockBuilder()
        self.values: dict[Storage, tuple[Any, tuple[int, ...]]] = {}  # a variable, and the shape that it has
        self.node: Node | None = None  # which is being translated
        self.changed = {x.storage for node in graph.nodes for x in node.writes if x.storage.role is Role.STATE}
        outside = [s for s in graph.storages() if s.role in (Role.INPUT, Role.STATE)]
        outside.sort(key=lambda s: s.role is Role.STATE)
        self.parameters = [s for s in outside if s.role is Role.INPUT or not constants or s in self.changed]
        self.shapes = {s: _shape(graph, s) for s in graph.storages() if s.role is not Role.TEMPORARY}
        self.numbers: dict[int, tuple[Any, Any]] = {}  # a live number, and its variable

    def translate(self) -> Translation:
        variables = [self._parameter(i, s) for i, s in enumerate(self.parameters)]
        for i, number in enumerate(_live_numbers(self.graph)):
            self.numbers[id(number)] = (number, relax.Var(f"number{i}", relax.TensorType((1,), "float32")))
        with self.builder.function("main", variables + [variable for _, variable in self.numbers.values()]):
            with self.builder.dataflow():
                for storage in self.graph.storages():
                    self._constant(storage)
                for node in self.graph.nodes:
                    self._translate(node)
                results = [self.read(x) for x in self.graph.results]
                written = [s for s in self.parameters if s in self.changed]
                results += [self.shown("reshape", self.values[s], self.shapes[s][0]) for s in written]
                output = self.builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
            self.builder.emit_func_output(output)
        return Translation(
            self.builder.get(), self.parameters, [self.shapes[s] for s in self.parameters], self.graph.results,
            written, [number for number, _ in self.numbers.values()],
        )  # fmt: skip

    def _parameter(self, number: int, storage: Storage) -> Any:
        shape, dtype = self.shapes[storage]
        variable = relax.Var("X" if number == 0 else f"{storage.role.value}{number}", _type(shape, dtype))
        self.values[storage] = (variable, shape)
        return variable

    def _constant(self, storage: Storage) -> None:
        if storage not in self.values and storage.role in (Role.CONSTANT, Role.STATE):
            shape, dtype = self.shapes[storage]
            values = memory.host_array(storage.device, storage.buffer, shape, dtype)
            self.values[storage] = (relax.const(values.copy(), str(dtype)), shape)

    def _translate(self, node: Node) -> None:
        from needle_tvm.rules import RULES  # noqa: PLC0415  rules are written with a Translator

        self.node = node
        if node.op not in RULES:
            raise UnsupportedError(f"tvm: there is no translation of {node.name}")
        RULES[node.op](self, *node.args)

    # What rules are made of.

    def read(self, x: Operand, shape: tuple[int, ...] | None = None) -> Any:
        """The variable that an operand shows, in its own shape or another."""
        if x.storage not in self.values:
            raise self.unsupported("reads memory that nothing wrote")
        value, has = self.values[x.storage]
        for name, argument in views.steps(has, x.layout):
            value = self._shown(name, value, argument)
        return value if shape is None else self.shown("reshape", (value, x.layout.shape), shape)

    def write(self, x: Operand, value: Any, shape: tuple[int, ...] | None = None) -> None:
        """Let an operand have a value, which has its shape unless another is given."""
        shape = x.layout.shape if shape is None else shape
        covers = x.layout.size == self._size(x)
        if covers and x.layout.compacted:
            self.values[x.storage] = (value, shape)
            return
        value = self.shown("reshape", (value, shape), x.layout.shape)
        order = storage_order(x.layout)
        if covers and x.layout.offset == 0 and order is not None:
            stored = tuple(x.layout.shape[a] for a in order[0])
            self.values[x.storage] = (self._shown("transpose", value, order[0]), stored)
        else:
            self._insert(x, value)

    def _size(self, x: Operand) -> int:
        """How many elements its storage has; of one from outside, how many of them count."""
        shape = self.shapes[x.storage][0] if x.storage in self.shapes else (x.storage.nbytes // x.dtype.itemsize,)
        return prod(shape)

    def _insert(self, x: Operand, value: Any) -> None:
        """A part of a storage, written into what it has."""
        if not views.can_insert(x.layout):
            raise self.unsupported(f"writes strides {list(x.layout.strides)}")
        flat = (self._size(x),)
        if x.storage in self.values:
            whole = self.shown("reshape", self.values[x.storage], flat)
        else:
            whole = self.emit(relax.op.zeros(flat, str(x.dtype)))
        inserted = self.te("insert", lambda old, new: views.te_insert(old, new, x.layout), whole, value)
        self.values[x.storage] = (inserted, flat)

    def shown(self, name: str, value: tuple[Any, tuple[int, ...]], shape: tuple[int, ...]) -> Any:
        """A variable of some shape, reshaped or broadcast if need be."""
        return value[0] if value[1] == shape else self._shown(name, value[0], shape)

    def _shown(self, name: str, value: Any, argument: Any) -> Any:
        if self.style == "relax" and name in _RELAX_VIEWS:
            return self.emit(_RELAX_VIEWS[name](value, argument))
        function = getattr(views, f"te_{name}")
        return self.te(name, lambda x: function(x, argument), value)

    def te(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.builder.emit_te(function, *arguments, primfunc_name_hint=f"te_{name}")

    def emit(self, call: Any) -> Any:
        return self.builder.emit(call)

    def number(self, value: Any) -> Any:
        """A number as a tensor of shape (1,): a live one is a parameter of `main`."""
        if is_live(value):
            return self.numbers[id(value)][1]
        return relax.const(memory.one(value))

    def unsupported(self, what: str) -> UnsupportedError:
        name = "the function" if self.node is None else self.node.name
        return UnsupportedError(f"tvm: there is no translation of {name} that {what}")


def _type(shape: tuple[int, ...], dtype: DType) -> Any:
    return relax.TensorType(shape, str(dtype))


def _shape(graph: Graph, storage: Storage) -> tuple[tuple[int, ...], DType]:
    """The shape in which a storage from outside is handed over: that of a view of all that is seen of it, or flat.

    Memory behind that does not count: an argument may be the beginning of a larger array in one call and not in the
    next.
    """
    seen = [x for x in graph.operands() if x.storage is storage]
    reach = max(x.layout.span()[1] for x in seen)
    whole = next((x for x in seen if x.layout.compacted and x.layout.size == reach), None)
    return ((reach,) if whole is None else whole.layout.shape), seen[0].dtype


def _live_numbers(graph: Graph) -> list[Any]:
    found = {id(arg): arg for node in graph.nodes for arg in node.args if is_live(arg)}
    return list(found.values())

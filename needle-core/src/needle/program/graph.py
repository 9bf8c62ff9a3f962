"""Graph: the primitives of a captured function, in order, over storages. Passes are plain functions Graph -> Graph.

A *storage* is a block of memory: an input, a state (a parameter, a moving average, an optimizer's moment), a constant,
or a temporary of the function. An *operand* is a view of a storage, as a kernel is given it. A *node* is one primitive
of the backend protocol. Nodes may write parts of a storage, and storages more than once, as kernels do; most
temporaries are written once and whole, and passes ask for that where they need it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import prod
from typing import Any, TypeAlias

from needle.device import Device
from needle.dispatch import WRITES, op_name
from needle.dtype import DType
from needle.errors import GraphError
from needle.kinds import Kind
from needle.layout import Layout, storage_order
from needle.live import has_live, is_live

# Primitives that also read what they write.
UPDATES = {"scatter_add": (0,), "sgd_step": (0, 2), "adam_step": (0, 2, 3)}
# Primitives whose results differ from call to call.
IMPURE = frozenset({"random"})


class Role(Enum):
    INPUT = "input"
    STATE = "state"
    CONSTANT = "constant"
    TEMPORARY = "temporary"


@dataclass(eq=False)
class Storage:
    """A block of memory. `buffer` is where it was during capture; a temporary has another one in each replay."""

    role: Role
    device: Device
    nbytes: int
    buffer: Any = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Operand:
    """A view of a storage."""

    storage: Storage
    layout: Layout
    dtype: DType

    @property
    def nbytes(self) -> int:
        """Bytes that a kernel moves for it: each element once."""
        return prod(n for n, s in zip(self.layout.shape, self.layout.strides, strict=True) if s) * self.dtype.itemsize

    @property
    def whole(self) -> bool:
        """Whether it covers its storage, in order."""
        return self.layout.compacted and self.layout.size * self.dtype.itemsize == self.storage.nbytes

    @property
    def whole_elements(self) -> bool:
        """Whether it covers its storage, in any order of axes."""
        order = storage_order(self.layout) if not self.layout.contiguous else None
        covers = self.layout.size * self.dtype.itemsize == self.storage.nbytes and self.layout.offset == 0
        return covers and (self.layout.contiguous or order is not None)

    def same_place(self, other: "Operand") -> bool:
        return self.storage is other.storage and self.layout == other.layout and self.dtype is other.dtype


Argument: TypeAlias = Any  # an Operand, a list of them, or a parameter: a kind, number, tuple, bool, None


def operands_in(arg: Argument) -> list[Operand]:
    if isinstance(arg, Operand):
        return [arg]
    return [x for x in arg if isinstance(x, Operand)] if isinstance(arg, list) else []


def map_operands(arg: Argument, f: Callable[[Operand], Any]) -> Argument:
    """The same argument with each of its operands replaced."""
    if isinstance(arg, Operand):
        return f(arg)
    return [f(x) if isinstance(x, Operand) else x for x in arg] if isinstance(arg, list) else arg


@dataclass(frozen=True, eq=False)
class Node:
    """One primitive: its name, its device, and its arguments as the backend's method takes them."""

    op: str
    device: Device
    args: tuple[Argument, ...]

    @property
    def name(self) -> str:
        return op_name(self.op, self.args)

    @property
    def writes(self) -> list[Operand]:
        return [x for i in WRITES.get(self.op, (0,)) for x in operands_in(self.args[i])]

    @property
    def reads(self) -> list[Operand]:
        """What it reads, in place updates included."""
        written, updated = WRITES.get(self.op, (0,)), UPDATES.get(self.op, ())
        return [x for i, arg in enumerate(self.args) if i not in written or i in updated for x in operands_in(arg)]

    @property
    def nbytes(self) -> int:
        """Bytes read and written."""
        return sum(x.nbytes for x in self.reads) + sum(x.nbytes for x in self.writes)

    @property
    def pure(self) -> bool:
        """Whether equal operands give equal results, and nothing but the results is changed."""
        return self.op not in IMPURE and self.op not in UPDATES and not any(map(has_live, self.args))

    def mapped(self, f: Callable[[Operand], Operand]) -> "Node":
        return Node(self.op, self.device, tuple(map_operands(arg, f) for arg in self.args))


@dataclass(eq=False)
class Graph:
    """Nodes in order, and what of their results is seen outside: `results` are views in temporaries or beyond."""

    nodes: list[Node]
    results: list[Operand] = field(default_factory=list)
    most_alive: int = 0  # bytes of temporaries that were alive at once as the graph was captured

    def storages(self) -> list[Storage]:
        """Every storage, in order of first appearance."""
        found: dict[int, Storage] = {}
        for operand in self.operands():
            found.setdefault(id(operand.storage), operand.storage)
        return list(found.values())

    def operands(self) -> Iterator[Operand]:
        for node in self.nodes:
            for arg in node.args:
                yield from operands_in(arg)
        yield from self.results

    def writers(self) -> dict[Storage, list[int]]:
        """The positions of the nodes that write each storage."""
        found: dict[Storage, list[int]] = {}
        for i, node in enumerate(self.nodes):
            for x in node.writes:
                found.setdefault(x.storage, []).append(i)
        return found

    def readers(self) -> dict[Storage, list[int]]:
        """The positions of the nodes that read each storage; len(nodes) stands for the results."""
        found: dict[Storage, list[int]] = {}
        for i, node in enumerate(self.nodes):
            for x in node.reads:
                found.setdefault(x.storage, []).append(i)
        for x in self.results:
            found.setdefault(x.storage, []).append(len(self.nodes))
        return found

    def mapped(self, f: Callable[[Operand], Operand]) -> "Graph":
        return Graph([node.mapped(f) for node in self.nodes], [f(x) for x in self.results])

    @property
    def nbytes(self) -> int:
        """Bytes that all nodes read and write."""
        return sum(node.nbytes for node in self.nodes)

    def __str__(self) -> str:
        names = _Names(self)
        lines = [f"{names.of(s)}: {s.role.value} {s.nbytes:,} bytes on {s.device}" for s in self.storages()
                 if s.role is not Role.TEMPORARY]  # fmt: skip
        lines += [f"{', '.join(map(names.view, node.writes))} = {names.call(node)}" for node in self.nodes]
        return "\n".join([*lines, f"return {', '.join(map(names.view, self.results))}"])


class _Names:
    """Names of storages in a printed graph: %0, %1, ... for temporaries."""

    def __init__(self, graph: Graph) -> None:
        self.names: dict[Storage, str] = {}
        counts = dict.fromkeys(Role, 0)
        prefix = {Role.TEMPORARY: "%", Role.INPUT: "input", Role.STATE: "state", Role.CONSTANT: "constant"}
        for storage in graph.storages():
            own = f"{prefix[storage.role]}{counts[storage.role]}"
            self.names[storage] = f"{own}:{storage.name}" if storage.name else own
            counts[storage.role] += 1

    def of(self, storage: Storage) -> str:
        return self.names[storage]

    def view(self, x: Operand) -> str:
        text = f"{self.of(x.storage)} {x.dtype}{list(x.layout.shape)}"
        if x.whole:
            return text
        place = "" if x.layout.contiguous else f" strides {list(x.layout.strides)}"
        return f"{text}{place}{f' at {x.layout.offset}' if x.layout.offset else ''}"

    def call(self, node: Node) -> str:
        written = WRITES.get(node.op, (0,))
        parts = []
        for i, arg in enumerate(node.args):
            if operands_in(arg):
                if i not in written:
                    parts.append(", ".join(map(self.view, operands_in(arg))))
            elif isinstance(arg, Kind):
                parts += [arg.name.lower()] if i > 0 else []  # the first one names the node
            else:
                parts.append(f"<{arg}>" if is_live(arg) else str(arg))
        return f"{node.name}({', '.join(parts)})"


def verify(graph: Graph) -> Graph:
    """Raise GraphError where a graph is not well formed: a temporary read before it was written, a view that leaves
    its storage, a constant that is written. Gives the graph back."""
    written: set[Storage] = set()
    for i, node in enumerate(graph.nodes):
        updates = [x for j in UPDATES.get(node.op, ()) for x in operands_in(node.args[j])]
        for x in node.reads:
            missing = x.storage.role is Role.TEMPORARY and x.storage not in written and x.layout.size > 0
            if missing and x not in updates:
                raise GraphError(f"graph: node {i} ({node.name}) reads a temporary that nothing wrote")
        for x in node.writes:
            if x.storage.role is Role.CONSTANT:
                raise GraphError(f"graph: node {i} ({node.name}) writes a constant")
            written.add(x.storage)
        for x in [*node.reads, *node.writes]:
            _check_inside(x, f"node {i} ({node.name})")
    for x in graph.results:
        if x.storage.role is Role.TEMPORARY and x.storage not in written and x.layout.size > 0:
            raise GraphError("graph: a result is a temporary that nothing wrote")
        _check_inside(x, "the results")
    return graph


def _check_inside(x: Operand, where: str) -> None:
    first, last = x.layout.span()
    if x.layout.size and (first < 0 or last * x.dtype.itemsize > x.storage.nbytes):
        raise GraphError(f"graph: a view of {where} leaves its storage of {x.storage.nbytes} bytes")

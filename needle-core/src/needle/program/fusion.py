"""Fusion of elementwise nodes: chains and trees of them become one node, `elementwise`, that passes over memory once;
a reduction after them joins them.

A group is computed where its last member stood. A node joins the groups that made its operands, if nothing between
them reads what they wrote or writes what they read. What is read by others, later, is still written; all other
intermediate results never exist in memory.
"""

from dataclasses import dataclass, field
from typing import Any

from needle.dispatch import dispatcher
from needle.dtype import DType, bfloat16, bool_, float16, int8, uint8
from needle.expression import STEPS, Expression, Step
from needle.kinds import Binary, Unary
from needle.program.graph import Graph, Node, Operand, Role, Storage

MOST_STEPS = 24
MOST_OPERANDS = 12
NARROW = (float16, bfloat16, int8, uint8)  # which are reduced in a wider type


@dataclass(eq=False)
class _Group:
    """Nodes that become one: by their places in the graph, in order."""

    members: list[int] = field(default_factory=list)
    size: int = 0

    @property
    def first(self) -> int:
        return self.members[0]


def fuse_elementwise(graph: Graph) -> Graph:
    """Compute neighbouring elementwise nodes of one size together, on devices that have `elementwise`."""
    groups = _Grouping(graph).groups()
    ends = {group.members[-1]: group for group in groups if len(group.members) > 1}
    inside = {i for group in ends.values() for i in group.members}
    readers = graph.readers()
    nodes = []
    for i, node in enumerate(graph.nodes):
        if i in ends:
            nodes.append(_fused(graph, ends[i], readers))
        elif i not in inside:
            nodes.append(node)
    return Graph(nodes, graph.results)


def fuse_reductions(graph: Graph) -> Graph:
    """Reduce elementwise results where they are made, on devices that have `elementwise_reduce`: what only a reduction
    reads, in order, never is in memory."""
    grouping = _Grouping(graph)
    writers, readers = graph.writers(), graph.readers()
    nodes: list[Node | None] = list(graph.nodes)
    for i, node in enumerate(graph.nodes):
        if node.op != "reduce" or not dispatcher(node.device).backend.implements("elementwise_reduce"):
            continue
        kind, dst, x, rows, n = node.args
        made = writers.get(x.storage, [])
        maker = graph.nodes[made[0]] if len(made) == 1 and readers[x.storage] == [i] else None
        if maker is None or not x.whole or dst.dtype is not x.dtype or dst.dtype in (bool_, *NARROW):
            continue
        if maker.op != "elementwise" and grouping.fits(maker):
            maker = _fused(graph, _Group([made[0]]), readers)
        changed = {y.storage for between in graph.nodes[made[0] + 1 : i] for y in between.writes}
        if maker.op == "elementwise" and len(maker.writes) == 1 and not any(y.storage in changed for y in maker.reads):
            nodes[made[0]] = None
            nodes[i] = Node("elementwise_reduce", node.device, (dst, *maker.args[1:], kind, rows, n))
    return Graph([node for node in nodes if node is not None], graph.results)


class _Grouping:
    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.writers = graph.writers()
        self.group_of: dict[int, _Group] = {}
        self.all: list[_Group] = []

    def groups(self) -> list[_Group]:
        for i, node in enumerate(self.nodes):
            if not self.fits(node):
                continue
            group = _Group([i], node.writes[0].layout.size)
            for other in self._makers(node, group.size):
                if self._may_wait(other, i) and self._small(other, group) and self._whole_reads(node, other):
                    group.members = sorted([*group.members, *other.members])
                    self.all.remove(other)
            self.all.append(group)
            self.group_of.update(dict.fromkeys(group.members, group))
        return self.all

    def fits(self, node: Node) -> bool:
        """Whether a node can be part of a group: whole, contiguous results of types that the device computes so."""
        if node.op not in STEPS:
            return False
        result = node.writes[0]
        if not result.whole or len(self.writers[result.storage]) != 1 or result.storage.role is not Role.TEMPORARY:
            return False
        backend = dispatcher(node.device).backend
        kind = node.args[0] if isinstance(node.args[0], Unary | Binary) else None
        own = (result.dtype, *(x.dtype for x in node.reads))
        return (
            result.layout.size > 0
            and backend.implements("elementwise")
            and backend.implements(node.op)
            and backend.supports("elementwise", None, own) is None
            and backend.supports(node.op, kind, own) is None
        )

    def _makers(self, node: Node, size: int) -> list[_Group]:
        """The groups of the same size that made what the node reads, whole."""
        found: dict[int, _Group] = {}
        for x in node.reads:
            made = self.writers.get(x.storage, [])
            group = self.group_of.get(made[0]) if len(made) == 1 and x.whole else None
            if group is not None and group.size == size and self.nodes[group.first].device is node.device:
                found[id(group)] = group
        return sorted(found.values(), key=lambda g: -g.first)

    def _may_wait(self, group: _Group, until: int) -> bool:
        """Whether the group could as well be computed at `until`: nobody in between needs or disturbs it."""
        members = set(group.members)
        wrote: set[Storage] = set()
        read: set[Storage] = set()
        for i in range(group.first, until):
            node = self.nodes[i]
            if i in members:
                wrote |= {x.storage for x in node.writes}
                read |= {x.storage for x in node.reads}
            elif any(x.storage in wrote for x in node.reads) or any(x.storage in read for x in node.writes):
                return False
        return True

    def _whole_reads(self, node: Node, group: _Group) -> bool:
        """Whether a node reads in order, and only so, what a group made."""
        made = {x.storage for i in group.members for x in self.nodes[i].writes}
        return all(x.whole for x in node.reads if x.storage in made)

    def _small(self, a: _Group, b: _Group) -> bool:
        members = [*a.members, *b.members]
        made = {x.storage for i in members for x in self.nodes[i].writes}
        operands = {(x.storage, x.layout) for i in members for x in self.nodes[i].reads if x.storage not in made}
        return len(members) <= MOST_STEPS and len(operands) <= MOST_OPERANDS


def _fused(graph: Graph, group: _Group, readers: dict[Storage, list[int]]) -> Node:
    """The node that computes a group."""
    members = [graph.nodes[i] for i in group.members]
    inside = set(group.members)
    operands: list[Operand] = []
    values: dict[Storage, int] = {}
    made = {node.writes[0].storage for node in members}

    def operand(x: Operand) -> int:
        for number, known in enumerate(operands):
            if known.same_place(x):
                return number
        operands.append(x)
        return len(operands) - 1

    for node in members:
        for x in node.reads:
            if x.storage not in made:
                operand(x)
    steps: list[Step] = []
    scalars: list[Any] = []
    for node in members:
        inputs = tuple(values[x.storage] if x.storage in made else operand(x) for x in node.reads)
        result = node.writes[0]
        kind = node.args[0] if isinstance(node.args[0], Unary | Binary) else None
        scalar = -1
        if node.op == "binary_scalar":
            scalar = len(scalars)
            scalars.append(node.args[3])
        swapped = bool(node.args[4]) if node.op == "binary_scalar" else False
        values[result.storage] = len(operands) + len(steps)
        steps.append(Step(node.op, kind, _computed_in(node), result.dtype, inputs, scalar, swapped))
    results = [n for n in members if any(i not in inside for i in readers.get(n.writes[0].storage, []))]
    expression = Expression(len(operands), tuple(steps), tuple(values[n.writes[0].storage] for n in results))
    return Node(
        "elementwise", members[0].device, ([n.writes[0] for n in results], operands, expression, tuple(scalars))
    )


def _computed_in(node: Node) -> DType:
    return node.reads[1].dtype if node.op == "where" else node.reads[0].dtype

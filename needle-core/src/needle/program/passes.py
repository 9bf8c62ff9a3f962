"""Passes that make a graph smaller: dead code, common subexpressions, constants, copies; and the list of all passes.

Each is a plain function Graph -> Graph with a name by which it can be switched off. A temporary that is written once
and whole is a value like any other; what is written in parts or again and again is left alone.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from needle.dispatch import WRITES
from needle.layout import Layout
from needle.program.epilogues import epilogues
from needle.program.fusion import fuse_elementwise, fuse_reductions
from needle.program.graph import Graph, Node, Operand, Role, Storage, map_operands, operands_in
from needle.program.layouts import fold_broadcasts, fold_layouts
from needle.program.recompute import recompute
from needle.program.unfolding import unfold
from needle.program.updates import early_updates

_LARGEST_CONSTANT = 1 << 20  # bytes of a folded result: more would be held for ever to save one pass


def dead_code(graph: Graph) -> Graph:
    """Leave out nodes whose results nobody reads."""
    live: set[Storage] = {x.storage for x in graph.results}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(x.storage in live or x.storage.role is not Role.TEMPORARY for x in node.writes):
            kept.append(node)
            if node.pure:  # what it overwrites whole did not matter before
                live -= {x.storage for x in node.writes if x.whole}
            live |= {x.storage for x in node.reads}
    return Graph(kept[::-1], graph.results)


def common_subexpressions(graph: Graph) -> Graph:
    """Compute equal things once."""
    values = _Values(graph)
    returned = {x.storage for x in graph.results}  # each of these keeps memory of its own
    known: dict[Any, Operand] = {}
    replaced: dict[Storage, Storage] = {}

    def renamed(x: Operand) -> Operand:
        return Operand(replaced[x.storage], x.layout, x.dtype) if x.storage in replaced else x

    kept = []
    for node in graph.nodes:
        node = node.mapped(renamed)
        result = values.single(node)
        key = None if result is None or not node.pure else values.key(node)
        if key is not None and result is not None:
            same = known.get(key)
            if same is not None and result.storage not in returned:
                replaced[result.storage] = same.storage
                continue
            known[key] = result
        values.wrote(node)
        kept.append(node)
    return Graph(kept, [renamed(x) for x in graph.results])


def fold_constants(graph: Graph) -> Graph:
    """Results of constants are constants. Capture has computed them, so nothing needs to be run here. What leaves the
    program is computed: whoever gets it may write into it."""
    values, returned = _Values(graph), {x.storage for x in graph.results}
    folded: dict[Storage, Storage] = {}

    def renamed(x: Operand) -> Operand:
        return Operand(folded[x.storage], x.layout, x.dtype) if x.storage in folded else x

    kept = []
    for node in graph.nodes:
        node = node.mapped(renamed)
        result = values.single(node)
        constant = node.pure and all(x.storage.role is Role.CONSTANT for x in node.reads)
        small = result is not None and result.storage.nbytes <= _LARGEST_CONSTANT
        if result is not None and constant and small and result.storage not in returned:
            folded[result.storage] = replace(result.storage, role=Role.CONSTANT)
        else:
            kept.append(node)
    return Graph(kept, [renamed(x) for x in graph.results])


def forward_copies(graph: Graph) -> Graph:
    """Read through a copy to what was copied, where that stays as it is for as long as the copy is read."""
    values, readers = _Values(graph), graph.readers()
    writers = graph.writers()
    moved: dict[Storage, Operand] = {}

    def resolved(x: Operand) -> Operand:
        source = moved.get(x.storage)
        if source is None:
            return x
        return Operand(source.storage, _shifted(x.layout, source.layout.offset), x.dtype)

    kept = []
    for i, node in enumerate(graph.nodes):
        node = node.mapped(resolved)
        result = values.single(node) if node.op == "copy" else None
        source = node.args[1] if node.op == "copy" else None
        if result is not None and source is not None and source.layout.contiguous and result.layout.compacted:
            last = max(readers.get(result.storage, [i]))
            changes = writers.get(source.storage, [])
            if last < len(graph.nodes) and not any(i < at <= last for at in changes):
                moved[result.storage] = source
                readers.setdefault(source.storage, []).append(last)
                continue
        kept.append(node)
    return Graph(kept, [resolved(x) for x in graph.results])


def _shifted(layout: Layout, offset: int) -> Layout:
    return layout if offset == 0 else Layout(layout.shape, layout.strides, layout.offset + offset)


class _Values:
    """Which storages are values, and how often the others were written so far."""

    def __init__(self, graph: Graph) -> None:
        self.writers = graph.writers()
        self.versions: dict[Storage, int] = {}

    def single(self, node: Node) -> Operand | None:
        """The one result of a node, if it is a temporary that only this node writes, and writes whole."""
        written = node.writes
        if len(written) != 1 or written[0].storage.role is not Role.TEMPORARY or node.op == "scatter_add":
            return None
        return written[0] if written[0].whole_elements and len(self.writers[written[0].storage]) == 1 else None

    def wrote(self, node: Node) -> None:
        for x in node.writes:
            self.versions[x.storage] = self.versions.get(x.storage, 0) + 1

    def key(self, node: Node) -> Any:
        """Equal for nodes that compute the same."""
        written = WRITES.get(node.op, (0,))

        def view(x: Operand) -> Any:
            return id(x.storage), self.versions.get(x.storage, 0), x.layout, x.dtype

        parts: list[Any] = [node.op, node.device]
        for i, arg in enumerate(node.args):
            if i in written:
                parts.append([(x.layout, x.dtype) for x in operands_in(arg)])
            else:
                parts.append(map_operands(arg, view) if operands_in(arg) else (type(arg), arg, repr(arg)))
        return tuple(tuple(p) if isinstance(p, list) else p for p in parts)


PASSES: dict[str, Callable[[Graph], Graph]] = {
    "fold_constants": fold_constants,
    "common_subexpressions": common_subexpressions,
    "forward_copies": forward_copies,
    "fold_layouts": fold_layouts,
    "fold_broadcasts": fold_broadcasts,
    "epilogues": epilogues,
    "dead_code": dead_code,
    "early_updates": early_updates,
    "recompute": recompute,
    "unfold": unfold,
    "fuse_elementwise": fuse_elementwise,
    "fuse_reductions": fuse_reductions,
}

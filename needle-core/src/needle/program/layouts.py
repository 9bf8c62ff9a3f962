"""Passes over layouts: no copies for those who read strides, and nothing computed twice that is only repeated."""

from functools import partial

from needle.dispatch import WRITES, dispatcher
from needle.expression import STEPS
from needle.kinds import Kind
from needle.layout import Layout
from needle.program.graph import Graph, Node, Operand, Role, Storage, map_operands

_READERS = frozenset({*STEPS, "elementwise", "elementwise_reduce", "reduce", "copy"})


def fold_layouts(graph: Graph) -> Graph:
    """Read through a copy of a strided view to what was copied, where all who read the copy, in its order, read any
    strides: a permuted or repeated array is then never written out."""
    writers, readers = graph.writers(), graph.readers()
    moved: dict[Storage, Operand] = {}
    kept = []
    for i, node in enumerate(graph.nodes):
        node = node.mapped(lambda x: moved.get(x.storage, x))
        if node.op == "copy" and _alone(node, writers) and not node.args[1].layout.contiguous:
            result, source = node.args
            reading = readers.get(result.storage, [])
            changed = any(i < at <= max(reading, default=i) for at in writers.get(source.storage, []))
            if reading and not changed and all(_reads_strides(graph, at, result.storage) for at in reading):
                moved[result.storage] = source
                continue
        kept.append(node)
    return Graph(kept, graph.results)


def fold_broadcasts(graph: Graph) -> Graph:
    """Compute functions of repeated operands once for each element, and repeat the result."""
    writers, readers = graph.writers(), graph.readers()
    small: dict[Storage, Operand] = {}  # what stands for a storage, in its shape

    def renewed(x: Operand) -> Operand:
        return small.get(x.storage, x)

    kept = []
    for node in graph.nodes:
        node = node.mapped(renewed)
        if node.op in STEPS and _alone(node, writers):
            result = node.writes[0]
            shape = _distinct(node, result)
            reading = readers.get(result.storage, [])
            if shape != result.layout.shape and all(_reads_strides(graph, at, result.storage) for at in reading):
                layout = Layout.compact(shape)
                storage = Storage(Role.TEMPORARY, node.device, layout.size * result.dtype.itemsize)
                narrow = Operand(storage, layout, result.dtype)
                small[result.storage] = Operand(storage, layout.broadcast_to(result.layout.shape), result.dtype)
                args = tuple(map_operands(arg, partial(_cut, shape)) for arg in node.args)
                at = WRITES.get(node.op, (0,))[0]
                node = Node(node.op, node.device, (*args[:at], narrow, *args[at + 1 :]))
        kept.append(node)
    return Graph(kept, [renewed(x) for x in graph.results])


def _alone(node: Node, writers: dict[Storage, list[int]]) -> bool:
    """Whether a node makes one temporary, whole, that no other writes."""
    written = node.writes
    result = written[0]
    temporary = result.storage.role is Role.TEMPORARY and result.layout.size > 0
    return len(written) == 1 and temporary and result.whole and len(writers[result.storage]) == 1


def _reads_strides(graph: Graph, at: int, storage: Storage) -> bool:
    """Whether a node reads a storage whole, each view of it in order, and would read it natively in any strides."""
    if at == len(graph.nodes):
        return False  # a result of the graph
    node = graph.nodes[at]
    backend = dispatcher(node.device).backend
    kind = node.args[0] if isinstance(node.args[0], Kind) else None
    dtypes = tuple(x.dtype for x in [*node.writes, *node.reads])
    native = backend.implements(node.op) and backend.supports(node.op, kind, dtypes) is None
    strided = node.op == "copy" or node.op in backend.strided
    views = [x for x in node.reads if x.storage is storage]
    alike = all(x.whole and x.layout.shape == _shape_of(storage, graph) for x in views)
    return node.op in _READERS and native and strided and alike


def _shape_of(storage: Storage, graph: Graph) -> tuple[int, ...]:
    """The shape in which a storage was written."""
    return next(x.layout.shape for node in graph.nodes for x in node.writes if x.storage is storage)


def _distinct(node: Node, result: Operand) -> tuple[int, ...]:
    """The result's shape, with 1 for the axes along which all operands only repeat."""
    full = [x for x in node.reads if x.layout.size > 1]
    if not full or any(x.layout.shape != result.layout.shape for x in full):
        return result.layout.shape
    steps = zip(*(x.layout.strides for x in full), strict=True)
    return tuple(1 if not any(axis) else n for n, axis in zip(result.layout.shape, steps, strict=True))


def _cut(shape: tuple[int, ...], x: Operand) -> Operand:
    """An operand without its repetitions."""
    if x.layout.size <= 1:
        return x
    strides = tuple(0 if n == 1 else s for n, s in zip(shape, x.layout.strides, strict=True))
    return Operand(x.storage, Layout(shape, strides, x.layout.offset), x.dtype)

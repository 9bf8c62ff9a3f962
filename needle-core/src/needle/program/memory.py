"""Memory planning: where in one arena each temporary lies, so that those not alive together share their place."""

from dataclasses import dataclass
from itertools import accumulate

from needle.backend import IN_PLACE
from needle.device import Device
from needle.dispatch import dispatcher
from needle.kinds import Kind
from needle.program.graph import Graph, Node, Operand, Role, Storage, operands_in

ALIGNMENT = 256  # bytes: what the widest vector loads and every GPU ask for


@dataclass(frozen=True)
class Plan:
    """Offsets of the temporaries in the arena of their device, and the sizes of the arenas, in bytes."""

    offsets: dict[Storage, int]
    sizes: dict[Device, int]
    unshared: int  # what the temporaries would take if none shared its place

    @property
    def nbytes(self) -> int:
        return sum(self.sizes.values())


@dataclass(eq=False)
class Span:
    """The life of a place: from the node that first writes it to the one that last reads it."""

    device: Device
    first: int
    last: int
    size: int
    offset: int = -1

    def meets(self, other: "Span") -> bool:
        return self.first <= other.last and other.first <= self.last


def plan_memory(graph: Graph, own: set[Storage] | None = None) -> Plan:
    """Places for all temporaries but those in `own`, which get memory of their own (results).

    Largest first, each at the lowest offset where nothing alive at the same time lies (greedy by size: Pisarchyk and
    Lee, "Efficient memory management for deep neural net inference", 2020).
    """
    places = spans(graph, own or set())
    placed: dict[Device, list[Span]] = {}
    for span in sorted(set(places.values()), key=lambda s: (-s.size, s.first)):
        others = placed.setdefault(span.device, [])
        span.offset = _gap(sorted((o for o in others if o.meets(span)), key=lambda o: o.offset), span.size)
        others.append(span)
    sizes = {device: max(s.offset + s.size for s in those) for device, those in placed.items()}
    return Plan({storage: span.offset for storage, span in places.items()}, sizes, sum(map(_rounded, places)))


def spans(graph: Graph, own: set[Storage]) -> dict[Storage, Span]:
    """The span of each temporary. One that an elementwise node makes of another that dies there shares its span."""
    last: dict[Storage, int] = {x.storage: len(graph.nodes) for x in graph.results}
    for i, node in enumerate(graph.nodes):
        for x in [*node.reads, *node.writes]:
            last[x.storage] = max(last.get(x.storage, 0), i)
    found: dict[Storage, Span] = {}
    for i, node in enumerate(graph.nodes):
        for x in node.writes:
            storage = x.storage
            if storage.role is Role.TEMPORARY and storage not in own and storage not in found:
                span = _inherited(node, x, i, found, last) or Span(storage.device, i, i, _rounded(storage))
                span.last = max(span.last, last[storage])
                found[storage] = span
    return found


def alive(graph: Graph) -> list[int]:
    """Bytes of temporaries that are alive at each node, results left out."""
    changes = [0] * (len(graph.nodes) + 2)
    for span in set(spans(graph, {x.storage for x in graph.results}).values()):
        changes[span.first] += span.size
        changes[span.last + 1] -= span.size
    return list(accumulate(changes))[: len(graph.nodes)]


def _inherited(
    node: Node, result: Operand, at: int, found: dict[Storage, Span], last: dict[Storage, int]
) -> Span | None:
    """The span of an operand that ends at a node and whose very place a result of it can take."""
    if result.whole and _in_place(node):
        for x in node.reads:
            span = found.get(x.storage)
            if span is None or span.last != at or last[x.storage] != at or _rounded(x.storage) != span.size:
                continue
            if x.whole and x.dtype is result.dtype and x.layout.size == result.layout.size and _read_once(node, x):
                return span
    return None


def _in_place(node: Node) -> bool:
    """Whether the device computes a node so that a result may lie where an operand does."""
    backend = dispatcher(node.device).backend
    kind = node.args[0] if isinstance(node.args[0], Kind) else None
    dtypes = tuple(x.dtype for arg in node.args for x in operands_in(arg))
    return node.op in IN_PLACE or (
        node.op in backend.in_place and backend.implements(node.op) and backend.supports(node.op, kind, dtypes) is None
    )


def _read_once(node: Node, operand: Operand) -> bool:
    """Whether an operand is not read in another order as well."""
    return all(x.whole for x in node.reads if x.storage is operand.storage)


def _rounded(storage: Storage) -> int:
    return -(-max(storage.nbytes, 1) // ALIGNMENT) * ALIGNMENT


def _gap(busy: list[Span], size: int) -> int:
    """The lowest offset where `size` bytes are free."""
    offset = 0
    for span in busy:
        if span.offset - offset >= size:
            return offset
        offset = max(offset, span.offset + span.size)
    return offset

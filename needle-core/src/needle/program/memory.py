"""Memory planning: where in one arena each temporary lies, so that those not alive together share their place."""

from dataclasses import dataclass

from needle.device import Device
from needle.program.graph import Graph, Node, Role, Storage

ALIGNMENT = 256  # bytes: what the widest vector loads and every GPU ask for

# Primitives that read each element of an operand before, and only for, the element of the result that they write:
# the protocol lets their result lie where an operand of equal size lay.
_IN_PLACE = frozenset({"unary", "binary", "binary_scalar", "where"})


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
class _Span:
    """The life of a place: from the node that first writes it to the one that last reads it."""

    device: Device
    first: int
    last: int
    size: int
    offset: int = -1

    def meets(self, other: "_Span") -> bool:
        return self.first <= other.last and other.first <= self.last


def plan_memory(graph: Graph, own: set[Storage] | None = None) -> Plan:
    """Places for all temporaries but those in `own`, which get memory of their own (results).

    Largest first, each at the lowest offset where nothing alive at the same time lies (greedy by size: Pisarchyk and
    Lee, "Efficient memory management for deep neural net inference", 2020).
    """
    spans = _spans(graph, own or set())
    placed: dict[Device, list[_Span]] = {}
    for span in sorted(set(spans.values()), key=lambda s: (-s.size, s.first)):
        others = placed.setdefault(span.device, [])
        span.offset = _gap(sorted((o for o in others if o.meets(span)), key=lambda o: o.offset), span.size)
        others.append(span)
    sizes = {device: max(s.offset + s.size for s in those) for device, those in placed.items()}
    return Plan({storage: span.offset for storage, span in spans.items()}, sizes, sum(map(_rounded, spans)))


def _spans(graph: Graph, own: set[Storage]) -> dict[Storage, _Span]:
    """The span of each temporary. One that an elementwise node makes of another that dies there shares its span."""
    last: dict[Storage, int] = {x.storage: len(graph.nodes) for x in graph.results}
    for i, node in enumerate(graph.nodes):
        for x in [*node.reads, *node.writes]:
            last[x.storage] = max(last.get(x.storage, 0), i)
    spans: dict[Storage, _Span] = {}
    for i, node in enumerate(graph.nodes):
        for x in node.writes:
            storage = x.storage
            if storage.role is Role.TEMPORARY and storage not in own and storage not in spans:
                span = _inherited(node, i, spans, last) or _Span(storage.device, i, i, _rounded(storage))
                span.last = max(span.last, last[storage])
                spans[storage] = span
    return spans


def _inherited(node: Node, at: int, spans: dict[Storage, _Span], last: dict[Storage, int]) -> _Span | None:
    """The span of an operand that ends at a node and whose very place the node's result can take."""
    result = node.writes[0]
    if node.op in _IN_PLACE and result.whole:
        for x in node.reads:
            span = spans.get(x.storage)
            alike = x.whole and x.dtype is result.dtype and x.layout == result.layout
            if span is not None and alike and span.last == last[x.storage] == at:
                return span
    return None


def _rounded(storage: Storage) -> int:
    return -(-max(storage.nbytes, 1) // ALIGNMENT) * ALIGNMENT


def _gap(busy: list[_Span], size: int) -> int:
    """The lowest offset where `size` bytes are free."""
    offset = 0
    for span in busy:
        if span.offset - offset >= size:
            return offset
        offset = max(offset, span.offset + span.size)
    return offset

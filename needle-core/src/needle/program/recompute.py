"""Computing cheap things again where they are needed again, rather than keeping them: memory for a little time.

Training keeps what the forward pass made until the backward pass reads it. Of an elementwise function or a
normalization, whose operands are kept in any case, the result need not be: making it anew costs one pass over memory.
"""

from dataclasses import replace

from needle.expression import STEPS
from needle.program.graph import Graph, Node, Operand, Storage
from needle.program.memory import alive, spans

SHARE = 0.72  # of what was alive at once when the graph was captured: how far memory is to go down
MOST = 64  # attempts
SMALLEST = 1 << 16  # bytes of a result that is worth it
_CHEAP = frozenset({*STEPS, "batch_norm", "batch_norm_relu", "layer_norm", "rms_norm", "copy"})
_DEEPEST = 3  # nodes in a row that are computed again for one result


def recompute(graph: Graph) -> Graph:
    """While more is alive at once than a share of what was when the graph was captured: of what lives through the
    fullest place without being read there, compute the largest again behind it."""
    refused: set[Storage] = set()
    for _ in range(MOST):
        sizes = alive(graph)
        most = max(sizes, default=0)
        if most <= SHARE * graph.most_alive:
            break
        search = _Search(graph, sizes.index(most))
        storage = search.largest(refused)
        if storage is None:
            break
        refused.add(storage)
        changed = search.without(storage)
        after = alive(changed)
        if (max(after), after.count(most)) < (most, sizes.count(most)):
            graph = changed
    return graph


class _Search:
    """What need not live through one place of a graph."""

    def __init__(self, graph: Graph, place: int) -> None:
        self.graph, self.place = graph, place
        self.writers, self.readers = graph.writers(), graph.readers()
        self.kept = spans(graph, {x.storage for x in graph.results})

    def largest(self, refused: set[Storage]) -> Storage | None:
        """The largest storage that is made before the place, read behind it, and could be computed again there."""
        for storage in sorted(self.kept, key=lambda s: -s.nbytes):
            if storage.nbytes < SMALLEST:
                return None
            reads = self.readers.get(storage, [])
            through = self.writers[storage][0] < self.place < max(reads, default=-1) and self.place not in reads
            if through and storage not in refused and self._again(storage, _DEEPEST) is not None:
                return storage
        return None

    def without(self, storage: Storage) -> Graph:
        """The graph in which that storage is computed again for those that read it behind the place."""
        at = self._needed(storage)
        nodes = self._again(storage, _DEEPEST) or []
        fresh = {x.storage: replace(x.storage) for node in nodes for x in node.writes}

        def renewed(x: Operand) -> Operand:
            return Operand(fresh[x.storage], x.layout, x.dtype) if x.storage in fresh else x

        def later(x: Operand) -> Operand:
            return renewed(x) if x.storage is storage else x

        before, behind = self.graph.nodes[:at], self.graph.nodes[at:]
        again = [node.mapped(renewed) for node in nodes]
        return Graph([*before, *again, *(node.mapped(later) for node in behind)], self.graph.results)

    def _needed(self, storage: Storage) -> int:
        """The first node behind the place that reads a storage."""
        return min(i for i in self.readers[storage] if i > self.place)

    def _again(self, storage: Storage, depth: int, at: int | None = None) -> list[Node] | None:
        """The nodes that make a storage once more before node `at`; None if they are not cheap, or lack something."""
        at = self._needed(storage) if at is None else at
        made = self.writers.get(storage, [])
        node = self.graph.nodes[made[0]]
        if len(made) != 1 or depth == 0 or node.op not in _CHEAP or not node.pure or not node.writes[0].whole_elements:
            return None
        found: list[Node] = []
        for x in node.reads:
            changes = self.writers.get(x.storage, [])
            if x.storage in self.kept and max(self.readers[x.storage]) < at:
                before = self._again(x.storage, depth - 1, at)
                if before is None:
                    return None
                found += before
            elif any(made[0] <= i < at for i in changes):
                return None
        return [*found, node]

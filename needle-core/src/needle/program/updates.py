"""Updates of parameters as soon as their gradients are complete, so that gradients die early."""

from needle.dispatch import dispatcher
from needle.program.graph import Graph, Node, Operand, Role, Storage, operands_in

SMALLEST = 1 << 18  # bytes of a parameter that is worth a call of its own


def early_updates(graph: Graph) -> Graph:
    """Take large parameters out of an optimizer's step, each to where its gradient has last been written and the
    parameter last been read: a gradient is then updated from while it is in the caches, and its memory is free for the
    next one. The small ones stay together, and so do those whose gradients stay anyway, as results, on devices that
    record their work: there the calls cost more than the caches give."""
    after: dict[int, list[Node]] = {}
    kept: list[tuple[int, Node]] = []
    results = {x.storage for x in graph.results}
    for at, node in enumerate(graph.nodes):
        rest = node
        if node.op in ("sgd_step", "adam_step"):
            stay = results if dispatcher(node.device).backend.implements("recording") else set()
            alone = [i for i, grad in enumerate(node.args[1]) if grad.storage not in stay and _may_leave(node, i, grad)]
            places = {i: _last_use(graph, at, _entry(node, [i])) for i in alone}
            early = [i for i in alone if places[i] < at - 1]
            for i in early:
                after.setdefault(places[i], []).append(_entry(node, [i]))
            rest = _entry(node, [i for i in range(len(node.args[0])) if i not in early])
        kept.append((at, rest))
    nodes = []
    for at, node in kept:
        if node.op not in ("sgd_step", "adam_step") or node.args[0]:
            nodes.append(node)
        nodes += after.get(at, [])
    return Graph(nodes, graph.results)


def _may_leave(node: Node, i: int, grad: Operand) -> bool:
    """Whether a parameter is large, has a gradient made here, and shares its memory with no other of the step."""
    own = _storages(_entry(node, [i]))
    others = _storages(_entry(node, [k for k in range(len(node.args[0])) if k != i]))
    return grad.nbytes >= SMALLEST and grad.storage.role is Role.TEMPORARY and not own & others


def _entry(node: Node, chosen: list[int]) -> Node:
    """The step for some of its parameters."""
    args = [[arg[i] for i in chosen] if operands_in(arg) and arg else arg for arg in node.args]
    return Node(node.op, node.device, tuple(args))


def _storages(node: Node) -> set[Storage]:
    return {x.storage for x in [*node.reads, *node.writes]}


def _last_use(graph: Graph, before: int, update: Node) -> int:
    """The last node before a place that an update must follow: one that writes what it reads, or reads what it
    writes."""
    written = {x.storage for x in update.writes}
    used = _storages(update)
    for i in range(before - 1, -1, -1):
        node = graph.nodes[i]
        if any(x.storage in used for x in node.writes) or any(x.storage in written for x in node.reads):
            return i
    return -1

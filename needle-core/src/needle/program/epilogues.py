"""Epilogues: what follows a primitive and is computed with it, while its results are still in registers.

- relu of `linear`: its activation;
- a bias after `conv2d`: `conv2d_bias`;
- relu of `batch_norm`: `batch_norm_relu`.

The last two are primitives that eager code calls by itself where no gradients are wanted, so that a replay computes the
same bits. Devices that record their work get the parts instead, for fusion with what follows (`unfolding.py`).
"""

from needle.dispatch import dispatcher
from needle.kinds import Binary, Unary
from needle.layout import Layout
from needle.program.graph import Graph, Node, Operand, Role, Storage

_TAKING = frozenset({"linear", "conv2d", "batch_norm"})  # primitives that something may be joined to


def epilogues(graph: Graph) -> Graph:
    """Compute the bias of a convolution and the relu of a linear map or batch norm where their operand is computed, if
    nothing else reads that, and the device has the primitive that does both."""
    writers, readers = graph.writers(), graph.readers()
    taking: dict[Storage, int] = {}
    kept: list[Node | None] = []
    for node in graph.nodes:
        for source in _sources(node):
            at = taking.get(source.storage)
            before = None if at is None else kept[at]
            if at is None or before is None or len(readers[source.storage]) > 1 or _written(kept[at:], before.reads):
                continue
            joined = _joined(before, node, source)
            if joined is not None:
                kept[at] = None
                node = joined
                break
        result = node.writes[0] if node.op in _TAKING else None
        if result is not None and result.storage.role is Role.TEMPORARY and len(writers[result.storage]) == 1:
            taking[result.storage] = len(kept)
        kept.append(node)
    return Graph([node for node in kept if node is not None], graph.results)


def _sources(node: Node) -> list[Operand]:
    """Those operands that the node, as an epilogue, would take out of registers."""
    if node.op == "unary" and node.args[0] is Unary.RELU:
        return [node.args[2]]
    return list(node.args[2:]) if node.op == "binary" and node.args[0] is Binary.ADD else []


def _joined(before: Node, node: Node, source: Operand) -> Node | None:
    """One node that does the work of both; None if there is none."""
    result, made = node.args[1], before.args[0]
    alike = _steps(result) == _steps(source) and result.dtype is made.dtype is source.dtype
    if not alike or not made.whole or not source.whole_elements or not result.whole_elements:
        return None
    target = Operand(result.storage, made.layout, made.dtype)
    if any(x.storage is target.storage for x in before.reads):
        return None
    if node.op == "unary" and before.op == "linear" and before.args[5] is None:
        return Node("linear", node.device, (target, *before.args[1:5], Unary.RELU))
    if node.op == "unary" and before.op == "batch_norm":
        return _offered(before, Node("batch_norm_relu", node.device, (target, *before.args[1:])))
    if node.op == "binary" and before.op == "conv2d" and source.layout.shape == made.layout.shape and source.whole:
        bias = _one_per_channel(node.args[3] if source is node.args[2] else node.args[2])
        if bias is not None and bias.dtype is made.dtype:
            image, kernel, *window = before.args[1:]
            return _offered(before, Node("conv2d_bias", node.device, (target, image, kernel, bias, *window)))
    return None


def _steps(x: Operand) -> list[tuple[int, int]]:
    """The order in which an operand lies in memory: an axis of one element has any stride."""
    return [(n, step) for n, step in zip(x.layout.shape, x.layout.strides, strict=True) if n != 1]


def _offered(before: Node, joined: Node) -> Node | None:
    """The node, if its device has that primitive for these operands and copies none of them for it."""
    backend = dispatcher(joined.device).backend
    dtypes = tuple(x.dtype for x in [*joined.writes, *joined.reads])
    if not backend.implements(joined.op) or backend.supports(joined.op, None, dtypes) is not None:
        return None
    strided = any(not x.layout.contiguous for x in before.reads)
    staged = strided and before.op in backend.strided and joined.op not in backend.strided
    return None if staged or backend.implements("recording") else joined


def _one_per_channel(x: Operand) -> Operand | None:
    """(C,) of an operand (N, H, W, C) that is one repeated for each pixel."""
    *pixels, channels = x.layout.shape
    *steps, step = x.layout.strides
    layout = Layout((channels,), (step,), x.layout.offset)
    repeated = all(n == 1 or s == 0 for n, s in zip(pixels, steps, strict=True))
    return Operand(x.storage, layout, x.dtype) if repeated and layout.contiguous else None


def _written(nodes: list[Node | None], operands: list[Operand]) -> bool:
    """Whether one of the nodes writes where one of the operands lies."""
    places = {x.storage for x in operands}
    return any(x.storage in places for node in nodes if node is not None for x in node.writes)

"""Normalization taken apart, so that fusion can put it together with its neighbours."""

from needle.dispatch import dispatcher
from needle.dtype import float32, float64
from needle.kinds import Binary, Unary
from needle.layout import Layout
from needle.program.graph import Graph, Node, Operand, Role, Storage
from needle.shape import Shape


def unfold_norms(graph: Graph) -> Graph:
    """batch_norm with known statistics as elementwise nodes, on devices that record their work: there each pass over
    memory is a launch, and the bias before and the activation after then take none of their own."""
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _unfolded(node) if _fits(node) else [node]
    return Graph(nodes, graph.results)


def _fits(node: Node) -> bool:
    if node.op != "batch_norm" or node.args[0].dtype not in (float32, float64):
        return False
    backend = dispatcher(node.device).backend
    return backend.implements("record") and backend.implements("elementwise") and "elementwise" in backend.strided


def _unfolded(node: Node) -> list[Node]:
    dst, x, weight, bias, mean, var, eps = node.args
    shape, channels = x.layout.shape, x.layout.shape[-1:]
    stable, root, scale = (_made(node, x, channels) for _ in range(3))
    centred, scaled = _made(node, x, shape), _made(node, x, shape)

    def binary(kind: Binary, to: Operand, a: Operand, b: Operand) -> Node:
        return Node("binary", node.device, (kind, to, a, b))

    return [
        Node("binary_scalar", node.device, (Binary.ADD, stable, var, eps, False)),
        Node("unary", node.device, (Unary.RSQRT, root, stable)),
        binary(Binary.MUL, scale, root, weight),
        binary(Binary.SUB, centred, x, _repeated(mean, shape)),
        binary(Binary.MUL, scaled, centred, _repeated(scale, shape)),
        binary(Binary.ADD, dst, scaled, _repeated(bias, shape)),
    ]


def _made(node: Node, like: Operand, shape: Shape) -> Operand:
    layout = Layout.compact(shape)
    storage = Storage(Role.TEMPORARY, node.device, layout.size * like.dtype.itemsize)
    return Operand(storage, layout, like.dtype)


def _repeated(x: Operand, shape: Shape) -> Operand:
    """(C,) for each element of (..., C)."""
    return Operand(x.storage, x.layout.broadcast_to(shape), x.dtype)

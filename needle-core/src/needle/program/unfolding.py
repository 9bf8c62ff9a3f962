"""Fused primitives taken apart, so that fusion can put their elementwise parts together with their neighbours."""

from collections.abc import Callable

from needle.dispatch import dispatcher
from needle.dtype import float32, float64
from needle.kinds import Binary, Unary
from needle.layout import Layout
from needle.program.graph import Graph, Node, Operand, Role, Storage
from needle.shape import Shape


def unfold(graph: Graph) -> Graph:
    """batch_norm with known statistics and the bias of convolutions as elementwise nodes, on devices that record their
    work: there each pass over memory is a launch, and with the activation after them they become one."""
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _UNFOLDED[node.op](node) if node.op in _UNFOLDED and _fits(node) else [node]
    return Graph(nodes, graph.results)


def _fits(node: Node) -> bool:
    backend = dispatcher(node.device).backend
    fuses = backend.implements("elementwise") and "elementwise" in backend.strided
    return fuses and backend.implements("recording") and node.args[0].dtype in (float32, float64)


def _batch_norm(node: Node) -> list[Node]:
    dst, x, weight, bias, mean, var, eps = node.args
    shape, channels = x.layout.shape, x.layout.shape[-1:]
    stable, root, scale = (_made(node, x, channels) for _ in range(3))
    centred, scaled = _made(node, x, shape), _made(node, x, shape)
    return [
        Node("binary_scalar", node.device, (Binary.ADD, stable, var, eps, False)),
        Node("unary", node.device, (Unary.RSQRT, root, stable)),
        _binary(node, Binary.MUL, scale, root, weight),
        _binary(node, Binary.SUB, centred, x, _repeated(mean, shape)),
        _binary(node, Binary.MUL, scaled, centred, _repeated(scale, shape)),
        _binary(node, Binary.ADD, dst, scaled, _repeated(bias, shape)),
    ]


def _conv2d_bias(node: Node) -> list[Node]:
    dst, x, w, bias, *window = node.args
    shape = dst.layout.shape
    plain = _made(node, dst, shape)
    return [
        Node("conv2d", node.device, (plain, x, w, *window)),
        _binary(node, Binary.ADD, dst, plain, _repeated(bias, shape)),
    ]


_UNFOLDED: dict[str, Callable[[Node], list[Node]]] = {"batch_norm": _batch_norm, "conv2d_bias": _conv2d_bias}


def _binary(node: Node, kind: Binary, to: Operand, a: Operand, b: Operand) -> Node:
    return Node("binary", node.device, (kind, to, a, b))


def _made(node: Node, like: Operand, shape: Shape) -> Operand:
    layout = Layout.compact(shape)
    storage = Storage(Role.TEMPORARY, node.device, layout.size * like.dtype.itemsize)
    return Operand(storage, layout, like.dtype)


def _repeated(x: Operand, shape: Shape) -> Operand:
    """(C,) for each element of (..., C)."""
    return Operand(x.storage, x.layout.broadcast_to(shape), x.dtype)

"""Drawings of graphs of primitives: a box for each node and for what comes from outside."""

from pathlib import Path

from needle import drawing
from needle.drawing import Box, Picture
from needle.drawing import Role as BoxRole
from needle.program.graph import Graph, Node, Operand, Role, Storage

_LOOKS = {Role.INPUT: BoxRole.LEAF, Role.STATE: BoxRole.LEAF, Role.CONSTANT: BoxRole.CONSTANT}


def picture(graph: Graph) -> Picture:
    """The graph as boxes and arrows: what each node computes, and who wrote what it reads."""
    boxes: list[Box] = []
    arrows: list[tuple[int, int]] = []
    source: dict[Storage, int] = {}  # the box that wrote a storage last, or stands for it
    for node in graph.nodes:
        for x in node.reads:
            if x.storage not in source and x.storage.role is not Role.TEMPORARY:
                boxes.append(_outside(x))
                source[x.storage] = len(boxes) - 1
        boxes.append(_box(node))
        at = len(boxes) - 1
        arrows += [(source[s], at) for s in dict.fromkeys(x.storage for x in node.reads) if s in source]
        source.update(dict.fromkeys((x.storage for x in node.writes), at))
    for number, x in enumerate(graph.results):
        if x.storage in source:
            boxes.append(Box(f"result {number}", f"{x.layout.shape} {x.dtype}", BoxRole.LEAF))
            arrows.append((source[x.storage], len(boxes) - 1))
    return Picture(boxes, arrows)


def draw(graph: Graph, path: str | Path) -> None:
    """Write a graph as .svg or .dot; if Graphviz is installed also as .png, .pdf and others."""
    drawing.save(picture(graph), Path(path))


def _outside(x: Operand) -> Box:
    return Box(x.storage.role.value, f"{x.layout.shape} {x.dtype}", _LOOKS[x.storage.role], f"on {x.storage.device}")


def _box(node: Node) -> Box:
    parameters = [str(arg) for arg in node.args if not isinstance(arg, Operand | list)]
    results = ", ".join(f"{x.layout.shape} {x.dtype}" for x in node.writes[:2])
    more = f" and {len(node.writes) - 2} more" if len(node.writes) > 2 else ""
    return Box(node.name, results + more, BoxRole.OP, f"{node.name}({', '.join(parameters)}): {node.nbytes:,} bytes")

"""Node: how a tensor came about. A graph is what hangs behind a tensor; it exists while gradients are wanted.

`draw(loss, "graph.svg")` shows it, and `with watch() as seen: loss.backward()` also the norms of its gradients.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from needle import drawing
from needle.device import Device
from needle.drawing import Box, Picture, Role
from needle.dtype import DType
from needle.errors import GraphError
from needle.op import Op, Spec
from needle.ops.parts import Pieces
from needle.shape import Shape

if TYPE_CHECKING:
    from needle.ndarray import NDArray
    from needle.tensor import Tensor

# Where a gradient goes on from a node's input: into the node that made it, into a leaf's `.grad`, or nowhere.
Parent: TypeAlias = "Node | Tensor | None"


class Node:
    """An op, where its inputs' gradients go, and the values that its gradient rule reads."""

    __slots__ = ("__weakref__", "device", "dtype", "inputs", "op", "parents", "result", "shape")

    op: Op
    parents: "tuple[Parent, ...]"
    inputs: "tuple[NDArray | Spec, ...]"
    result: "NDArray | Spec"
    shape: Shape
    dtype: DType
    device: Device

    def __init__(self, op: Op, parents: "tuple[Parent, ...]", inputs: "tuple[NDArray, ...]", result: "NDArray") -> None:
        self.op = op
        self.parents = parents
        reads, layout, dtype, device = op.reads, result.layout, result.dtype, result.device
        spec = Spec(layout.shape, dtype, device)
        self.result = result if "y" in reads else spec
        kept: list[NDArray | Spec] = []
        for i, x in enumerate(inputs):
            if i in reads:
                kept.append(x)
            elif x.layout is layout and x.dtype is dtype and x.device is device:
                kept.append(spec)
            else:
                kept.append(Spec(x.layout.shape, x.dtype, x.device))
        self.inputs = tuple(kept)

    @property
    def released(self) -> bool:
        """Whether a backward pass has freed what the gradient rule reads."""
        return not self.inputs

    def release(self) -> None:
        """Let go of what is kept; the node can then be passed no more."""
        self.inputs = self.parents = ()
        if type(self.result) is not Spec:
            self.result = Spec(self.result.shape, self.result.dtype, self.result.device)


def topological_order(root: Node) -> list[Node]:
    """Every node behind `root`, each after all those that it was computed from (post-order, depth first)."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, Iterator[Parent]]] = [(root, iter(root.parents))]
    seen.add(root)
    while stack:
        node, parents = stack[-1]
        for parent in parents:
            if type(parent) is Node and parent not in seen:
                seen.add(parent)
                stack.append((parent, iter(parent.parents)))
                break
        else:
            order.append(node)
            stack.pop()
    return order


_recording: ContextVar[bool] = ContextVar("needle_recording", default=True)


def is_grad_enabled() -> bool:
    """Whether ops on tensors that require gradients are recorded."""
    return _recording.get()


@contextlib.contextmanager
def _set_recording(enabled: bool) -> Iterator[None]:
    token = _recording.set(enabled)
    try:
        yield
    finally:
        _recording.reset(token)


def no_grad() -> contextlib.AbstractContextManager[None]:
    """`with needle.no_grad():` nothing is recorded, and no memory is kept for a backward pass. Also a decorator."""
    return _set_recording(False)


def enable_grad() -> contextlib.AbstractContextManager[None]:
    """The opposite, inside `no_grad`."""
    return _set_recording(True)


# Drawings.


def draw(tensor: "Tensor", path: str | PathLike[str], names: "Mapping[str, Tensor] | None" = None) -> None:
    """Write the graph behind a tensor as .svg or .dot; if Graphviz is installed also as .png, .pdf and others.

    `names` are written into the leaves, as in `names=dict(model.named_parameters())`.
    """
    drawing.save(picture(tensor, names), Path(path))


def to_dot(tensor: "Tensor", names: "Mapping[str, Tensor] | None" = None) -> str:
    """The graph behind a tensor in Graphviz's language."""
    return drawing.to_dot(picture(tensor, names))


def to_svg(tensor: "Tensor", names: "Mapping[str, Tensor] | None" = None) -> str:
    """The graph behind a tensor as SVG."""
    return drawing.to_svg(picture(tensor, names))


def picture(tensor: "Tensor", names: "Mapping[str, Tensor] | None" = None) -> Picture:
    """The graph behind a tensor as boxes and arrows, with the norm of each leaf's `.grad`."""
    own = getattr(tensor, "picture", None)
    if own is not None:  # the course's Tensor, whose graph is another
        drawn: Picture = own(names or {})
        return drawn
    if tensor.node is None:
        raise GraphError("draw: no graph behind this tensor; compute it from tensors with requires_grad=True")
    if tensor.node.released:
        raise GraphError(
            "draw: backward has freed the graph; draw it before, or watch: "
            "`with needle.graph.watch() as seen: loss.backward()`, then seen.save(path)"
        )
    sketch = _Sketch(tensor.node, names or {})
    for part in sketch.places:
        if not isinstance(part, Node) and part.grad is not None:
            sketch.squares[part] = sum_of_squares(part.grad)
    return sketch.picture()


class _Sketch:
    """Boxes and arrows of a graph while the sums of its squared gradients are gathered, on their devices."""

    def __init__(self, root: Node, names: "Mapping[str, Tensor]") -> None:
        self.boxes: list[Box] = []
        self.arrows: list[tuple[int, int]] = []
        self.places: dict[Node | Tensor, int] = {}  # what can have a gradient, and its box
        self.squares: dict[Node | Tensor, Any] = {}
        titles, constants = {id(tensor): name for name, tensor in names.items()}, dict[int, int]()
        for node in topological_order(root):
            sources = []
            for parent, value in zip(node.parents, node.inputs, strict=True):
                if parent is None:
                    known = constants.setdefault(id(value), len(self.boxes))
                    sources.append(known if known < len(self.boxes) else self._add("data", value, Role.CONSTANT))
                elif parent not in self.places:
                    leaf = self._add(titles.get(id(parent), "leaf"), parent, Role.LEAF)
                    sources.append(self.places.setdefault(parent, leaf))
                else:
                    sources.append(self.places[parent])
            self.places[node] = self._add(node.op.name, node.result, Role.OP, tip=repr(node.op))
            self.arrows += [(source, self.places[node]) for source in dict.fromkeys(sources)]

    def _add(self, title: str, value: Any, role: Role, tip: str = "") -> int:
        self.boxes.append(Box(title, f"{value.shape} {value.dtype}", role, tip or f"{title} on {value.device}"))
        return len(self.boxes) - 1

    def picture(self, **limits: float) -> Picture:
        """What is known so far."""
        norms = {self.places[key]: float(square.item()) ** 0.5 for key, square in self.squares.items()}
        boxes = [
            Box(box.title, box.detail, box.role, box.tip, norms.get(number)) for number, box in enumerate(self.boxes)
        ]
        return Picture(boxes, self.arrows, **limits)


def sum_of_squares(g: Any) -> Any:
    """The sum of squares of a gradient, an NDArray or a Tensor, or Pieces of one; half types in float32."""
    if isinstance(g, Pieces):
        return sum(sum_of_squares(piece) for piece in g.values())
    array = getattr(g, "array", g)
    wide = array.astype("float32") if array.dtype.itemsize < 4 else array
    return wide.square().sum()


class Watch:
    """The last backward pass under `watch`: what it went through, with the norm of each gradient."""

    def __init__(self, names: "Mapping[str, Tensor]", vanishing: float, exploding: float) -> None:
        self.names, self.vanishing, self.exploding = names, vanishing, exploding
        self.sketch: Any = None  # a _Sketch, or that of the course's graph

    def begin(self, root: Node) -> None:
        """A backward pass begins here."""
        self.sketch = _Sketch(root, self.names)

    def note(self, at: Parent, g: Any) -> None:
        """A gradient is known."""
        if self.sketch is not None and at in self.sketch.places:
            self.sketch.squares[at] = sum_of_squares(g)

    @property
    def picture(self) -> Picture:
        if self.sketch is None:
            raise GraphError("watch: there was no backward pass; call loss.backward() inside `with watch() as seen:`")
        drawn: Picture = self.sketch.picture(vanishing=self.vanishing, exploding=self.exploding)
        return drawn

    def to_dot(self) -> str:
        return drawing.to_dot(self.picture)

    def to_svg(self) -> str:
        return drawing.to_svg(self.picture)

    def save(self, path: str | PathLike[str]) -> None:
        """Write .svg or .dot; if Graphviz is installed also .png, .pdf and others."""
        drawing.save(self.picture, Path(path))

    def _repr_svg_(self) -> str:  # notebooks show it
        return self.to_svg()


_watch: ContextVar[Watch | None] = ContextVar("needle_watch", default=None)


def watching() -> Watch | None:
    """Who is to be told of a backward pass."""
    return _watch.get()


@contextlib.contextmanager
def watch(
    names: "Mapping[str, Tensor] | None" = None, *, vanishing: float = 1e-5, exploding: float = 1e3
) -> Iterator[Watch]:
    """Note the gradients of backward passes, to be drawn: norms below and above the limits are coloured."""
    seen = Watch(names or {}, vanishing, exploding)
    token = _watch.set(seen)
    try:
        yield seen
    finally:
        _watch.reset(token)

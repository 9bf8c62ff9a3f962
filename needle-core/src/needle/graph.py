"""Node: how a tensor came about. A graph is what hangs behind a tensor; it exists while gradients are wanted."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from needle.device import Device
from needle.dtype import DType
from needle.op import Op, Spec
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
        reads = op.reads
        self.inputs = tuple(
            [x if i in reads else Spec(x.layout.shape, x.dtype, x.device) for i, x in enumerate(inputs)]
        )
        self.result = result if "y" in reads else Spec(result.layout.shape, result.dtype, result.device)

    @property
    def released(self) -> bool:
        """Whether a backward pass has freed what the gradient rule reads."""
        return not self.inputs

    def release(self) -> None:
        """Let go of what is kept; the node can then be passed no more."""
        self.inputs = self.parents = ()
        self.result = Spec((), self.result.dtype, self.result.device)


def topological_order(root: Node) -> list[Node]:
    """Every node behind `root`, each after all those that it was computed from (post-order, depth first)."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, Iterator[Parent]]] = [(root, iter(root.parents))]
    seen.add(root)
    while stack:
        node, parents = stack[-1]
        for parent in parents:
            if isinstance(parent, Node) and parent not in seen:
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

"""Reverse mode: cotangents travel from a result back to what it was computed from.

The ordinary pass runs gradient rules on NDArrays: nothing is recorded, and what a node holds is freed as soon as it
has been used. With `create_graph` the same rules run on Tensors, which records them, so that the gradients can be
differentiated again. The two differ only in `wrap`, which makes the value that a rule is given.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, TypeAlias

from needle import course
from needle.errors import GraphError
from needle.graph import Node, Parent, topological_order, watching
from needle.op import Spec

Wrap: TypeAlias = Callable[[Any, Parent], Any]

# Where the names of the course's module `needle.autograd` are. The last are of its own face alone.
_SELECTED = ("Device", "NDArray", "all_devices", "array_api", "cpu", "default_device")
_COURSE = {
    **dict.fromkeys(_SELECTED, "needle.backend_selection"),
    **dict.fromkeys(("Op", "TensorOp", "TensorTupleOp"), "needle.course_op"),
    "Tensor": "needle.face",
    "TensorTuple": "needle.course_tensor" if course.ENABLED else "needle.course_op",
}
if course.ENABLED:
    LAZY_MODE = False  # compute a value when it is asked for, not when it is made
    TENSOR_COUNTER = 0  # how many Values live
    _COURSE |= dict.fromkeys(("Value", "compute_gradient_of_variables", "find_topo_sort"), "needle.course_autograd")
    _COURSE |= dict.fromkeys(("topo_sort_dfs", "sum_node_list"), "needle.course_autograd")


def __getattr__(name: str) -> Any:
    """The course's names, from modules that stand above this one."""
    if name not in _COURSE:
        raise AttributeError(f"module 'needle.autograd' has no attribute '{name}' (or only under NEEDLE_COURSE=1)")
    return getattr(import_module(_COURSE[name]), name)


def propagate(
    root: Node, cotangent: Any, *, keep: bool, wrap: Wrap | None, wanted: Iterable[Any] = ()
) -> dict[Any, Any]:
    """The cotangents of all leaves behind `root`, or of the nodes and leaves in `wanted` alone.

    `keep` leaves the graph as it was for another pass.
    """
    targets = set(wanted)
    order = topological_order(root)
    useful = _leading_to(targets, order) if targets else None
    cotangents: dict[Any, Any] = {root: cotangent}
    found: dict[Any, Any] = {}
    watch = watching()
    if watch is not None:
        watch.begin(root)
    for node in reversed(order):
        g = cotangents.pop(node, None)
        if g is None:
            continue
        if watch is not None:
            watch.note(node, g)
        if node in targets:
            found[node] = g
        if useful is not None and node not in useful:
            continue
        if node.released:
            raise _freed(node)
        rule = node.op.vjp(g, node.result, *node.inputs) if wrap is None else _recorded_rule(node, g, wrap)
        for parent, entry in zip(node.parents, rule, strict=True):
            if parent is None or entry is None:
                continue
            if useful is not None and parent not in useful and parent not in targets:
                continue
            value = entry() if callable(entry) else entry
            into = cotangents if type(parent) is Node else found
            before = into.get(parent)
            into[parent] = value if before is None else before + value
        if not keep:
            node.release()
    if watch is not None:
        for leaf, g in found.items():
            watch.note(leaf, g)
    return found


def _recorded_rule(node: Node, g: Any, wrap: Wrap) -> tuple[Any, ...]:
    """The cotangents of a node's inputs, by its op's rule on Tensors."""
    inputs = [x if isinstance(x, Spec) else wrap(x, p) for x, p in zip(node.inputs, node.parents, strict=True)]
    result = node.result if isinstance(node.result, Spec) else wrap(node.result, node)
    return node.op.vjp(g, result, *inputs)


def _leading_to(targets: set[Any], order: list[Node]) -> set[Node]:
    """The nodes that have a target among what they were computed from."""
    leading: set[Node] = set()
    for node in order:
        if any(parent in targets or parent in leading for parent in node.parents if parent is not None):
            leading.add(node)
    return leading


def _freed(node: Node) -> GraphError:
    return GraphError(
        f"backward: the graph behind {node.op.name} was freed by an earlier backward pass; "
        "pass retain_graph=True to that one"
    )

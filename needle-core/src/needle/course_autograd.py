"""The course's graph: values with an op and inputs, their order, and gradients that are values of the graph again."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any, Self

import numpy as np

from needle import autograd, course
from needle.course_op import Op
from needle.graph import is_grad_enabled


class Value:
    """A node of the graph: `op` of `inputs`, or a leaf, whose op is None."""

    op: Op | None
    inputs: Sequence[Any]
    num_outputs: int
    cached_data: Any
    requires_grad: bool
    grad: Any

    def _init(
        self, op: Op | None, inputs: Sequence[Any], *, cached_data: Any = None, requires_grad: bool | None = None
    ) -> None:
        autograd.TENSOR_COUNTER += 1
        self.op, self.inputs, self.num_outputs = op, inputs, 1
        self.cached_data, self.grad = cached_data, None
        self.requires_grad = any(x.requires_grad for x in inputs) if requires_grad is None else requires_grad

    def __del__(self) -> None:
        if hasattr(self, "op"):  # else the constructor raised
            autograd.TENSOR_COUNTER -= 1

    @classmethod
    def make_const(cls, data: Any, *, requires_grad: bool = False) -> Self:
        """A leaf that holds `data` itself."""
        value = cls.__new__(cls)
        value._init(None, [], cached_data=data, requires_grad=requires_grad)
        return value

    @classmethod
    def make_from_op(cls, op: Op, inputs: Sequence[Any]) -> Self:
        """The value of an op; a detached constant if nothing wants a gradient."""
        value = cls.__new__(cls)
        value._init(op, list(inputs))
        if autograd.LAZY_MODE:
            return value
        if not (value.requires_grad and is_grad_enabled()):
            return cls.make_const(value.realize_cached_data())
        value.realize_cached_data()
        return value

    def realize_cached_data(self) -> Any:
        """What lies in the value, computed if it has not been."""
        if self.cached_data is None and self.op is not None:
            result = self.op.compute(*[x.realize_cached_data() for x in self.inputs])
            self.cached_data = np.asarray(result) if course.NUMPY and not isinstance(result, tuple) else result
        return self.cached_data

    def is_leaf(self) -> bool:
        """Whether no op made it."""
        return self.op is None


def find_topo_sort(node_list: Sequence[Value]) -> list[Value]:
    """All nodes behind some, each after its inputs: post-order, depth first, inputs from left to right."""
    visited: set[Value] = set()
    order: list[Value] = []
    for node in node_list:
        topo_sort_dfs(node, visited, order)
    return order


def topo_sort_dfs(node: Value, visited: set[Value], topo_order: list[Value]) -> None:
    """Append what `node` depends on and was not visited yet, then the node. Without recursion: graphs are deep."""
    if node in visited:
        return
    visited.add(node)
    stack: list[tuple[Value, Iterator[Value]]] = [(node, iter(node.inputs))]
    while stack:
        current, inputs = stack[-1]
        for below in inputs:
            if below not in visited:
                visited.add(below)
                stack.append((below, iter(below.inputs)))
                break
        else:
            topo_order.append(current)
            stack.pop()


def compute_gradient_of_variables(output_tensor: Any, out_grad: Any) -> None:
    """Set the `grad` of every value behind the output, given that of the output."""
    parts: dict[Value, list[Any]] = {output_tensor: [out_grad]}
    for node in reversed(find_topo_sort([output_tensor])):
        grads = parts.pop(node, None)
        if grads is None:
            continue
        grad = sum_node_list(grads)
        node.grad = grad
        if node.op is None:
            continue
        for below, g in zip(node.inputs, node.op.gradient_as_tuple(grad, node), strict=True):
            if g is not None:
                parts.setdefault(below, []).append(g)


def sum_node_list(node_list: Sequence[Any]) -> Any:
    """The sum of values, without a zero to start from."""
    return reduce(add, node_list)

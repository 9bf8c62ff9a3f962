"""The graph: values, their order, gradients that are values, ops of one's own, and what lives."""

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checks import assert_same, check_gradient, tensors

import needle as ndl
from needle.autograd import (
    Op,
    TensorOp,
    TensorTupleOp,
    Value,
    compute_gradient_of_variables,
    find_topo_sort,
    sum_node_list,
    topo_sort_dfs,
)
from needle.errors import GraphError


def names(nodes: list[Any]) -> list[str]:
    return [type(node.op).__name__ if node.op else "leaf" for node in nodes]


def test_order_is_post_order_depth_first() -> None:
    a, b = ndl.Tensor([2.0]), ndl.Tensor([5.0])
    c = 3 * a * a + 4 * b * a - a
    order = find_topo_sort([c])
    assert names(order) == [
        "leaf", "MulScalar", "EWiseMul", "leaf", "MulScalar", "EWiseMul", "EWiseAdd", "Negate", "EWiseAdd",
    ]  # fmt: skip
    values = [2, 6, 12, 5, 20, 40, 52, -2, 50]
    assert_same([float(node.numpy().item()) for node in order], values)


def test_order_of_several_nodes_and_shared_ones() -> None:
    a, b = tensors((2,), (2,))
    x = a * b
    y, z = x + b, ndl.exp(x)
    assert find_topo_sort([y, z]) == [a, b, x, y, z]
    assert find_topo_sort([z, y]) == [a, b, x, z, y]
    order: list[Any] = []
    visited: set[Any] = set()
    topo_sort_dfs(x, visited, order)
    topo_sort_dfs(y, visited, order)
    assert order == [a, b, x, y]


def test_deep_graphs_need_no_recursion() -> None:
    x = y = ndl.Tensor([1.0])
    for _ in range(5000):
        y = y + 1.0
    assert len(find_topo_sort([y])) == 5001
    y.backward()
    assert_same(x.grad.numpy(), [1.0])
    del x, y


def test_subtraction_is_two_nodes() -> None:
    a, b = tensors((2,), (2,))
    c = a - b
    assert isinstance(c.op, ndl.ops.EWiseAdd)
    assert c.inputs[0] is a
    assert isinstance(c.inputs[1].op, ndl.ops.Negate)
    assert isinstance((a - 1).op, ndl.ops.AddScalar)


def test_values() -> None:
    a = ndl.Tensor([1.0])
    b = a + 1
    assert isinstance(a, Value)
    assert a.is_leaf()
    assert not b.is_leaf()
    assert a.op is None
    assert list(a.inputs) == []
    assert list(b.inputs) == [a]
    assert b.num_outputs == 1
    assert a.requires_grad
    assert b.requires_grad
    assert b.cached_data is b.realize_cached_data()


def test_what_needs_no_gradient_has_no_graph() -> None:
    a, b = ndl.Tensor([1.0], requires_grad=False), ndl.Tensor([2.0], requires_grad=False)
    c = a * b + 1
    assert c.op is None
    assert list(c.inputs) == []
    assert not c.requires_grad
    assert (c + ndl.Tensor([1.0])).requires_grad
    with ndl.no_grad():
        assert (ndl.Tensor([1.0]) * 2).op is None


def test_constants() -> None:
    data = ndl.Tensor([1.0, 2.0]).cached_data
    constant = ndl.Tensor.make_const(data)
    assert constant.cached_data is data
    assert not constant.requires_grad
    assert ndl.Tensor.make_const(data, requires_grad=True).requires_grad
    made = ndl.Tensor.make_from_op(ndl.ops.AddScalar(1), [ndl.Tensor([1.0])])
    assert_same(made.numpy(), [2.0])


def test_grad_is_overwritten() -> None:
    x = ndl.Tensor([3.0])
    y = x * x
    y.backward()
    y.backward()
    assert_same(x.grad.numpy(), [6.0])
    (x * 2).backward()
    assert_same(x.grad.numpy(), [2.0])


def test_backward_starts_from_ones_or_from_what_is_given() -> None:
    x = ndl.Tensor(np.ones((2, 3)))
    (x * 2).backward()
    assert_same(x.grad.numpy(), np.full((2, 3), 2.0))
    weights = np.arange(6.0).reshape(2, 3)
    (x * 2).backward(ndl.Tensor(weights))
    assert_same(x.grad.numpy(), 2 * weights)


def test_every_value_gets_its_gradient() -> None:
    x = ndl.Tensor([2.0])
    y = x * 3
    z = y * y
    z.backward()
    assert_same(z.grad.numpy(), [1.0])
    assert_same(y.grad.numpy(), [12.0])
    assert_same(x.grad.numpy(), [36.0])


def test_gradients_are_values_of_the_graph() -> None:
    x, y = ndl.Tensor([6.0]), ndl.Tensor([0.0])
    (x * x + x * y).backward()
    first, other = x.grad, y.grad
    assert_same(first.numpy(), [12.0])
    assert_same(other.numpy(), [6.0])
    first.backward()
    assert_same(x.grad.numpy(), [2.0])
    assert_same(y.grad.numpy(), [1.0])
    (first * first).backward()
    assert_same(x.grad.numpy(), [48.0])


def test_third_derivative() -> None:
    x = ndl.Tensor([2.0])
    y = x**4
    for expected in (32.0, 48.0, 48.0):
        y.backward()
        y = x.grad
        assert_same(y.numpy(), [expected])


def test_compute_gradient_of_variables() -> None:
    a, b = tensors((3, 2), (2, 4))
    c = a @ b
    compute_gradient_of_variables(c, ndl.Tensor(np.ones((3, 4))))
    assert_same(a.grad.numpy(), np.ones((3, 4)) @ b.numpy().T)
    assert_same(b.grad.numpy(), a.numpy().T @ np.ones((3, 4)))
    assert isinstance(a.grad, ndl.Tensor)


def test_sum_node_list_adds_no_zero() -> None:
    a, b, c = tensors((2,), (2,), (2,))
    total = sum_node_list([a, b, c])
    assert names(find_topo_sort([total])) == ["leaf", "leaf", "EWiseAdd", "leaf", "EWiseAdd"]
    assert sum_node_list([a]) is a


class Polynomial(TensorOp):
    """x**2 * c, from arrays alone: an op that a user writes."""

    def __init__(self, c: float) -> None:
        self.c = c

    def compute(self, x: Any) -> Any:
        return x * x * self.c

    def gradient(self, out_grad: Any, node: Any) -> Any:
        (x,) = node.inputs
        return out_grad * x * (2 * self.c)


class Swapped(TensorTupleOp):
    """(b, a)."""

    def compute(self, a: Any, b: Any) -> Any:
        return b, a

    def gradient(self, out_grad: Any, node: Any) -> Any:
        return out_grad[1], out_grad[0]


class ByMask(TensorOp):
    """A step whose gradient reads the data, and is a constant."""

    def compute(self, x: Any) -> Any:
        return ndl.array_api.maximum(x, 1.0)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        mask = node.inputs[0].realize_cached_data() > 1.0
        return (out_grad * ndl.Tensor(mask, dtype="float32", requires_grad=False),)


def test_ops_of_one_s_own() -> None:
    (x,) = tensors((2, 3))
    y = Polynomial(3.0)(x)
    assert isinstance(y.op, Op)
    assert_same(y.numpy(), x.numpy() ** 2 * 3)
    check_gradient(lambda x: Polynomial(3.0)(x), x)
    (grad,) = y.op.gradient_as_tuple(ndl.Tensor(np.ones((2, 3))), y)
    assert_same(grad.numpy(), 6 * x.numpy())
    check_gradient(ByMask(), ndl.Tensor([0.5, 0.9, 1.5]))
    a, b = tensors((2,), (2,))
    swapped = Swapped()(a, b)
    (swapped[0] * 2 + swapped[1] * 3).sum().backward()
    assert_same(a.grad.numpy(), [3, 3])
    assert_same(b.grad.numpy(), [2, 2])


def test_an_op_without_a_rule_says_so() -> None:
    class Bare(TensorOp):
        pass

    with pytest.raises(NotImplementedError, match="Bare has no compute"):
        Bare()(ndl.Tensor([1.0]))


def counted() -> int:
    gc.collect()
    return ndl.autograd.TENSOR_COUNTER


def test_the_counter_counts_what_lives() -> None:
    before = counted()
    a = ndl.Tensor([1.0])
    assert counted() == before + 1
    b = a * 2 + 1
    assert counted() == before + 3
    t = ndl.make_tuple(a, b)
    assert counted() == before + 4
    del b, t
    assert counted() == before + 1
    with pytest.raises(ValueError, match="inhomogeneous"):
        ndl.Tensor([[1.0], [1.0, 2.0]])
    del a
    assert counted() == before


def test_a_graph_dies_with_its_gradients() -> None:
    before = counted()
    x = ndl.Tensor(np.ones((3, 3)))
    for _ in range(3):
        ((x @ x).sum() * 2).backward()
    del x
    assert counted() == before


def test_lazy_mode_computes_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndl.autograd, "LAZY_MODE", True)
    x = ndl.Tensor([1.0, 2.0])
    y = x * 2 + 1
    assert y.cached_data is None
    assert y.numpy().tolist() == [3.0, 5.0]
    assert y.cached_data is not None
    y.backward()
    assert x.grad.numpy().tolist() == [2.0, 2.0]


@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_leaves(how: Callable[[Any], Any]) -> None:
    x = ndl.Tensor([1.0, 2.0])
    (x * x).backward()
    before = counted()
    found = how(x)
    assert counted() == before + 2  # it and its gradient
    assert found.requires_grad
    assert found.grad.numpy().tolist() == [2.0, 4.0]
    assert found.grad.is_leaf()
    found.realize_cached_data().flat[0] += 4
    assert x.numpy().tolist() == [1.0, 2.0]
    del found
    assert counted() == before
    with pytest.raises(GraphError, match="copy: this tensor was computed"):
        how(x * 2)


def test_other_names() -> None:
    for name in ("Device", "NDArray", "array_api", "cpu", "default_device", "all_devices"):
        assert getattr(ndl.autograd, name) is getattr(ndl, name)
    assert ndl.autograd.LAZY_MODE is False
    assert ndl.autograd.Tensor is ndl.Tensor
    assert ndl.autograd.TensorTuple is ndl.TensorTuple is ndl.ops.TensorTuple
    for name in ndl.course_ops.__all__:
        assert getattr(ndl.ops, name) is getattr(ndl.course_ops, name)
        assert hasattr(ndl, name)

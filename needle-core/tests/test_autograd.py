"""The engine: accumulation, order, freeing, higher derivatives, transforms. Rules of ops are in conformance."""

import gc
import weakref

import numpy as np
import pytest

import needle as ndl
from needle.errors import DTypeError, GraphError, ShapeError
from needle.graph import topological_order


def leaf(values, **options):
    return ndl.tensor(values, device="numpy", requires_grad=True, **options)


def test_gradients_accumulate_until_cleared():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (x * 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [5, 7])
    x.grad = None
    x.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1])


def test_a_tensor_used_twice_gets_both_gradients():
    x = leaf(3.0)
    y = x * x
    (y + y * x).backward()
    assert x.grad.item() == 2 * 3 + 3 * 9


def test_a_diamond_visits_each_node_once():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60


def test_deep_graphs_do_not_overflow_the_stack():
    x = leaf(0.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0


def test_broadcast_gradients_are_summed_back():
    a, b = leaf(np.ones((3, 1))), leaf(np.ones(4))
    (a * b * 2.0).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.full((3, 1), 8))
    np.testing.assert_array_equal(b.grad.numpy(), np.full(4, 6))
    assert a.grad.shape == (3, 1)


def test_only_what_requires_gradients_gets_them():
    x, c = leaf([1.0]), ndl.tensor([2.0], device="numpy")
    y = x * c
    y.sum().backward()
    assert c.grad is None
    assert y.grad is None
    assert not c.requires_grad


def test_no_grad_records_nothing_and_restores():
    x = leaf([1.0])
    with ndl.no_grad():
        y = x * 2.0
        with ndl.enable_grad():
            assert (x * 2.0).requires_grad
    assert not y.requires_grad
    assert (x * 2.0).requires_grad

    @ndl.no_grad()
    def silent():
        return x * 2.0

    assert not silent().requires_grad
    assert not silent().requires_grad


def test_first_gradients_own_their_memory():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (a + b).sum().backward()
    a.grad.array.assign(9.0)
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1])


def test_the_graph_is_freed_as_it_is_walked():
    x = leaf(np.ones(1000))
    y = x.exp()
    kept = weakref.ref(y.node)
    z = y * 2.0
    del y
    z.sum().backward()
    gc.collect()
    assert kept() is None or kept().released


def test_values_that_no_rule_reads_are_not_held():
    x = leaf(np.ones(1000))
    y = x * 2.0
    held = weakref.ref(y.array)
    z = y + 1.0  # reads neither operand
    del y
    gc.collect()
    assert held() is None
    z.sum().backward()


def test_linear_and_relu_keep_one_array():
    x, w, b = leaf(np.ones((4, 3))), leaf(np.eye(3, 1000) - 0.5), leaf(np.zeros(1000))
    linear, joined = x.linear(w, b), x.linear(w, b, relu=True)
    before = weakref.ref(linear.array)
    apart = linear.relu()
    del linear
    gc.collect()
    assert before() is None  # neither rule reads it
    assert [node.op.name for node in topological_order(joined.node)] == ["linear", "relu"]
    np.testing.assert_array_equal(joined.numpy(), apart.numpy())
    expected, found = (ndl.grad(y.square().sum(), (x, w, b)) for y in (apart, joined))
    for right, one in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.numpy(), right.numpy())


def test_second_pass_needs_retain_graph():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8
    with pytest.raises(GraphError, match="freed by an earlier backward pass; pass retain_graph=True"):
        y.backward()


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_derivatives_of_any_order(order):
    f = lambda x: x.exp() * x.sin()  # noqa: E731
    derivative = f
    for _ in range(order):
        derivative = ndl.grad(derivative)
    x = 0.7
    # exp(x) sin(x) is the imaginary part of exp((1 + i) x)
    expected = ((1 + 1j) ** order * np.exp((1 + 1j) * x)).imag
    assert derivative(ndl.tensor(x, dtype="float64", device="numpy")).item() == pytest.approx(expected, rel=1e-12)


def test_create_graph_through_backward():
    x = leaf([1.0, 2.0, 3.0])
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    assert first.requires_grad
    x.grad = None
    first.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [6, 12, 18])


def test_gradient_penalty_reaches_captured_weights():
    w = leaf([2.0, 3.0])
    x = leaf([1.0, 1.0])
    (g,) = ndl.grad((w * x * x).sum(), x, create_graph=True)
    (g * g).sum().backward()  # g = 2 w x, d/dw = 8 w x**2
    np.testing.assert_allclose(w.grad.numpy(), [16, 24])


def test_value_and_grad():
    f = lambda a, b: (a * b).sum()  # noqa: E731
    a, b = ndl.tensor([1.0, 2.0], device="numpy"), ndl.tensor([3.0, 4.0], device="numpy")
    value, (da, db) = ndl.value_and_grad(f, argnums=(0, 1))(a, b)
    assert value.item() == 11
    np.testing.assert_array_equal(da.numpy(), b.numpy())
    np.testing.assert_array_equal(db.numpy(), a.numpy())
    assert not value.requires_grad
    assert a.grad is None
    assert ndl.grad(lambda x: ndl.tensor(1.0, device="numpy"))(a).tolist() == [0, 0]
    (loss, aux), g = ndl.value_and_grad(lambda x: (x.sum(), "aux"), has_aux=True)(a)
    assert aux == "aux"
    assert loss.item() == 3
    assert g.tolist() == [1, 1]
    assert ndl.grad(lambda x: (x.sum(), "aux"), has_aux=True)(a)[1] == "aux"


def test_grad_of_several_outputs_and_of_inner_tensors():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    z, w = (y * y).sum(), y.sum()
    gy, gx = ndl.grad([z, w], [y, x], retain_graph=True)
    np.testing.assert_array_equal(gy.numpy(), [5, 9])
    np.testing.assert_array_equal(gx.numpy(), [10, 18])
    assert x.grad is None
    other = leaf([0.0])
    assert ndl.grad(z, [other], retain_graph=True, allow_unused=True) == (None,)
    with pytest.raises(GraphError, match="grad: input 0 has no path to the outputs"):
        ndl.grad(z, [other])


def test_the_gradient_keeps_the_dtype_of_its_tensor():
    x = leaf([1.0, 2.0])
    y = ndl.tensor([1.0, 2.0], dtype="float64", device="numpy")
    (x * y).sum().backward()
    assert x.grad.dtype == "float32"


def test_moving_between_devices_is_differentiable():
    x = leaf([1.0, 2.0])
    (x.to("numpy") * 2.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ndl.ones(3).sum().backward(), GraphError, "backward: no graph behind this tensor; compute it from"),
        (lambda: (leaf([1.0, 2.0]) * 2.0).backward(), ShapeError, "backward: takes one element, or the gradient"),
        (
            lambda: (leaf([1.0, 2.0]) * 2.0).backward(ndl.ones(3, device="numpy")),
            ShapeError,
            "backward: the gradient to start from is (3,), the tensor (2,)",
        ),
        (lambda: ndl.tensor([1, 2], requires_grad=True), DTypeError, "requires_grad: only floats have gradients"),
        (lambda: setattr(leaf(1.0) * 2.0, "requires_grad", False), GraphError, "requires_grad: set on leaves only"),
        (lambda: leaf([1.0]).__setitem__(0, 2.0), GraphError, "assign: this tensor takes part in a graph"),
        (lambda: ndl.grad(lambda x: 3)(leaf(1.0)), DTypeError, "returned int, not a Tensor"),
        (lambda: setattr(leaf([1.0]), "data", ndl.tensor([1])), DTypeError, "data: takes a Tensor of dtype float32"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)

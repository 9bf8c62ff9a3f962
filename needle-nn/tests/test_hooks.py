"""Hooks on modules: what they are told, what they can change, and that they can be removed."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn


class Add(nn.Module):
    """Two inputs, two outputs."""

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a + 2 * b, a * b


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_forward_hooks_see_and_change() -> None:
    layer, seen = nn.ReLU(), []
    before = layer.register_forward_pre_hook(lambda module, args: seen.append(("before", module, args)))
    doubled = layer.register_forward_pre_hook(lambda module, args: args[0] * 2.0)
    after = layer.register_forward_hook(lambda module, args, result: seen.append(("after", args[0].numpy()[0])))
    raised = layer.register_forward_hook(lambda module, args, result: result + 1.0)
    x = needle.tensor([3.0])
    assert layer(x).item() == 7
    assert seen == [("before", layer, (x,)), ("after", 6)]
    for handle in (before, doubled, after, raised):
        handle.remove()
        handle.remove()
    assert layer(x).item() == 3
    assert len(seen) == 2


def test_a_handle_is_a_context() -> None:
    layer, calls = nn.Identity(), []
    with layer.register_forward_hook(lambda *args: calls.append(1)):
        layer(needle.ones(1))
    layer(needle.ones(1))
    assert calls == [1]


def test_backward_hooks_see_all_gradients_together(device: needle.Device) -> None:
    module, seen = Add(), []
    module.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append((m, grad_in, grad_out)))
    a, b = leaf(1, 2).to(device).detach().requires_grad_(), leaf(3, 4).to(device).detach().requires_grad_()
    total, product = module(a, b)
    (total + product * 10.0).sum().backward()
    assert len(seen) == 1
    found, grad_in, grad_out = seen[0]
    assert found is module
    np.testing.assert_array_equal([g.numpy() for g in grad_in], [[31, 41], [12, 22]])
    np.testing.assert_array_equal([g.numpy() for g in grad_out], [[1, 1], [10, 10]])
    np.testing.assert_array_equal(a.grad.numpy(), [31, 41])
    np.testing.assert_array_equal(b.grad.numpy(), [12, 22])


def test_backward_hooks_change_gradients() -> None:
    layer = nn.Linear(2, 1, bias=False)
    handle = layer.register_full_backward_hook(lambda m, grad_in, grad_out: (grad_in[0] * 0.0,))
    x = Tensor(np.ones((1, 2), np.float32), requires_grad=True)
    layer(x).sum().backward()
    assert not x.grad.numpy().any()
    assert layer.weight.grad.numpy().any()
    handle.remove()
    layer(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), layer.weight.numpy().T)


@pytest.mark.parametrize("given", [True, False])
def test_inputs_and_outputs_without_gradients_are_none(given: bool) -> None:
    module, seen = Add(), []
    module.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append((grad_in, grad_out)))
    module.register_forward_pre_hook(lambda m, args: (args[0] if given else args[0] * scale, args[1]))
    scale, b = leaf(2), leaf(3).detach()
    module(leaf(1), b)[0].sum().backward()
    (grad_in, grad_out) = seen[0]
    assert grad_in[1] is None
    assert grad_in[0].item() == 1
    assert grad_out[0].item() == 1
    assert grad_out[1] is None


def test_a_first_layer_is_told_of_its_outputs() -> None:
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append((grad_in, grad_out[0].numpy())))
    layer(needle.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0]])]


def test_nothing_happens_without_a_graph() -> None:
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda *args: seen.append(args))
    with needle.no_grad():
        assert layer(needle.ones(1, 2)).is_leaf
    assert not seen


def test_second_derivatives_pass_through() -> None:
    seen: list[Any] = []
    module = nn.Tanh()
    module.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append(grad_in[0]))
    x = leaf(0.5)
    (g,) = needle.grad(module(x).sum(), [x], create_graph=True)
    assert seen[0].requires_grad
    (second,) = needle.grad(g.sum(), [x])
    t = np.tanh(0.5)
    np.testing.assert_allclose(second.item(), -2 * t * (1 - t * t), rtol=1e-5)


def test_a_sequential_of_hooked_layers_trains_as_before(rng: np.random.Generator) -> None:
    np.random.seed(0)
    plain = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    np.random.seed(0)
    hooked = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    for module in hooked.modules():
        module.register_full_backward_hook(lambda *args: None)
    x = Tensor(rng.standard_normal((5, 3)), dtype="float32")
    for model in (plain, hooked):
        model(x).square().sum().backward()
    for p, q in zip(plain.parameters(), hooked.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())

"""Optimizers and modules by the course's habits: what a step leaves alone, what it keeps alive, what is a parameter."""

import gc
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import nn


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def step(model: nn.Module, opt: ndl.optim.Optimizer) -> Any:
    x = ndl.Tensor(np.random.randn(6, 4), dtype="float32")
    opt.reset_grad()
    loss = nn.SoftmaxLoss()(model(x), ndl.Tensor(np.random.randint(0, 3, 6), dtype="float32"))
    loss.backward()
    opt.step()
    return loss


OPTIMIZERS = {
    "sgd": lambda params: ndl.optim.SGD(params, lr=0.1),
    "momentum": lambda params: ndl.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda params: ndl.optim.Adam(params, lr=0.1, weight_decay=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_graph_outlives_a_step(name: str) -> None:
    model = small()
    opt = OPTIMIZERS[name](model.parameters())
    counts = []
    for _ in range(6):
        step(model, opt)
        opt.reset_grad()
        gc.collect()
        counts.append(ndl.autograd.TENSOR_COUNTER)
    assert counts[2:] == [counts[1]] * 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_changes_parameters_and_nothing_else(name: str) -> None:
    w = ndl.Tensor(np.arange(3.0), dtype="float32")
    p = nn.Parameter(w)
    before = p.detach()
    opt = OPTIMIZERS[name]([p])
    (p * ndl.Tensor([1.0, 2.0, 3.0], dtype="float32")).sum().backward()
    gradient = p.grad.numpy()
    opt.step()
    assert not np.allclose(p.numpy(), np.arange(3.0))
    np.testing.assert_array_equal(p.grad.numpy(), gradient)
    np.testing.assert_array_equal(before.numpy(), np.arange(3.0))
    np.testing.assert_array_equal(w.numpy(), np.arange(3.0))
    assert p.dtype == "float32"
    assert p.is_leaf()


def test_sgd_by_its_formula() -> None:
    p = nn.Parameter(ndl.Tensor(np.ones(3), dtype="float32"))
    opt = ndl.optim.SGD([p], lr=0.5, momentum=0.9, weight_decay=0.1)
    theta, u, slope = np.ones(3), np.zeros(3), np.array([1.0, -2.0, 0.5])
    for _ in range(4):
        opt.reset_grad()
        assert p.grad is None
        (p * ndl.Tensor(slope, dtype="float32")).sum().backward()
        opt.step()
        u = 0.9 * u + 0.1 * (slope + 0.1 * theta)
        theta = theta - 0.5 * u
    np.testing.assert_allclose(p.numpy(), theta, rtol=1e-5)


def test_adam_by_its_formula() -> None:
    p = nn.Parameter(ndl.Tensor(np.ones(3), dtype="float32"))
    opt = ndl.optim.Adam([p], lr=0.1, beta1=0.8, beta2=0.9, eps=1e-3, weight_decay=0.1)
    theta, m, v, slope = np.ones(3), np.zeros(3), np.zeros(3), np.array([1.0, -2.0, 0.5])
    for t in range(1, 5):
        opt.reset_grad()
        (p * ndl.Tensor(slope, dtype="float32")).sum().backward()
        opt.step()
        g = slope + 0.1 * theta
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        theta = theta - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
    np.testing.assert_allclose(p.numpy(), theta, rtol=1e-4)


def test_clipping() -> None:
    p = nn.Parameter(ndl.Tensor(np.ones(2), dtype="float32"))
    opt = ndl.optim.SGD([p])
    (p * ndl.Tensor([3.0, 4.0], dtype="float32")).sum().backward()
    opt.clip_grad_norm(0.25)
    np.testing.assert_allclose(np.linalg.norm(p.grad.numpy()), 0.25, rtol=1e-4)


def test_what_a_module_holds() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.more = [nn.Linear(3, 3), {"a": nn.Linear(3, 2)}, (nn.Parameter(ndl.Tensor([1.0])),)]
            self.constant = ndl.Tensor([1.0])

    model = Nested()
    assert len(model.parameters()) == 2 + 2 + 2 + 1
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())
    model.norm.running_mean = ndl.Tensor(np.zeros(3))
    assert len(model.parameters()) == 7
    assert len(model._children()) == 3
    model.eval()
    assert not model.more[1]["a"].training
    model.train()
    assert model.norm.training


def test_a_weight_replaced_by_a_plain_tensor() -> None:
    layer = nn.Linear(3, 2)
    layer.weight = ndl.Tensor(np.ones((3, 2)), dtype="float32")
    (layer(ndl.Tensor(np.ones((4, 3)), dtype="float32")) * 2).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.full((3, 2), 8.0))


def test_the_seed_makes_the_run() -> None:
    losses = []
    for _ in range(2):
        np.random.seed(5)
        model = small()
        opt = ndl.optim.Adam(model.parameters(), lr=0.01)
        losses.append([float(step(model, opt).numpy().item()) for _ in range(3)])
    assert losses[0] == losses[1]


def test_dropout_draws_from_numpy() -> None:
    x = ndl.Tensor(np.ones((4, 5)), dtype="float32")
    np.random.seed(1)
    found = nn.Dropout(0.3)(x).numpy()
    np.random.seed(1)
    np.testing.assert_allclose(found, (np.random.rand(4, 5) <= 0.7) / 0.7, rtol=1e-5)


def test_float64_goes_through_float32_layers() -> None:
    """In np mode; nd mode makes float32 of it."""
    layers = [nn.Linear(4, 4), nn.BatchNorm1d(4), nn.LayerNorm1d(4), nn.RNNCell(4, 4), nn.LSTMCell(4, 4)]
    x = ndl.Tensor(np.random.randn(3, 4))
    for layer in layers:
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        (y * y).sum().backward()
        assert y.shape == (3, 4)
        assert x.grad.dtype == x.dtype
        assert all(p.grad.shape == p.shape for p in layer.parameters())
    image = ndl.Tensor(np.random.randn(1, 2, 5, 5))
    nn.SoftmaxLoss()(nn.Conv(2, 3, 3)(image).sum((2, 3)), ndl.Tensor([1])).backward()
    assert image.grad.shape == (1, 2, 5, 5)


def test_data() -> None:
    x, y = np.random.randn(7, 3).astype("float32"), np.arange(7)
    loader = ndl.data.DataLoader(ndl.data.NDArrayDataset(x, y), batch_size=3, shuffle=True)
    np.random.seed(2)
    batches = list(loader)
    np.random.seed(2)
    order = np.random.permutation(7)
    assert all(isinstance(t, ndl.Tensor) for batch in batches for t in batch)
    assert [len(batch[1].numpy()) for batch in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([b[1].numpy() for b in batches]), order)
    np.testing.assert_array_equal(np.concatenate([b[0].numpy() for b in batches]), x[order])

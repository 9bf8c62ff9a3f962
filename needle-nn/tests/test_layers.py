"""Each layer against its formula in NumPy, in a table."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn


def affine(x: Any, layer: nn.Linear) -> Any:
    bias = 0 if layer.bias is None else layer.bias.numpy()
    return x @ layer.weight.numpy() + bias


LAYERS = [
    ("identity", lambda d: nn.Identity(), (3, 4), lambda x, layer: x),
    ("flatten", lambda d: nn.Flatten(), (3, 4, 5), lambda x, layer: x.reshape(3, 20)),
    ("flatten empty", lambda d: nn.Flatten(), (0, 4, 5), lambda x, layer: x.reshape(0, 20)),
    ("flatten vector", lambda d: nn.Flatten(), (3,), lambda x, layer: x.reshape(3, 1)),
    ("relu", lambda d: nn.ReLU(), (3, 4), lambda x, layer: np.maximum(x, 0)),
    ("tanh", lambda d: nn.Tanh(), (3, 4), lambda x, layer: np.tanh(x)),
    ("sigmoid", lambda d: nn.Sigmoid(), (3, 4), lambda x, layer: 1 / (1 + np.exp(-x))),
    ("linear", lambda d: nn.Linear(4, 6, device=d), (3, 4), affine),
    ("linear without bias", lambda d: nn.Linear(4, 6, bias=False, device=d), (3, 4), affine),
    ("linear N-D", lambda d: nn.Linear(4, 6, device=d), (2, 3, 5, 4), affine),
    ("linear 1-D", lambda d: nn.Linear(4, 6, device=d), (1, 4), affine),
    ("sequential", lambda d: nn.Sequential(nn.Tanh(), nn.ReLU()), (3, 4), lambda x, m: np.maximum(np.tanh(x), 0)),
    ("sequential of none", lambda d: nn.Sequential(), (3, 4), lambda x, layer: x),
]


@pytest.mark.parametrize(("make", "shape", "formula"), [row[1:] for row in LAYERS], ids=[row[0] for row in LAYERS])
def test_layer_against_its_formula(
    make: Any, shape: Any, formula: Any, device: needle.Device, rng: np.random.Generator
) -> None:
    layer, x = make(device), rng.standard_normal(shape).astype(np.float32)
    y = layer(Tensor(x, device=device))
    assert y.device is device
    np.testing.assert_allclose(y.numpy(), formula(x, layer), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_softmax_loss(dtype: str, device: needle.Device, rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((6, 5)).astype(np.float32), np.array([0, 4, 2, 2, 1, 3])
    x = Tensor(logits, device=device, requires_grad=True)
    loss = nn.SoftmaxLoss()(x, Tensor(labels, device=device, dtype=dtype))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert loss.shape == ()
    np.testing.assert_allclose(loss.item(), -np.log(shares[np.arange(6), labels]).mean(), rtol=1e-5)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), (shares - np.eye(5)[labels]) / 6, rtol=1e-4, atol=1e-6)


def test_linear_draws_weight_then_bias_from_numpys_generator() -> None:
    np.random.seed(3)
    layer = nn.Linear(4, 6)
    np.random.seed(3)
    bound, bias_bound = np.sqrt(6 / 4), np.sqrt(6 / 6)
    weight = np.random.rand(4, 6).astype(np.float32) * 2 * bound - bound
    bias = np.random.rand(6, 1).astype(np.float32) * 2 * bias_bound - bias_bound
    np.testing.assert_allclose(layer.weight.numpy(), weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.bias.numpy(), bias.reshape(1, 6), rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_parameter(device: needle.Device, rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(4, 5, device=device), nn.ReLU(), nn.Linear(5, 3, device=device))
    x = Tensor(rng.standard_normal((2, 4)), device=device, dtype="float32")
    nn.SoftmaxLoss()(model(x), Tensor(np.array([0, 2]), device=device)).backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_layer_of_another_dtype(device: needle.Device) -> None:
    layer = nn.Linear(2, 3, device="numpy", dtype="float64")
    assert layer.weight.dtype == "float64"
    assert layer.bias.dtype == "float64"
    assert layer(needle.ones(1, 2, device=needle.device("numpy"), dtype="float64")).dtype == "float64"


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(needle.errors.ShapeError, match=r"^linear: .*5.*4"):
        nn.Linear(4, 6)(needle.ones(3, 5))


def test_a_layer_without_forward() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"^Empty has no forward$"):
        Empty()(1)

"""Layers take data of any number type: what meets a weight is converted, and nothing is misread."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle
from needle import nn
from needle.errors import DTypeError
from needle.fused import promoted

TYPES = ["float64", "float16", "bfloat16", "int64", "int32", "int8", "uint8"]
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 4), (5, 3)),
    "Linear without bias": (lambda: nn.Linear(3, 4, bias=False), (2, 5, 3)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3), (2, 2, 6)),
    "Conv2d": (lambda: nn.Conv2d(4, 2, 3, padding=1, groups=2), (2, 4, 5, 5)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (6, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (2, 3, 4, 4)),
    "BatchNorm2d in evaluation": (lambda: nn.BatchNorm2d(3).eval(), (2, 3, 4, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(5), (4, 5)),
    "RMSNorm": (lambda: nn.RMSNorm(5), (4, 5)),
    "RNN": (lambda: First(nn.RNN(3, 4)), (5, 2, 3)),
    "LSTM": (lambda: First(nn.LSTM(3, 4)), (5, 2, 3)),
    "GRU": (lambda: First(nn.GRU(3, 4)), (5, 2, 3)),
    "AttentionLayer": (lambda: nn.AttentionLayer(6, 2, 3), (2, 4, 6)),
    "attention": (lambda: Itself(), (2, 4, 3)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 3, 4, 4)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(2), (2, 3, 4, 4)),
    "GlobalAvgPool": (lambda: nn.GlobalAvgPool(), (2, 3, 4, 4)),
    "SoftmaxLoss": (lambda: Labelled(), (4, 3)),
}


class First(nn.Module):
    """The first result of a layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


class Itself(nn.MultiHeadAttention):
    def forward(self, x: Any) -> Any:
        return needle.scaled_dot_product_attention(x, x, x, is_causal=True)


class Labelled(nn.SoftmaxLoss):
    def forward(self, x: Any) -> Any:
        return super().forward(x, needle.tensor([0, 2, 1, 1], device=x.device))


@pytest.mark.parametrize("place", [str(device) for device in needle.devices()])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_data_of_another_type_than_the_weights(name: str, dtype: str, place: str) -> None:
    make, shape = LAYERS[name]
    with needle.use_device(place):
        layer = make()
        x = needle.tensor(np.random.default_rng(1).uniform(0, 9, shape)).astype(dtype)
        found, expected = layer(x), layer(x.astype("float32"))
        assert found.dtype == "float64" if dtype == "float64" else found.dtype.is_float
        own = found.dtype in ("float16", "bfloat16")  # of a layer without weights
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-2 if own else 1e-5, atol=1e-5)
        if layer.parameters():
            (found * found * found).sum().backward()
            grads = [p.grad.numpy() for p in layer.parameters()]
            layer.zero_grad()
            (expected * expected * expected).sum().backward()
            for p, grad in zip(layer.parameters(), grads, strict=True):
                assert p.grad.dtype == "float32"
                np.testing.assert_allclose(grad, p.grad.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("place", [str(device) for device in needle.devices()])
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "float32"])
def test_labels_and_indices_of_any_type(dtype: str, place: str) -> None:
    labels = np.array([0, 4, 2, 1, 3, 3])
    x = needle.tensor(np.random.default_rng(2).standard_normal((6, 5)), "float32", place, requires_grad=True)
    index = needle.tensor(labels, dtype=dtype, device=place)
    log_p = x.numpy() - np.log(np.exp(x.numpy()).sum(1, keepdims=True))
    for loss in (nn.SoftmaxLoss(), nn.CrossEntropyLoss()):
        value = loss(x, index)
        assert value.item() == pytest.approx(-log_p[np.arange(6), labels].mean(), rel=1e-5)
        x.grad = None
        value.backward()
        np.testing.assert_allclose(x.grad.numpy(), (np.exp(log_p) - np.eye(5)[labels]) / 6, rtol=1e-4, atol=1e-6)
    assert nn.NLLLoss()(x, index).item() == pytest.approx(-x.numpy()[np.arange(6), labels].mean(), rel=1e-5)
    np.testing.assert_array_equal(needle.embedding(index, x).numpy(), x.numpy()[labels])
    if dtype != "float32":
        np.testing.assert_array_equal(x.gather(index.reshape(6, 1), 1).numpy()[:, 0], x.numpy()[np.arange(6), labels])
        np.testing.assert_array_equal(x[index].numpy(), x.numpy()[labels])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_small_indices_into_a_long_axis(dtype: str) -> None:
    x, index = needle.arange(1000).reshape(500, 2), np.array([100, 3], dtype)
    assert x[needle.tensor(index), needle.tensor(np.array([1, 0], dtype))].tolist() == [201, 6]


def test_what_is_promoted() -> None:
    a, b, c = (needle.ones(2, dtype=dtype) for dtype in ("float32", "float16", "float64"))
    assert [x.dtype for x in promoted(a, b)] == ["float32", "float32"]
    assert [x.dtype for x in promoted(b, a, c)] == ["float64"] * 3
    assert promoted(a, a)[0] is a


MIXED: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda x, y: x.linear(y, y[0]),
    "layer_norm": lambda x, y: x.layer_norm(y[0], y[0], 1e-5),
    "rms_norm": lambda x, y: x.rms_norm(y[0], 1e-5),
    "attention": lambda x, y: x.attention(y, y, False, 1.0),
    "scatter_add": lambda x, y: x.scatter_add((y != y).astype("int32"), y, 1),
}


@pytest.mark.parametrize("name", MIXED)
def test_arrays_of_two_types_are_refused_before_a_kernel_misreads_them(name: str) -> None:
    x, y = needle.ones(4, 4).array, needle.ones(4, 4, dtype="float64").array
    with pytest.raises(DTypeError, match=rf"^{name}: operands are .*float64.*; convert them to one type with .astype"):
        MIXED[name](x, y)

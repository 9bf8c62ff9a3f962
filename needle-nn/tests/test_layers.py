"""Each layer against its formula in NumPy, in a table: values on every device, gradients by central differences."""

from typing import Any

import layer_formulas as f
import numpy as np
import pytest

import needle
from needle import Tensor, nn


def zeros(x: Any, stack: Any) -> Any:
    return [np.zeros((x.shape[1], stack.hidden_size)) for _ in range(stack.num_layers)]


def rnn(x: Any, stack: Any) -> Any:
    return f.walk(x, stack.rnn_cells, f.rnn_cell, zeros(x, stack))[0]


def gru(x: Any, stack: Any) -> Any:
    return f.walk(x, stack.gru_cells, f.gru_cell, zeros(x, stack))[0]


def lstm(x: Any, stack: Any) -> Any:
    states = list(zip(zeros(x, stack), zeros(x, stack), strict=True))
    return f.walk(x, stack.lstm_cells, f.lstm_cell, states)[0]


def mlp(x: Any, model: Any) -> Any:
    return f.affine(np.maximum(f.affine(x, model[0]), 0), model[2])


# name, layer, shape of x, formula of x and the layer; `kw` names the device and the dtype
LAYERS: list[tuple[str, Any, Any, Any]] = [
    ("identity", lambda **kw: nn.Identity(), (3, 4), lambda x, layer: x),
    ("flatten", lambda **kw: nn.Flatten(), (3, 4, 5), lambda x, layer: x.reshape(3, 20)),
    ("flatten empty", lambda **kw: nn.Flatten(), (0, 4, 5), lambda x, layer: x.reshape(0, 20)),
    ("flatten vector", lambda **kw: nn.Flatten(), (3,), lambda x, layer: x.reshape(3, 1)),
    ("relu", lambda **kw: nn.ReLU(), (3, 4), lambda x, layer: np.maximum(x, 0)),
    ("tanh", lambda **kw: nn.Tanh(), (3, 4), lambda x, layer: np.tanh(x)),
    ("sigmoid", lambda **kw: nn.Sigmoid(), (3, 4), lambda x, layer: f.sigmoid(x)),
    ("gelu", lambda **kw: nn.GELU(), (3, 4), lambda x, layer: f.gelu(x)),
    ("silu", lambda **kw: nn.SiLU(), (3, 4), lambda x, layer: x * f.sigmoid(x)),
    ("softplus", lambda **kw: nn.Softplus(), (3, 4), lambda x, layer: np.logaddexp(x, 0)),
    ("leaky relu", lambda **kw: nn.LeakyReLU(0.2), (3, 4), lambda x, layer: np.where(x > 0, x, 0.2 * x)),
    ("elu", lambda **kw: nn.ELU(0.7), (3, 4), lambda x, layer: np.where(x > 0, x, 0.7 * np.expm1(x))),
    ("mish", lambda **kw: nn.Mish(), (3, 4), lambda x, layer: x * np.tanh(np.logaddexp(x, 0))),
    ("hardswish", lambda **kw: nn.Hardswish(), (3, 4), lambda x, layer: x * np.clip(x + 3, 0, 6) / 6),
    ("softmax", lambda **kw: nn.Softmax(1), (3, 4, 2), lambda x, layer: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    ("log softmax", lambda **kw: nn.LogSoftmax(), (3, 4), lambda x, layer: x - np.log(np.exp(x).sum(1, keepdims=True))),
    ("upsample", lambda **kw: nn.Upsample((2, 3)), (2, 3, 4, 5), lambda x, layer: np.kron(x, np.ones((1, 1, 2, 3)))),
    ("dropout2d in evaluation", lambda **kw: nn.Dropout2d().eval(), (2, 3, 4), lambda x, layer: x),
    ("linear", lambda **kw: nn.Linear(4, 6, **kw), (3, 4), f.affine),
    ("linear without bias", lambda **kw: nn.Linear(4, 6, bias=False, **kw), (3, 4), f.affine),
    ("linear N-D", lambda **kw: nn.Linear(4, 6, **kw), (2, 3, 5, 4), f.affine),
    ("linear 1-D", lambda **kw: nn.Linear(4, 6, **kw), (1, 4), f.affine),
    ("sequential", lambda **kw: nn.Sequential(nn.Linear(4, 5, **kw), nn.ReLU(), nn.Linear(5, 2, **kw)), (3, 4), mlp),
    ("sequential of none", lambda **kw: nn.Sequential(), (3, 4), lambda x, layer: x),
    ("residual", lambda **kw: nn.Residual(nn.Tanh()), (3, 4), lambda x, layer: np.tanh(x) + x),
    ("dropout of nothing", lambda **kw: nn.Dropout(0.0), (3, 4), lambda x, layer: x),
    ("dropout in evaluation", lambda **kw: nn.Dropout(0.7).eval(), (3, 4), lambda x, layer: x),
    ("conv", lambda **kw: nn.Conv(3, 4, 3, **kw), (2, 3, 6, 5), f.conv2d),
    ("conv stride", lambda **kw: nn.Conv(3, 4, 7, 4, **kw), (2, 3, 9, 8), f.conv2d),
    ("conv even", lambda **kw: nn.Conv(3, 4, 2, 2, bias=False, **kw), (2, 3, 6, 5), f.conv2d),
    ("conv2d", lambda **kw: nn.Conv2d(3, 4, (3, 2), **kw), (2, 3, 6, 5), f.conv2d),
    ("conv2d all", lambda **kw: nn.Conv2d(4, 6, 3, (2, 1), (1, 2), (1, 2), 2, **kw), (2, 4, 7, 6), f.conv2d),
    ("conv2d depthwise", lambda **kw: nn.Conv2d(4, 8, 3, padding=1, groups=4, **kw), (2, 4, 5, 5), f.conv2d),
    ("transposed conv", lambda **kw: nn.ConvTranspose2d(4, 3, 2, 2, **kw), (2, 4, 3, 5), f.conv_transpose2d),
    (
        "transposed conv all", lambda **kw: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, True, 2, **kw),
        (2, 4, 3, 4), f.conv_transpose2d,
    ),
    (
        "transposed conv without bias", lambda **kw: nn.ConvTranspose2d(2, 3, 3, bias=False, **kw), (1, 2, 4, 4),
        f.conv_transpose2d,
    ),
    ("conv1d", lambda **kw: nn.Conv1d(4, 6, 3, 2, 2, 2, 2, **kw), (2, 4, 9), f.conv1d),
    (
        "max pool", lambda **kw: nn.MaxPool2d(3, 2, 1), (2, 3, 7, 6),
        lambda x, layer: f.pool(x, (3, 3), (2, 2), 1, np.max, -np.inf),
    ),
    (
        "average pool", lambda **kw: nn.AvgPool2d((2, 3)), (2, 3, 6, 6),
        lambda x, layer: f.pool(x, (2, 3), (2, 3), 0, np.mean, 0),
    ),
    (
        "adaptive pool", lambda **kw: nn.AdaptiveAvgPool2d((2, 3)), (2, 3, 6, 6),
        lambda x, layer: f.pool(x, (3, 2), (3, 2), 0, np.mean, 0),
    ),
    (
        "adaptive pool, windows of any size", lambda **kw: nn.AdaptiveAvgPool2d((3, 7)), (2, 3, 8, 5),
        lambda x, layer: f.adaptive_pool(x, (3, 7)),
    ),
    (
        "adaptive pool to one", lambda **kw: nn.AdaptiveAvgPool2d(1), (2, 3, 5, 4),
        lambda x, layer: x.mean((2, 3), keepdims=True),
    ),
    ("global pool", lambda **kw: nn.GlobalAvgPool(), (2, 3, 5, 4), lambda x, layer: x.mean((2, 3))),
    ("batch norm 1d", lambda **kw: nn.BatchNorm1d(4, **kw), (5, 4), f.batch_norm),
    ("batch norm 1d of sequences", lambda **kw: nn.BatchNorm1d(4, **kw), (5, 4, 3), f.batch_norm),
    ("batch norm 2d", lambda **kw: nn.BatchNorm2d(3, **kw), (2, 3, 4, 5), f.batch_norm),
    ("batch norm 2d in evaluation", lambda **kw: nn.BatchNorm2d(3, **kw).eval(), (2, 3, 4, 5), f.running_batch_norm),
    ("layer norm 1d", lambda **kw: nn.LayerNorm1d(6, **kw), (4, 6), f.layer_norm),
    ("layer norm", lambda **kw: nn.LayerNorm(6, **kw), (2, 3, 6), f.layer_norm),
    ("layer norm of two axes", lambda **kw: nn.LayerNorm((3, 6), **kw), (2, 3, 6), f.layer_norm),
    ("rms norm", lambda **kw: nn.RMSNorm(6, **kw), (2, 3, 6), f.rms_norm),
    ("group norm", lambda **kw: nn.GroupNorm(2, 6, **kw), (2, 6, 3, 4), f.group_norm),
    ("instance norm", lambda **kw: nn.InstanceNorm2d(3), (2, 3, 4, 5), f.instance_norm),
    ("instance norm, affine", lambda **kw: nn.InstanceNorm2d(3, affine=True, **kw), (2, 3, 4, 5), f.instance_norm),
    ("rnn", lambda **kw: nn.RNN(4, 5, 2, **kw), (6, 3, 4), rnn),
    ("rnn relu without bias", lambda **kw: nn.RNN(4, 5, 1, False, "relu", **kw), (6, 3, 4), rnn),
    ("lstm", lambda **kw: nn.LSTM(4, 5, 2, **kw), (6, 3, 4), lstm),
    ("gru", lambda **kw: nn.GRU(4, 5, 2, **kw), (6, 3, 4), gru),
    ("attention layer", lambda **kw: nn.AttentionLayer(6, 2, 3, **kw), (2, 4, 6), f.attention_layer),
    (
        "attention layer, all to all", lambda **kw: nn.AttentionLayer(6, 2, 3, causal=False, out_features=5, **kw),
        (2, 4, 6), f.attention_layer,
    ),
    ("transformer layer", lambda **kw: nn.TransformerLayer(6, 2, 3, 7, **kw), (2, 4, 6), f.transformer_layer),
    (
        "transformer", lambda **kw: nn.Transformer(6, 7, 2, num_head=2, dim_head=3, sequence_len=5, **kw), (4, 2, 6),
        f.transformer,
    ),
    (
        "transformer, batch first",
        lambda **kw: nn.Transformer(6, 7, 1, num_head=2, dim_head=3, sequence_len=5, batch_first=True, **kw),
        (2, 4, 6), f.transformer,
    ),
]  # fmt: skip
each_layer = pytest.mark.parametrize(
    ("make", "shape", "formula"), [row[1:] for row in LAYERS], ids=[row[0] for row in LAYERS]
)
ready = {str(device) for device in needle.devices()}
each_precision = pytest.mark.parametrize(
    ("place", "dtype", "rtol"), [("numpy:0", "float64", 1e-9), *((name, "float32", 2e-4) for name in sorted(ready))]
)


def first(result: Any) -> Tensor:
    """The result itself, without the states that come with it."""
    return result[0] if isinstance(result, tuple) else result


def randomize(layer: nn.Module, rng: np.random.Generator) -> None:
    """Values that no rule treats alike: not the zeros and ones that some parameters begin with."""
    for name, tensor in layer.state_dict().items():
        values = (rng.standard_normal(tensor.shape) * 0.5).astype(str(tensor.dtype))
        tensor.array.assign(abs(values) + 0.5 if name.endswith("var") else values)


@each_layer
@each_precision
def test_layer_against_its_formula(
    make: Any, shape: Any, formula: Any, place: str, dtype: str, rtol: float, rng: np.random.Generator
) -> None:
    layer, x = make(device=place, dtype=dtype), rng.standard_normal(shape).astype(dtype)
    randomize(layer, rng)
    y = first(layer(Tensor(x, device=place)))
    assert y.device == needle.device(place)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), formula(x.astype(np.float64), layer), rtol=rtol, atol=rtol)


@each_layer
def test_gradient_against_differences(make: Any, shape: Any, formula: Any, rng: np.random.Generator) -> None:
    """Along a random direction in x and all parameters at once."""
    layer = make(device="numpy", dtype="float64")
    randomize(layer, rng)
    points = [Tensor(rng.standard_normal(shape), device="numpy", requires_grad=True), *layer.parameters()]
    weights = Tensor(rng.standard_normal(first(layer(points[0])).shape), device="numpy")
    (first(layer(points[0])) * weights).sum().backward()
    starts = [point.numpy() for point in points]
    directions = [rng.standard_normal(point.shape) for point in points]
    slope = sum(
        float((p.grad.numpy() * d).sum()) for p, d in zip(points, directions, strict=True) if p.grad is not None
    )

    def value(step: float) -> float:
        for point, start, direction in zip(points, starts, directions, strict=True):
            point.array.assign(start + step * direction)
        return float((first(layer(points[0])) * weights).sum().item())

    with needle.no_grad():
        found = (value(1e-6) - value(-1e-6)) / 2e-6
    np.testing.assert_allclose(slope, found, rtol=1e-5, atol=1e-6)


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

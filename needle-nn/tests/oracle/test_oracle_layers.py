"""Layers and losses against PyTorch's, with the same weights: results and gradients to 1e-5."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn

torch = pytest.importorskip("torch")
tnn = torch.nn

ready = {str(device) for device in needle.devices()}
PRECISIONS = [("numpy:0", "float64"), *((name, "float32") for name in sorted(ready))]


def same(parameter: Any) -> Any:
    return parameter


def transposed(parameter: Any) -> Any:
    return parameter.T if parameter.shape[0] > 1 else parameter.reshape(-1)


def kernel(parameter: Any) -> Any:
    """(KH, KW, in, out) -> (out, in, KH, KW), and a bias as it is."""
    rank = parameter.ndim
    return parameter.transpose(rank - 1, rank - 2, *range(rank - 2)) if rank > 1 else parameter


def stacked(parameter: Any) -> Any:
    return parameter.T


# name, Needle's, PyTorch's, how a parameter is turned, shape of x
LAYERS: list[tuple[str, Any, Any, Any, Any]] = [
    ("linear", lambda **kw: nn.Linear(4, 6, **kw), lambda: tnn.Linear(4, 6), transposed, (3, 4)),
    ("conv", lambda **kw: nn.Conv(3, 4, 3, 2, **kw), lambda: tnn.Conv2d(3, 4, 3, 2, 1), kernel, (2, 3, 8, 7)),
    ("conv2d", lambda **kw: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, **kw),
     lambda: tnn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2), kernel, (2, 4, 7, 6)),
    ("conv2d depthwise", lambda **kw: nn.Conv2d(4, 8, 3, padding=1, groups=4, **kw),
     lambda: tnn.Conv2d(4, 8, 3, padding=1, groups=4), kernel, (2, 4, 5, 5)),
    ("transposed conv", lambda **kw: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, True, 2, **kw),
     lambda: tnn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, True, 2), kernel, (2, 4, 3, 4)),
    ("conv1d", lambda **kw: nn.Conv1d(4, 6, 3, 2, 2, 2, 2, **kw), lambda: tnn.Conv1d(4, 6, 3, 2, 2, 2, 2), kernel,
     (2, 4, 9)),
    ("max pool", lambda **kw: nn.MaxPool2d(3, 2, 1), lambda: tnn.MaxPool2d(3, 2, 1), same, (2, 3, 7, 6)),
    ("average pool", lambda **kw: nn.AvgPool2d(3, 2, 1), lambda: tnn.AvgPool2d(3, 2, 1), same, (2, 3, 7, 6)),
    ("adaptive pool, windows of any size", lambda **kw: nn.AdaptiveAvgPool2d((3, 5)),
     lambda: tnn.AdaptiveAvgPool2d((3, 5)), same, (2, 3, 7, 4)),
    ("adaptive pool", lambda **kw: nn.AdaptiveAvgPool2d((2, 3)), lambda: tnn.AdaptiveAvgPool2d((2, 3)), same,
     (2, 3, 6, 6)),
    ("batch norm 1d", lambda **kw: nn.BatchNorm1d(4, **kw), lambda: tnn.BatchNorm1d(4), same, (5, 4)),
    ("batch norm 2d", lambda **kw: nn.BatchNorm2d(3, **kw), lambda: tnn.BatchNorm2d(3), same, (4, 3, 4, 5)),
    ("batch norm, evaluation", lambda **kw: nn.BatchNorm2d(3, **kw).eval(), lambda: tnn.BatchNorm2d(3).eval(), same,
     (4, 3, 4, 5)),
    ("layer norm", lambda **kw: nn.LayerNorm(6, **kw), lambda: tnn.LayerNorm(6), same, (2, 3, 6)),
    ("layer norm, two axes", lambda **kw: nn.LayerNorm((3, 6), **kw), lambda: tnn.LayerNorm((3, 6)), same, (2, 3, 6)),
    ("rms norm", lambda **kw: nn.RMSNorm(6, **kw), lambda: tnn.RMSNorm(6, 1e-5), same, (2, 3, 6)),
    ("group norm", lambda **kw: nn.GroupNorm(2, 6, **kw), lambda: tnn.GroupNorm(2, 6), same, (2, 6, 3, 4)),
    ("instance norm", lambda **kw: nn.InstanceNorm2d(6, affine=True, **kw), lambda: tnn.InstanceNorm2d(6, affine=True),
     same, (2, 6, 3, 4)),
    ("layer norm 1d", lambda **kw: nn.LayerNorm1d(6, **kw), lambda: tnn.LayerNorm(6), same, (4, 6)),
    ("relu", lambda **kw: nn.ReLU(), lambda: tnn.ReLU(), same, (3, 4)),
    ("tanh", lambda **kw: nn.Tanh(), lambda: tnn.Tanh(), same, (3, 4)),
    ("sigmoid", lambda **kw: nn.Sigmoid(), lambda: tnn.Sigmoid(), same, (3, 4)),
    ("flatten", lambda **kw: nn.Flatten(), lambda: tnn.Flatten(), same, (3, 4, 2)),
    ("gelu", lambda **kw: nn.GELU(), lambda: tnn.GELU(), same, (3, 4)),
    ("gelu tanh", lambda **kw: nn.GELU("tanh"), lambda: tnn.GELU("tanh"), same, (3, 4)),
    ("silu", lambda **kw: nn.SiLU(), lambda: tnn.SiLU(), same, (3, 4)),
    ("softplus", lambda **kw: nn.Softplus(), lambda: tnn.Softplus(), same, (3, 4)),
    ("rnn cell", lambda **kw: nn.RNNCell(4, 5, **kw), lambda: tnn.RNNCell(4, 5), stacked, (3, 4)),
    ("lstm cell", lambda **kw: nn.LSTMCell(4, 5, **kw), lambda: tnn.LSTMCell(4, 5), stacked, (3, 4)),
    ("gru cell", lambda **kw: nn.GRUCell(4, 5, **kw), lambda: tnn.GRUCell(4, 5), stacked, (3, 4)),
    ("rnn", lambda **kw: nn.RNN(4, 5, 2, **kw), lambda: tnn.RNN(4, 5, 2), stacked, (6, 3, 4)),
    ("rnn relu", lambda **kw: nn.RNN(4, 5, nonlinearity="relu", **kw),
     lambda: tnn.RNN(4, 5, nonlinearity="relu"), stacked, (6, 3, 4)),
    ("lstm", lambda **kw: nn.LSTM(4, 5, 2, **kw), lambda: tnn.LSTM(4, 5, 2), stacked, (6, 3, 4)),
    ("gru", lambda **kw: nn.GRU(4, 5, 2, **kw), lambda: tnn.GRU(4, 5, 2), stacked, (6, 3, 4)),
]  # fmt: skip


def first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def close(found: Any, expected: Any, what: str = "") -> None:
    found, expected = found.numpy(), expected.detach().numpy()
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-5, err_msg=what)


@pytest.mark.parametrize(("make", "oracle", "turn", "shape"), [r[1:] for r in LAYERS], ids=[r[0] for r in LAYERS])
@pytest.mark.parametrize(("place", "dtype"), PRECISIONS)
def test_layer(make: Any, oracle: Any, turn: Any, shape: Any, place: str, dtype: str, rng: np.random.Generator) -> None:
    layer, other = make(device=place, dtype=dtype), oracle().to(getattr(torch, dtype))
    pairs = list(zip(layer.parameters(), other.parameters(), strict=True))
    for mine, theirs in pairs:
        mine.array.assign(rng.standard_normal(mine.shape) * 0.5)
        theirs.data = torch.tensor(np.ascontiguousarray(turn(mine.numpy())))
    values = rng.standard_normal(shape).astype(dtype)
    x, z = Tensor(values, device=place, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, w = first(layer(x)), first(other(z))
    close(y, w)
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(Tensor(g, device=place))
    w.backward(torch.tensor(g))
    close(x.grad, z.grad, "x")
    for mine, theirs in pairs:
        grad = np.ascontiguousarray(turn(mine.grad.numpy()))
        np.testing.assert_allclose(grad, theirs.grad.numpy(), rtol=1e-5, atol=1e-5)


LOSSES: list[tuple[str, Any, Any, str]] = [
    ("mse", nn.MSELoss(), tnn.MSELoss(), "values"),
    ("l1", nn.L1Loss(), tnn.L1Loss(), "values"),
    ("huber", nn.HuberLoss(0.7), tnn.HuberLoss(delta=0.7), "values"),
    ("bce", nn.BCEWithLogitsLoss(), tnn.BCEWithLogitsLoss(), "shares"),
    ("nll", nn.NLLLoss(), tnn.NLLLoss(), "labels"),
    ("cross entropy", nn.CrossEntropyLoss(), tnn.CrossEntropyLoss(), "labels"),
    ("softmax loss", nn.SoftmaxLoss(), tnn.CrossEntropyLoss(), "labels"),
    ("smoothed", nn.CrossEntropyLoss(0.1), tnn.CrossEntropyLoss(label_smoothing=0.1), "labels"),
    ("smoothed sum", nn.CrossEntropyLoss(0.1, "sum"), tnn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"),
     "labels"),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "oracle", "kind"), [row[1:] for row in LOSSES], ids=[row[0] for row in LOSSES])
@pytest.mark.parametrize(("place", "dtype"), PRECISIONS)
def test_loss(loss: Any, oracle: Any, kind: str, place: str, dtype: str, rng: np.random.Generator) -> None:
    values = (rng.standard_normal((6, 5)) * 3).astype(dtype)
    targets = {"values": values[::-1].copy(), "shares": rng.random((6, 5)).astype(dtype), "labels": np.arange(6) % 5}
    x, z = Tensor(values, device=place, requires_grad=True), torch.tensor(values, requires_grad=True)
    mine, theirs = loss(x, Tensor(targets[kind], device=place)), oracle(z, torch.tensor(targets[kind]))
    close(mine, theirs)
    mine.backward()
    theirs.backward()
    close(x.grad, z.grad)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("place", "dtype"), PRECISIONS)
def test_attention(causal: bool, place: str, dtype: str, rng: np.random.Generator) -> None:
    values = [rng.standard_normal((2, 3, 6, 4)).astype(dtype) for _ in range(3)]
    mine = [Tensor(v, device=place, requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    expected = tnn.functional.scaled_dot_product_attention(*theirs, is_causal=causal)
    g = rng.standard_normal((2, 3, 6, 4)).astype(dtype)
    expected.backward(torch.tensor(g))
    for need_probs in (True, False):
        layer = nn.MultiHeadAttention(causal=causal)
        layer.need_probs = need_probs
        result, _ = layer(*mine)
        close(result, expected)
        result.backward(Tensor(g, device=place))
        for a, b in zip(mine, theirs, strict=True):
            close(a.grad, b.grad)
            a.grad = None

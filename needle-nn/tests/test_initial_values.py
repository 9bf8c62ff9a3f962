"""Parameters are created in the course's order, with its values, shapes and names, under one NumPy seed."""

from math import sqrt
from typing import Any

import numpy as np
import pytest

from needle import nn


class Draws:
    """What initializers ask NumPy's global generator for, in the float32 steps of the course."""

    def uniform(self, bound: float, *shape: int) -> Any:
        return np.random.rand(*shape).astype(np.float32) * np.float32(2 * bound) + np.float32(-bound)

    def normal(self, *shape: int) -> Any:
        return np.random.randn(*shape).astype(np.float32)

    def kaiming(self, fan_in: int, *shape: int) -> Any:
        return self.uniform(sqrt(2) * sqrt(3 / fan_in), *shape)

    def linear(self, n: int, m: int, bias: bool = True) -> list[Any]:
        weight = [self.kaiming(n, n, m)]
        return weight + ([self.kaiming(m, m, 1).reshape(1, m)] if bias else [])

    def cell(self, n: int, h: int, gates: int) -> list[Any]:
        bound, width = 1 / sqrt(h), gates * h
        return [self.uniform(bound, *shape) for shape in ((n, width), (h, width), (width,), (width,))]

    def attention(self, n: int, inner: int) -> dict[str, Any]:
        names = ("q_projection", "k_projection", "v_projection")
        drawn = {f"{name}.weight": self.linear(n, inner, bias=False)[0] for name in names}
        return {**drawn, "out_projection.weight": self.linear(inner, n, bias=False)[0]}

    def transformer_layer(self, n: int, inner: int, hidden: int) -> dict[str, Any]:
        drawn = {f"attn.{name}": value for name, value in self.attention(n, inner).items()}
        for name, sizes in (("linear1", (n, hidden)), ("linear2", (hidden, n))):
            drawn[f"{name}.weight"], drawn[f"{name}.bias"] = self.linear(*sizes)
        return drawn


def cells(name: str, gates: int) -> Any:
    def draw(d: Draws) -> dict[str, Any]:
        drawn = {}
        for k, width in enumerate((3, 5)):
            names = ("W_ih", "W_hh", "bias_ih", "bias_hh")
            drawn |= dict(zip((f"{name}.{k}.{n}" for n in names), d.cell(width, 5, gates), strict=True))
        return drawn

    return draw


def transformer(d: Draws) -> dict[str, Any]:
    drawn = {"positions.weight": d.normal(7, 6)}
    for k in range(2):
        drawn |= {f"layers.{k}.{name}": value for name, value in d.transformer_layer(6, 8, 5).items()}
    return drawn


def conv(d: Draws) -> dict[str, Any]:
    return {"weight": d.kaiming(3 * 25, 5, 5, 3, 4), "bias": d.uniform(1 / sqrt(3 * 25), 4)}


DRAWN: list[tuple[str, Any, Any]] = [
    ("linear", lambda: nn.Linear(4, 6), lambda d: dict(zip(("weight", "bias"), d.linear(4, 6), strict=True))),
    ("conv", lambda: nn.Conv(3, 4, 5), conv),
    ("conv2d", lambda: nn.Conv2d(3, 4, 5), conv),
    (
        "conv2d in groups", lambda: nn.Conv2d(4, 6, 3, groups=2),
        lambda d: {"weight": d.kaiming(18, 3, 3, 2, 6), "bias": d.uniform(1 / sqrt(18), 6)},
    ),
    ("conv1d", lambda: nn.Conv1d(4, 6, 3, bias=False), lambda d: {"weight": d.kaiming(12, 3, 4, 6)}),
    ("embedding", lambda: nn.Embedding(7, 3), lambda d: {"weight": d.normal(7, 3)}),
    ("rnn", lambda: nn.RNN(3, 5, 2), cells("rnn_cells", 1)),
    ("lstm", lambda: nn.LSTM(3, 5, 2), cells("lstm_cells", 4)),
    ("gru", lambda: nn.GRU(3, 5, 2), cells("gru_cells", 3)),
    ("attention", lambda: nn.AttentionLayer(6, 2, 4), lambda d: d.attention(6, 8)),
    ("transformer layer", lambda: nn.TransformerLayer(6, 2, 4, 5), lambda d: d.transformer_layer(6, 8, 5)),
    ("transformer", lambda: nn.Transformer(6, 5, 2, num_head=2, dim_head=4, sequence_len=7), transformer),
]  # fmt: skip


@pytest.mark.parametrize(("make", "draw"), [row[1:] for row in DRAWN], ids=[row[0] for row in DRAWN])
def test_values_are_drawn_in_the_courses_order(make: Any, draw: Any) -> None:
    np.random.seed(3)
    layer = make()
    np.random.seed(3)
    expected = draw(Draws())
    values = {name: p.numpy() for name, p in layer.named_parameters() if "norm" not in name}
    assert set(values) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(values[name], value, err_msg=name)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.LayerNorm1d(4), nn.GroupNorm(2, 4)])
def test_norms_begin_as_identity(layer: Any) -> None:
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    np.testing.assert_array_equal(layer.weight.numpy(), np.ones(4, np.float32))
    np.testing.assert_array_equal(layer.bias.numpy(), np.zeros(4, np.float32))


def test_batch_norm_keeps_running_moments_as_buffers() -> None:
    layer = nn.BatchNorm2d(4)
    assert [name for name, _ in layer.named_buffers()] == ["running_mean", "running_var"]
    assert not isinstance(layer.running_mean, nn.Parameter)
    assert not layer.running_var.requires_grad
    assert (layer.dim, layer.eps, layer.momentum) == (4, 1e-5, 0.1)


def test_resnet9_has_the_courses_number_of_parameters() -> None:
    def conv_bn(a: int, b: int, k: int, s: int) -> nn.Module:
        return nn.Sequential(nn.Conv(a, b, k, s), nn.BatchNorm2d(b), nn.ReLU())

    def block(n: int) -> nn.Module:
        return nn.Residual(nn.Sequential(conv_bn(n, n, 3, 1), conv_bn(n, n, 3, 1)))

    model = nn.Sequential(
        conv_bn(3, 16, 7, 4), conv_bn(16, 32, 3, 2), block(32), conv_bn(32, 64, 3, 2), conv_bn(64, 128, 3, 2),
        block(128), nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    assert model.num_parameters() == 431_946

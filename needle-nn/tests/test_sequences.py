"""Recurrent networks and attention: states, cells, masks, probabilities."""

from typing import Any

import layer_formulas as f
import numpy as np
import pytest

import needle
from needle import Tensor, nn

CELLS = [
    (nn.RNNCell, f.rnn_cell, 1),
    (nn.GRUCell, f.gru_cell, 1),
    (nn.LSTMCell, f.lstm_cell, 2),
]
STACKS = [
    (nn.RNN, "rnn_cells", f.rnn_cell, 1),
    (nn.GRU, "gru_cells", f.gru_cell, 1),
    (nn.LSTM, "lstm_cells", f.lstm_cell, 2),
]


def tensors(device: needle.Device, *arrays: Any) -> Any:
    made = [Tensor(a, device=device, dtype="float32") for a in arrays]
    return made[0] if len(made) == 1 else tuple(made)


@pytest.mark.parametrize(("kind", "formula", "parts"), CELLS)
def test_a_cell_with_and_without_a_state(
    kind: Any, formula: Any, parts: int, device: needle.Device, rng: np.random.Generator
) -> None:
    cell, x = kind(4, 5, device=device), rng.standard_normal((3, 4))
    states = [rng.standard_normal((3, 5)) for _ in range(parts)]
    for values in (states, [np.zeros((3, 5))] * parts):
        expected = formula(x, values[0] if parts == 1 else tuple(values), cell)
        given = () if values is not states else (tensors(device, *values),)
        found = cell(tensors(device, x), *given)
        if parts == 1:
            found, expected = (found,), (expected,)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "name", "formula", "parts"), STACKS)
def test_a_stack_starts_from_its_state_and_returns_the_last(
    kind: Any, name: str, formula: Any, parts: int, device: needle.Device, rng: np.random.Generator
) -> None:
    model, x = kind(4, 5, 3, device=device), rng.standard_normal((6, 2, 4))
    start = [rng.standard_normal((3, 2, 5)) for _ in range(parts)]
    states = list(zip(*start, strict=True)) if parts > 1 else list(start[0])
    output, last = f.walk(x, getattr(model, name), formula, states)
    found, state = model(tensors(device, x), tensors(device, *start))
    np.testing.assert_allclose(found.numpy(), output, rtol=1e-4, atol=1e-5)
    ends = list(zip(*last, strict=True)) if parts > 1 else [last]
    for a, b in zip(state if parts > 1 else [state], ends, strict=True):
        np.testing.assert_allclose(a.numpy(), np.stack(b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_every_parameter_has_a_gradient_from_the_zero_state(kind: Any) -> None:
    model = kind(3, 4, 2)
    model(needle.ones(1, 2, 3))[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_state_can_be_carried_on_detached() -> None:
    model, x = nn.LSTM(3, 4), needle.ones(6, 2, 3)
    whole, _ = model(x)
    first, (h, c) = model(x[:4])
    rest, _ = model(x[4:], (h.detach(), c.detach()))
    np.testing.assert_allclose(needle.concatenate([first, rest]).numpy(), whole.numpy(), rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("columns", [4, 6])
def test_attention_gives_result_and_probabilities(
    causal: bool, columns: int, device: needle.Device, rng: np.random.Generator
) -> None:
    q, k, v = (rng.standard_normal((2, 3, n, d)) for n, d in ((4, 5), (columns, 5), (columns, 7)))
    layer = nn.MultiHeadAttention(causal=causal)
    expected = f.attention(q, k, v, causal)
    for found, value in zip(layer(*tensors(device, q, k, v)), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), value, rtol=1e-4, atol=1e-5)
    layer.need_probs = False
    result, probs = layer(*tensors(device, q, k, v))
    assert probs is None
    np.testing.assert_allclose(result.numpy(), expected[0], rtol=1e-4, atol=1e-5)


def test_the_pieces_of_attention(device: needle.Device) -> None:
    layer = nn.MultiHeadAttention(causal=True)
    mask = layer.create_causal_mask(2, 3, device).numpy()
    assert mask.shape == (1, 1, 2, 3)
    np.testing.assert_array_equal(mask[0, 0], [[0, 0, -np.finfo(np.float32).max], [0, 0, 0]])
    a, b = needle.randn(2, 3, 4, device=device), needle.randn(2, 5, 4, device=device)
    np.testing.assert_allclose(layer.matmul(a, b).numpy(), a.numpy() @ b.numpy().swapaxes(1, 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.softmax(a).numpy(), f.softmax(a.numpy()), rtol=1e-5)


def test_attention_drops_probabilities() -> None:
    needle.manual_seed(0)
    layer = nn.MultiHeadAttention(dropout=0.5)
    q = needle.randn(1, 2, 6, 4)
    result, probs = layer(q, q, q)
    assert 0.2 < (probs.numpy() == 0).mean() < 0.8
    np.testing.assert_allclose(result.numpy(), probs.numpy() @ q.numpy(), rtol=1e-4, atol=1e-5)
    assert np.all(layer.eval()(q, q, q)[1].numpy() > 0)


def test_cross_attention(device: needle.Device, rng: np.random.Generator) -> None:
    layer = nn.AttentionLayer(4, 2, 3, k_features=5, v_features=6, out_features=7, causal=False, device=device)
    q, k, v = (rng.standard_normal((2, n, d)) for n, d in ((3, 4), (5, 5), (5, 6)))
    y = layer(*tensors(device, q, k, v))
    np.testing.assert_allclose(y.numpy(), f.attention_layer(q, layer, k, v), rtol=1e-4, atol=1e-5)


def test_a_causal_transformer_does_not_see_the_future(device: needle.Device) -> None:
    needle.manual_seed(1)
    model = nn.Transformer(8, 16, 2, num_head=2, dim_head=4, device=device, sequence_len=10).eval()
    x = needle.randn(6, 2, 8, device=device)
    whole, state = model(x)
    assert state.shape == whole.shape
    assert not state.numpy().any()
    np.testing.assert_allclose(model(x[:3])[0].numpy(), whole.numpy()[:3], rtol=1e-4, atol=1e-5)

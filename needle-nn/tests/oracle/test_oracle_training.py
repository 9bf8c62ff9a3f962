"""Whole steps of training against PyTorch: a ConvNet, a language model, a Transformer, each optimizer and schedule."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn, optim

torch = pytest.importorskip("torch")
tnn, F = torch.nn, torch.nn.functional


def turned(name: str, parameter: Any) -> Any:
    """A parameter as PyTorch keeps it."""
    if parameter.ndim == 4:
        return parameter.transpose(3, 2, 0, 1)
    return parameter.reshape(-1) if name.endswith("bias") else parameter.T


# name, Needle's, PyTorch's: SGD averages gradients, so that PyTorch's learning rate is (1 - momentum) times its own
OPTIMIZERS: list[tuple[str, Any, Any]] = [
    ("sgd", lambda p: optim.SGD(p, 0.1, weight_decay=0.01), lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01)),
    ("momentum", lambda p: optim.SGD(p, 0.1, 0.75), lambda p: torch.optim.SGD(p, 0.025, 0.75)),
    ("nesterov", lambda p: optim.SGD(p, 0.1, 0.75, 0.01, nesterov=True),
     lambda p: torch.optim.SGD(p, 0.025, 0.75, weight_decay=0.01, nesterov=True)),
    ("adam", lambda p: optim.Adam(p, 0.01, weight_decay=0.1), lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1)),
    ("adamw", lambda p: optim.AdamW(p, 0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
    ("rmsprop", lambda p: optim.RMSProp(p, 0.01, 0.9, momentum=0.5),
     lambda p: torch.optim.RMSprop(p, 0.01, 0.9, momentum=0.5)),
    ("adagrad", lambda p: optim.Adagrad(p, 0.1, 0.1), lambda p: torch.optim.Adagrad(p, 0.1, 0.1)),
]  # fmt: skip


class Pair:
    """A model of Needle's in float64 and PyTorch's parameters of the same values."""

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.model = model
        self.theirs = {}
        for name, parameter in model.named_parameters():
            parameter.array.assign(rng.standard_normal(parameter.shape) * 0.3)
            self.theirs[name] = torch.tensor(np.ascontiguousarray(turned(name, parameter.numpy())), requires_grad=True)

    def linear(self, x: Any, name: str) -> Any:
        return F.linear(x, self.theirs[f"{name}.weight"], self.theirs.get(f"{name}.bias"))

    def compare(self, gradients: bool) -> None:
        for name, parameter in self.model.named_parameters():
            mine, theirs = (parameter.grad, self.theirs[name].grad) if gradients else (parameter, self.theirs[name])
            value = np.ascontiguousarray(turned(name, mine.numpy()))
            np.testing.assert_allclose(value, theirs.detach().numpy(), rtol=1e-5, atol=1e-5, err_msg=name)

    def train(self, forward: Any, x: Any, labels: Any, optimizer: Any, oracle: Any, steps: int = 4) -> None:
        """Steps on both sides, compared after each."""
        mine, theirs = optimizer(self.model.parameters()), oracle(list(self.theirs.values()))
        loss_function = nn.SoftmaxLoss()
        for _ in range(steps):
            logits, expected = self.model(Tensor(x, device="numpy")), forward(self, torch.tensor(x))
            loss = loss_function(logits, Tensor(labels, device="numpy"))
            reference = F.cross_entropy(expected, torch.tensor(labels))
            np.testing.assert_allclose(loss.item(), reference.item(), rtol=1e-5)
            mine.reset_grad()
            theirs.zero_grad()
            loss.backward()
            reference.backward()
            self.compare(gradients=True)
            norm = mine.clip_grad_norm(2.0)
            np.testing.assert_allclose(norm.item(), tnn.utils.clip_grad_norm_(self.theirs.values(), 2.0).item())
            mine.step()
            theirs.step()
            self.compare(gradients=False)


KW: dict[str, Any] = {"device": "numpy", "dtype": "float64"}


def mlp(pair: Pair, x: Any) -> Any:
    return pair.linear(torch.tanh(pair.linear(x, "0")), "2")


@pytest.mark.parametrize(("optimizer", "oracle"), [row[1:] for row in OPTIMIZERS], ids=[row[0] for row in OPTIMIZERS])
def test_optimizers(optimizer: Any, oracle: Any, rng: np.random.Generator) -> None:
    pair = Pair(nn.Sequential(nn.Linear(4, 8, **KW), nn.Tanh(), nn.Linear(8, 3, **KW)))
    pair.train(mlp, rng.standard_normal((10, 4)), np.arange(10) % 3, optimizer, oracle, steps=6)


def conv_net(pair: Pair, x: Any) -> Any:
    def conv_bn(x: Any, name: str, stride: int) -> Any:
        y = F.conv2d(x, pair.theirs[f"{name}.0.weight"], pair.theirs[f"{name}.0.bias"], stride, 1)
        y = F.batch_norm(y, None, None, pair.theirs[f"{name}.1.weight"], pair.theirs[f"{name}.1.bias"], training=True)
        return torch.relu(y)

    x = conv_bn(x, "0", 2)
    x = conv_bn(x, "1.fn", 1) + x
    return pair.linear(F.max_pool2d(x, 2).flatten(1), "4")


def test_a_conv_net(rng: np.random.Generator) -> None:
    def conv_bn(n_in: int, n_out: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.Conv(n_in, n_out, 3, stride, **KW), nn.BatchNorm2d(n_out, **KW), nn.ReLU())

    model = nn.Sequential(
        conv_bn(3, 4, 2), nn.Residual(conv_bn(4, 4, 1)), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3, **KW)
    )
    pair = Pair(model)
    pair.train(conv_net, rng.standard_normal((6, 3, 8, 8)), np.arange(6) % 3, *OPTIMIZERS[3][1:])


class LanguageModel(nn.Module):
    """Embedding, recurrent network, logits for every position."""

    def __init__(self, sequence: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6, **KW)
        self.sequence = sequence
        self.linear = nn.Linear(6, 7, **KW)

    def forward(self, ids: Tensor) -> Tensor:
        hidden, _ = self.sequence(self.embedding(ids))
        return self.linear(hidden.reshape(-1, 6))  # type: ignore[no-any-return]


def recurrent(kind: Any, cells: str) -> Any:
    def forward(pair: Pair, ids: Any) -> Any:
        weights = [
            pair.theirs[f"sequence.{cells}.{k}.{name}"]
            for k in range(2)
            for name in ("W_ih", "W_hh", "bias_ih", "bias_hh")
        ]
        x = F.embedding(ids, pair.theirs["embedding.weight"].T)
        zeros = torch.zeros(2, x.shape[1], 6, dtype=x.dtype)
        state = (zeros, zeros) if kind is torch.lstm else zeros
        hidden = kind(x, state, weights, True, 2, 0.0, False, False, False)[0]
        return pair.linear(hidden.reshape(-1, 6), "linear")

    return forward


@pytest.mark.parametrize(
    ("make", "kind", "cells"),
    [(nn.LSTM, "lstm", "lstm_cells"), (nn.GRU, "gru", "gru_cells"), (nn.RNN, "rnn_tanh", "rnn_cells")],
)
def test_a_language_model(make: Any, kind: str, cells: str, rng: np.random.Generator) -> None:
    pair = Pair(LanguageModel(make(6, 6, 2, **KW)))
    ids = rng.integers(0, 7, (5, 4))
    pair.train(recurrent(getattr(torch, kind), cells), ids, rng.integers(0, 7, 20), *OPTIMIZERS[1][1:])


def transformer(pair: Pair, ids: Any) -> Any:
    x = F.embedding(ids, pair.theirs["embedding.weight"].T)
    x = x + pair.theirs["sequence.positions.weight"].T[: len(ids), None]
    x = x.transpose(0, 1)
    for k in range(2):
        name = f"sequence.layers.{k}"

        def norm(x: Any, which: str, name: str = name) -> Any:
            weights = (pair.theirs[f"{name}.{which}.{part}"] for part in ("weight", "bias"))
            return F.layer_norm(x, (6,), *weights)

        q, key, v = (
            pair.linear(norm(x, f"attn.prenorm_{p}"), f"{name}.attn.{p}_projection").unflatten(-1, (2, 3))
            for p in ("q", "k", "v")
        )
        heads = (part.transpose(1, 2) for part in (q, key, v))
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
        x = x + pair.linear(mixed, f"{name}.attn.out_projection")
        x = x + pair.linear(torch.relu(pair.linear(norm(x, "norm"), f"{name}.linear1")), f"{name}.linear2")
    return pair.linear(x.transpose(0, 1).reshape(-1, 6), "linear")


def test_a_transformer(rng: np.random.Generator) -> None:
    pair = Pair(LanguageModel(nn.Transformer(6, 10, 2, num_head=2, dim_head=3, sequence_len=5, **KW)))
    pair.train(transformer, rng.integers(0, 7, (5, 4)), rng.integers(0, 7, 20), *OPTIMIZERS[4][1:])


SCHEDULES: list[tuple[str, Any, Any]] = [
    ("step", optim.step_decay(1.0, 3, 0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)),
    ("cosine", optim.cosine(1.0, 12), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 12)),
    ("one cycle", optim.one_cycle(1.0, 12), lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, 12)),
]


@pytest.mark.parametrize(("rate", "oracle"), [row[1:] for row in SCHEDULES], ids=[row[0] for row in SCHEDULES])
def test_schedules(rate: Any, oracle: Any) -> None:
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    schedule = oracle(theirs)
    for step in range(12):
        np.testing.assert_allclose(rate(step), theirs.param_groups[0]["lr"], rtol=1e-9, atol=1e-12)
        theirs.step()
        if step < 11:
            schedule.step()


@pytest.mark.parametrize("device", [str(d) for d in needle.devices()])
def test_functions(device: str, rng: np.random.Generator) -> None:
    """einsum, topk and padding, which layers do not use."""
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 4), (2, 4, 5)))
    x, z = (Tensor(v, device=device, requires_grad=True) for v in (a, b))
    p, q = (torch.tensor(v, requires_grad=True) for v in (a, b))
    mine, theirs = needle.einsum("bij,bjk->ki", x, z), torch.einsum("bij,bjk->ki", p, q)
    (mine.square().sum() + needle.topk(x, 2)[0].sum() + needle.pad(x, ((0, 0), (1, 2), (0, 1)), 3.0).sum()).backward()
    (theirs.square().sum() + torch.topk(p, 2)[0].sum() + F.pad(p, (0, 1, 1, 2), value=3.0).sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(z.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-5)

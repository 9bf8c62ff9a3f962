"""Whole training steps under needle.compile: what is replayed equals what ran, number for number."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim
from needle.errors import GraphError

STEPS = 30


class Sequence(nn.Module):
    """(T, B, 6) -> (T * B, 5) by a recurrent network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.output = network, nn.Linear(12, 5)

    def forward(self, x: ndl.Tensor) -> ndl.Tensor:
        return self.output(self.network(x)[0].reshape(-1, 12))


class Characters(nn.Module):
    """(B, T) ids -> (B * T, 5) by a Transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 12)
        self.network = nn.Transformer(12, 24, 2, num_head=2, dim_head=6, dropout=0.1, batch_first=True, sequence_len=8)
        self.output = nn.Linear(12, 5)

    def forward(self, x: ndl.Tensor) -> ndl.Tensor:
        return self.output(self.network(self.embedding(x))[0].reshape(-1, 12))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 5)
    )


def convolutional() -> nn.Module:
    block = nn.Sequential(nn.Conv(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(nn.Conv(1, 4, 3), nn.MaxPool2d(2), nn.Residual(block), nn.GlobalAvgPool(), nn.Linear(4, 5))


def floats(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


def ids(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.integers(0, 5, shape)


# Model, its data, the number of labels, optimizer.
ROWS: dict[str, tuple[Any, Any, int, Any]] = {
    "mlp, sgd": (mlp, floats(8, 6), 8, lambda p: optim.SGD(p, 0.1)),
    "mlp, momentum": (mlp, floats(8, 6), 8, lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01)),
    "mlp, adam": (mlp, floats(8, 6), 8, lambda p: optim.Adam(p, 0.01)),
    "convolutions, adamw": (convolutional, floats(4, 1, 8, 8), 4, lambda p: optim.AdamW(p, 0.01)),
    "rnn, rmsprop": (lambda: Sequence(nn.RNN(6, 12)), floats(3, 2, 6), 6, lambda p: optim.RMSProp(p, 0.01)),
    "lstm, adagrad": (
        lambda: Sequence(nn.LSTM(6, 12, 2)), floats(3, 2, 6), 6, lambda p: optim.Adagrad(p, 0.1, lr_decay=0.1)
    ),
    "gru, lion": (lambda: Sequence(nn.GRU(6, 12)), floats(3, 2, 6), 6, lambda p: optim.Lion(p, 0.01)),
    "transformer, adam": (Characters, ids(2, 8), 16, lambda p: optim.Adam(p, 0.01, weight_decay=0.01)),
}  # fmt: skip


def run(row: Any, compiled: bool) -> tuple[Any, nn.Module, Any]:
    """Losses and norms of a training, the model, and what it says in evaluation, of two batches."""
    build, draw, labels, optimizer_of = row
    rng = np.random.default_rng(1)
    batches = [(ndl.Tensor(draw(rng)), ndl.Tensor(rng.integers(0, 5, labels))) for _ in range(3)]
    ndl.manual_seed(3)
    model = build()
    optimizer, loss_function = optimizer_of(model.parameters()), nn.SoftmaxLoss()

    def step(x: ndl.Tensor, y: ndl.Tensor) -> dict[str, ndl.Tensor]:
        loss = loss_function(model(x), y)
        optimizer.reset_grad()
        loss.backward()
        norm = optimizer.clip_grad_norm(1.0)
        optimizer.step()
        return {"loss": loss, "norm": norm}

    train = ndl.compile(step) if compiled else step
    history = []
    for i in range(STEPS):
        if i == STEPS // 2:
            optimizer.lr *= 0.5
        seen = train(*batches[i % 3])
        history.append((float(seen["loss"]), float(seen["norm"])))
    model.eval()
    with ndl.no_grad():
        answer = ndl.compile(model) if compiled else model
        answers = [answer(x).numpy() for x, _ in batches]
    if compiled:
        assert train.captures == 1
    return history, model, answers


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_compiled_training_equals_eager(row: Any) -> None:
    expected, found = run(row, compiled=False), run(row, compiled=True)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5, atol=1e-6)
    states = expected[1].state_dict(), found[1].state_dict()
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    for p, q in zip(expected[1].parameters(), found[1].parameters(), strict=True):
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-6)


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 2))


def halved(model: nn.Module) -> None:
    model.load_state_dict({name: value * 0.5 for name, value in model.state_dict().items()})


def replaced(model: nn.Module) -> None:
    for p in model.parameters():
        p.data = ndl.Tensor(p.numpy() * 0.5)


SGD = lambda p: optim.SGD(p, 0.1)  # noqa: E731
INTS = lambda p: optim.SGD(p, 1, weight_decay=0)  # noqa: E731
MOMENTUM = lambda p: optim.SGD(p, 0.1, momentum=0.9)  # noqa: E731
# What is changed between two steps, of the model and the optimizer, and the optimizer.
CHANGES: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
    "rate": (SGD, lambda m, o: setattr(o, "lr", 0.01)),
    "rate, a whole number": (INTS, lambda m, o: setattr(o, "lr", 0.01)),
    "decay, from a whole 0": (INTS, lambda m, o: setattr(o, "weight_decay", 0.1)),
    "momentum": (MOMENTUM, lambda m, o: setattr(o, "momentum", 0.5)),
    "momentum, from 0": (SGD, lambda m, o: setattr(o, "momentum", 0.5)),
    "nesterov": (MOMENTUM, lambda m, o: setattr(o, "nesterov", True)),
    "betas": (lambda p: optim.Adam(p, 0.01), lambda m, o: setattr(o, "beta1", 0.5)),
    "dropout's share": (SGD, lambda m, o: setattr(m.layers[2], "p", 0.9)),
    "momentum of a norm": (SGD, lambda m, o: setattr(m.layers[1], "momentum", 0.9)),
    "eps of a norm": (SGD, lambda m, o: setattr(m.layers[1], "eps", 0.5)),
    "a layer": (SGD, lambda m, o: setattr(m, "layers", (*m.layers[:2], nn.ReLU(), m.layers[3]))),
    "evaluation": (SGD, lambda m, o: m.eval()),
    "a hook": (SGD, lambda m, o: m.layers[3].register_forward_hook(lambda module, args, result: result * 2)),
    "a frozen parameter": (SGD, lambda m, o: m.layers[0].weight.requires_grad_(False)),
    "a state": (SGD, lambda m, o: halved(m)),
    "data": (SGD, lambda m, o: replaced(m)),
    "seed": (SGD, lambda m, o: ndl.manual_seed(77)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_between_steps_is_seen(name: str) -> None:
    optimizer_of, change = CHANGES[name]
    histories = []
    for compiled in (False, True):
        ndl.manual_seed(0)
        model = small()
        optimizer = optimizer_of(model.parameters())

        def step(x: ndl.Tensor, model: Any = model, optimizer: Any = optimizer) -> ndl.Tensor:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run_step, seen = ndl.compile(step) if compiled else step, []
        for i in range(6):
            if i == 3:
                change(model, optimizer)
            seen.append(float(run_step(ndl.Tensor(floats(8, 6)(np.random.default_rng(i))))))
        histories.append(seen)
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-5)


def test_a_compiled_module_is_a_part_of_another() -> None:
    inner = nn.Linear(3, 2)
    model = nn.Sequential(ndl.compile(inner), nn.ReLU())
    assert model.parameters() == [inner.weight, inner.bias]
    with ndl.no_grad():
        np.testing.assert_array_equal(model(ndl.ones(1, 3)).numpy(), inner(ndl.ones(1, 3)).relu().numpy())
    model.eval()
    assert not inner.training


def test_training_and_evaluation_are_two_programs() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    x = ndl.ones(16, 4)
    with ndl.no_grad():
        f = ndl.compile(model)
        assert (f(x).numpy() == 0).any()
        model.eval()
        np.testing.assert_array_equal(f(x).numpy(), model(x).numpy())
        model.train()
        assert (f(x).numpy() == 0).any()
    assert f.captures == 2


def test_a_loaded_state_is_seen() -> None:
    def make() -> tuple[nn.Module, Any]:
        model = nn.Linear(3, 2)
        return model, optim.Adam(model.parameters(), 0.1)

    model, optimizer = make()
    x = ndl.ones(2, 3)

    def step(x: ndl.Tensor) -> ndl.Tensor:
        optimizer.reset_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = ndl.compile(step)
    states = []
    for _ in range(4):
        states.append({name: ndl.Tensor(v.numpy()) for name, v in model.state_dict().items()})
        saved = {
            k: ndl.Tensor(v.numpy()) if isinstance(v, ndl.Tensor) else v for k, v in optimizer.state_dict().items()
        }
        last = float(compiled(x))
    model.load_state_dict(states[-1])
    optimizer.load_state_dict(saved)
    assert float(compiled(x)) == pytest.approx(last, rel=1e-6)


def test_a_rate_that_is_set_inside_is_refused() -> None:
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)

    @ndl.compile
    def step(x: ndl.Tensor) -> None:
        optimizer.lr = 0.5

    with pytest.raises(GraphError, match="compile: lr is set inside"):
        step(ndl.ones(1, 3))


def test_an_optimizer_made_inside_begins_anew_in_each_call() -> None:
    def trained(compiled: bool) -> Any:
        weight = nn.Parameter(ndl.ones(3))

        def step(x: ndl.Tensor) -> None:
            optimizer = optim.Adam([weight], 0.1)
            (weight * x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        call = ndl.compile(step) if compiled else step
        for i in range(4):
            call(ndl.Tensor([1.0, -1.0, i]))
        return weight.numpy()

    np.testing.assert_array_equal(trained(True), trained(False))

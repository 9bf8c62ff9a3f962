"""Whoever changes a weight, and however: the next product reads it as it is. Devices may keep copies of weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim

Change = Callable[[Any, Any], None]  # of a layer's weight, in place; gets the layer and another weight's values


def by_optimizer(kind: Any, compiled: bool) -> Change:
    def change(layer: Any, values: Any) -> None:
        optimizer = kind([layer.weight], lr=0.1)

        def step(g: ndl.Tensor) -> None:
            layer.weight.grad = g
            optimizer.step()

        run = ndl.compile(step) if compiled else step
        for _ in range(2):  # captured, and replayed
            run(ndl.tensor(values, device=layer.weight.device))

    return change


def by_loading(layer: Any, values: Any) -> None:
    state = layer.state_dict()
    layer.load_state_dict({**state, "weight": ndl.tensor(values, device=layer.weight.device)})


def by_key(layer: Any, values: Any) -> None:
    with ndl.no_grad():
        layer.weight.detach()[:] = ndl.tensor(values, device=layer.weight.device)


def by_one_row(layer: Any, values: Any) -> None:
    with ndl.no_grad():
        layer.weight.detach()[-1] = ndl.tensor(values[-1], device=layer.weight.device)


def by_view(layer: Any, values: Any) -> None:
    """Through an alias in another order."""
    alias = layer.weight.detach().array.permuted(tuple(range(values.ndim))[::-1])
    alias.assign(ndl.tensor(np.ascontiguousarray(values.T), device=layer.weight.device).array)


def by_data(layer: Any, values: Any) -> None:
    layer.weight.data = ndl.tensor(values, device=layer.weight.device)


def by_compiled(layer: Any, values: Any) -> None:
    """By a compiled function that is not the one that reads it."""

    @ndl.compile
    def add(x: ndl.Tensor) -> None:
        with ndl.no_grad():
            layer.weight.writable().assign((layer.weight + x).array)

    for _ in range(2):
        add(ndl.tensor(values, device=layer.weight.device))


def by_numpy(layer: Any, values: Any) -> None:
    """Through a NumPy array that shares the memory, where there is one."""
    shared = layer.weight.array.host_array()
    if shared is None:
        by_key(layer, values)
    else:
        shared[...] = values


CHANGES: dict[str, Change] = {
    "SGD": by_optimizer(optim.SGD, False),
    "Adam": by_optimizer(optim.Adam, False),
    "compiled SGD": by_optimizer(optim.SGD, True),
    "compiled Adam": by_optimizer(optim.Adam, True),
    "load_state_dict": by_loading,
    "a key": by_key,
    "one row": by_one_row,
    "a view": by_view,
    "data": by_data,
    "another compiled function": by_compiled,
    "NumPy": by_numpy,
}


def linear(device: ndl.Device) -> tuple[Any, Any]:
    return nn.Linear(96, 64, device=device), (8, 96)


def convolution(device: ndl.Device) -> tuple[Any, Any]:
    return nn.Conv(6, 40, 3, device=device), (2, 6, 9, 8)


def pointwise(device: ndl.Device) -> tuple[Any, Any]:
    return nn.Conv(64, 72, 1, device=device), (2, 64, 3, 4)


def expected(layer: Any, x: Any) -> Any:
    """On the reference, from the values that the layer has now."""
    twin, _ = {64: linear, 40: convolution, 72: pointwise}[layer.weight.shape[-1]](ndl.device("numpy"))
    twin.load_state_dict({name: value.to("numpy") for name, value in layer.state_dict().items()})
    with ndl.no_grad():
        return twin(ndl.tensor(x, device="numpy")).numpy()


@pytest.mark.parametrize("make", [linear, convolution, pointwise])
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_weight_is_read(name: str, make: Any, device: ndl.Device, rng: np.random.Generator) -> None:
    ndl.manual_seed(0)
    layer, shape = make(device)
    x = rng.standard_normal(shape, dtype=np.float32)
    given, compiled = ndl.tensor(x, device=device), ndl.compile(layer)

    def check() -> None:
        right = expected(layer, x)
        with ndl.no_grad():
            for run in (layer, compiled) * 3:
                np.testing.assert_allclose(run(given).numpy(), right, atol=1e-4, rtol=1e-4)

    check()
    for _ in range(3):
        before = layer.weight.numpy().copy()
        CHANGES[name](layer, rng.standard_normal(layer.weight.shape, dtype=np.float32))
        assert not np.array_equal(layer.weight.numpy(), before)
        check()


@pytest.mark.parametrize("recurrent", [nn.LSTM, nn.GRU, nn.RNN])
def test_training_reads_each_update(recurrent: Any, device: ndl.Device, rng: np.random.Generator) -> None:
    """Weights that are read many times in each step, and then change."""
    values = rng.standard_normal((5, 3, 64), dtype=np.float32)

    def losses(where: ndl.Device | str) -> list[float]:
        np.random.seed(0)
        ndl.manual_seed(0)
        layer = recurrent(64, 64, device=where)
        x, optimizer, found = ndl.tensor(values, device=where), optim.SGD(layer.parameters(), lr=0.5), []
        for _ in range(5):
            optimizer.zero_grad()
            loss = (layer(x)[0] ** 2).mean()
            loss.backward()
            optimizer.step()
            found.append(float(loss))
        return found

    found = losses(device)
    np.testing.assert_allclose(found, losses("numpy"), rtol=1e-4)
    assert len(set(found)) == len(found)

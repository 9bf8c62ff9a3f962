"""Once warm, a training step of a whole network asks the driver for no memory, neither the card's nor pinned."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim

BATCH, CLASSES, TIMES, WIDTH = 64, 10, 16, 32


class Text(nn.Module):
    """ids (T, B) -> logits (T * B, classes)."""

    def __init__(self, sequence: Any, device: ndl.Device) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, WIDTH, device=device)
        self.sequence = sequence
        self.linear = nn.Linear(WIDTH, CLASSES, device=device)

    def forward(self, ids: ndl.Tensor) -> ndl.Tensor:
        hidden, _ = self.sequence(self.embedding(ids))
        logits: ndl.Tensor = self.linear(hidden.reshape(-1, WIDTH))
        return logits


def mlp(device: ndl.Device) -> nn.Module:
    return nn.Sequential(
        nn.Linear(512, 256, device=device), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, CLASSES, device=device)
    )


def convnet(device: ndl.Device) -> nn.Module:
    return nn.Sequential(
        nn.Conv(3, 16, 3, device=device), nn.BatchNorm2d(16, device=device), nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv(16, 16, 3, device=device), nn.BatchNorm2d(16, device=device), nn.ReLU())),
        nn.Conv(16, 32, 3, 2, device=device), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 8 * 8, CLASSES, device=device),
    )  # fmt: skip


def lstm(device: ndl.Device) -> nn.Module:
    return Text(nn.LSTM(WIDTH, WIDTH, 2, device=device), device)


def transformer(device: ndl.Device) -> nn.Module:
    return Text(
        nn.Transformer(WIDTH, 64, 2, num_head=4, dim_head=8, dropout=0.1, device=device, sequence_len=TIMES), device
    )


NETWORKS: dict[str, tuple[Callable[[ndl.Device], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (BATCH, 512)),
    "convnet": (convnet, (BATCH, 3, 16, 16)),
    "lstm": (lstm, (TIMES, BATCH)),
    "transformer": (transformer, (TIMES, BATCH)),
}
OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.01, momentum=0.9),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.001),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_warm_step_asks_the_driver_for_nothing(name: str, optimizer: str, gpu: ndl.Device, backend: Any) -> None:
    make, shape = NETWORKS[name]
    model, rng = make(gpu), np.random.default_rng(0)
    update, loss_of = OPTIMIZERS[optimizer](model.parameters()), nn.SoftmaxLoss()
    text = len(shape) == 2 and shape[0] == TIMES
    rows = TIMES * BATCH if text else BATCH

    def step() -> float:
        """As a loop does it: the batch comes from the host, the loss goes there."""
        x = rng.integers(0, CLASSES, shape) if text else rng.standard_normal(shape, dtype=np.float32)
        update.zero_grad()
        loss = loss_of(model(ndl.Tensor(x, device=gpu)), ndl.Tensor(rng.integers(0, CLASSES, rows), device=gpu))
        loss.backward()
        update.step()
        return float(loss.item())

    def asked() -> dict[str, int]:
        stats: dict[str, int] = backend.memory_stats()
        return {what: stats[what] for what in ("system_allocations", "held", "pinned")}

    for _ in range(3):
        step()
    warm = asked()
    assert warm["pinned"] > 0, "the batch or the loss went through pinned memory"
    assert all(np.isfinite(step()) for _ in range(20))
    assert asked() == warm

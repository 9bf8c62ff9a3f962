"""A run that is saved and taken up again ends, bit for bit, where one that was never stopped ends."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn, optim
from needle.errors import DataError, ShapeError
from needle.nn import checkpoint

OPTIMIZERS = [
    (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (optim.Adam, {"weight_decay": 0.01}),
    (optim.AdamW, {}),
    (optim.RMSProp, {"momentum": 0.5}),
    (optim.Adagrad, {"lr_decay": 0.1}),
    (optim.Lion, {}),
]


class Run:
    """A network with all kinds of state: running moments, random masks, an optimizer with groups, a schedule."""

    def __init__(self, device: needle.Device, kind: Any, options: dict[str, Any], seed: int = 0) -> None:
        needle.manual_seed(seed)
        self.device = device
        self.model = nn.Sequential(
            nn.Linear(6, 8, device=device), nn.BatchNorm1d(8, device=device), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(8, 3, device=device),
        )  # fmt: skip
        biases = [p for name, p in self.model.named_parameters() if name.endswith("bias")]
        weights = [p for name, p in self.model.named_parameters() if not name.endswith("bias")]
        self.optimizer = kind([{"params": weights}, {"params": biases, "lr": 0.02}], **options)
        self.schedule = optim.Schedule(self.optimizer, optim.cosine(1.0, 12, warmup=3))

    def train(self, steps: int) -> None:
        for _ in range(steps):
            x = Tensor(np.random.randn(16, 6), device=self.device, dtype="float32")
            y = Tensor(np.random.randint(0, 3, 16), device=self.device)
            loss = nn.CrossEntropyLoss(0.1)(self.model(x), y)
            self.optimizer.reset_grad()
            loss.backward()
            self.optimizer.clip_grad_norm(1.0)
            self.optimizer.step()
            self.schedule.step()

    def everything(self) -> dict[str, Any]:
        tensors = {**self.model.state_dict(), **self.optimizer.state_dict()}
        bits = {name: value.numpy().tobytes() for name, value in tensors.items() if isinstance(value, Tensor)}
        return {**bits, "groups": self.optimizer.state_dict()["groups"], "schedule": self.schedule.state_dict()}


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_resumed_run_equals_an_uninterrupted_one(
    kind: Any, options: dict[str, Any], device: needle.Device, tmp_path: Path
) -> None:
    whole = Run(device, kind, options)
    whole.train(8)
    first = Run(device, kind, options)
    first.train(4)
    checkpoint.save(tmp_path / "c", first.model, first.optimizer, first.schedule, note="half")
    second = Run(device, kind, {}, seed=1)
    second.train(2)
    assert checkpoint.load(tmp_path / "c", second.model, second.optimizer, second.schedule, random=True) == {
        "note": "half"
    }
    second.train(4)
    assert second.everything() == whole.everything()


class Larger(Run):
    """The same, but for one more layer: what its checkpoint says does not fit a Run."""

    def __init__(self, device: needle.Device) -> None:
        super().__init__(device, optim.SGD, {"momentum": 0.9})
        self.model = nn.Sequential(*self.model, nn.Linear(3, 3, device=device))


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    device = needle.device("numpy")
    larger, run = Larger(device), Run(device, optim.SGD, {"momentum": 0.9})
    for each in (larger, run):
        each.train(1)
    before, path = run.everything(), tmp_path / "c"

    def fails(error: type[Exception], text: str) -> None:
        with pytest.raises(error) as caught:
            checkpoint.load(path, run.model, run.optimizer, run.schedule)
        assert str(caught.value) == f"{path}: {text}"
        assert run.everything() == before

    checkpoint.save(path, larger.model, larger.optimizer, larger.schedule)
    fails(DataError, "Sequential: the state is of another model: unexpected 5.bias, 5.weight")
    checkpoint.save(path, nn.Sequential(*run.model.modules[:4]), run.optimizer, run.schedule)
    fails(DataError, "Sequential: the state is of another model: missing 4.weight, 4.bias")
    other = nn.Sequential(*run.model.modules[:4], nn.Linear(8, 4, device=device))
    checkpoint.save(path, other, run.optimizer, run.schedule)
    text = "4.weight is (8, 4), not (8, 3), 4.bias is (1, 4), not (1, 3)"
    fails(ShapeError, f"Sequential: the state is of another model: {text}")
    checkpoint.save(path, run.model, run.optimizer)
    fails(DataError, "the checkpoint has no schedule")
    checkpoint.save(path, run.model, optim.Adam(run.model.parameters()), run.schedule)
    fails(DataError, "SGD: the state is of Adam")

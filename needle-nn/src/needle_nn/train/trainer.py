"""Trainer: the loop over epochs and batches, and all of its state, so that it can stop and go on anywhere."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import needle
from needle import Tensor
from needle_nn.data import DataLoader
from needle_nn.nn import checkpoint
from needle_nn.train.recipes import Recipe, Split


@dataclass(frozen=True)
class Settings:
    """What a run was asked for. Kept in its checkpoints."""

    recipe: str
    device: str
    epochs: int
    batch_size: int
    lr: float
    seed: int
    data: str | None = None


@dataclass
class Tally:
    """Sums over the batches of a pass. Values stay on the device until the end, so that no batch waits."""

    losses: list[Any] = field(default_factory=list)
    right: list[Any] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.losses.append(loss.detach())
        self.right.append((logits.detach().argmax(-1) == labels).sum())
        self.sizes.append(labels.size)

    def settle(self) -> None:
        """Fetch what is still on the device."""
        self.losses = [value.item() if isinstance(value, Tensor) else value for value in self.losses]
        self.right = [value.item() if isinstance(value, Tensor) else value for value in self.right]

    def results(self) -> tuple[float, float]:
        """Mean loss and the share of right answers."""
        self.settle()
        n = sum(self.sizes)
        return sum(loss * size for loss, size in zip(self.losses, self.sizes, strict=True)) / n, sum(self.right) / n


@dataclass
class Epoch:
    """An epoch under way: what was done, and the random state before it, from which its order was drawn."""

    random: dict[str, Any]
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0


class Trainer:
    """A run of a recipe. The state of the random generators belongs to it while it lasts."""

    def __init__(self, recipe: Recipe, settings: Settings, split: Split) -> None:
        needle.manual_seed(settings.seed)
        device = needle.device(settings.device)
        train, test = split
        self.recipe, self.settings = recipe, settings
        self.loader = DataLoader(train, settings.batch_size, shuffle=True, device=device)
        self.test = DataLoader(test, 500, device=device)
        self.model = recipe.model(device)
        self.optimizer = recipe.optimizer(self.model.parameters(), settings.lr)
        self.loss = recipe.loss()
        self.schedule = recipe.schedule(settings.lr, settings.epochs * len(self.loader))
        self.history: list[dict[str, Any]] = []  # one row per epoch that is done
        self.epoch: Epoch | None = None

    @property
    def done(self) -> bool:
        return len(self.history) >= self.settings.epochs

    def train_epoch(self, on_batch: Callable[[int, Tensor], None], stopped: Callable[[], bool]) -> bool:
        """Begin an epoch or go on with it; False if it was stopped between two batches."""
        epoch, batches = self._begin()
        self.model.train()
        since = time.perf_counter()
        for number, (x, y) in enumerate(batches, len(epoch.tally.sizes) + 1):
            on_batch(number, self._step(epoch.tally, x, y))
            if stopped() and number < len(self.loader):
                break
        epoch.tally.settle()
        epoch.seconds += time.perf_counter() - since
        if len(epoch.tally.sizes) < len(self.loader):
            return False
        self._finish(epoch)
        return True

    def _begin(self) -> tuple[Epoch, Any]:
        """The epoch and its remaining batches, in the order that was drawn when it began."""
        if self.epoch is None:
            self.epoch = Epoch(checkpoint.random_state())
            return self.epoch, self.loader.batches()
        now = checkpoint.random_state()
        checkpoint.set_random_state(self.epoch.random)
        batches = self.loader.batches(start=len(self.epoch.tally.sizes))
        checkpoint.set_random_state(now)
        return self.epoch, batches

    def _step(self, tally: Tally, x: Tensor, y: Tensor) -> Tensor:
        """One update of the model; returns the loss before it."""
        self.optimizer.lr = self.schedule(self.optimizer.steps)
        logits = self.model(x)
        loss: Tensor = self.loss(logits, y)
        self.optimizer.reset_grad()
        loss.backward()
        self.optimizer.step()
        tally.add(loss, logits, y)
        return loss

    def _finish(self, epoch: Epoch) -> None:
        loss, accuracy = epoch.tally.results()
        test_loss, test_accuracy = self.evaluate()
        row = {"epoch": len(self.history) + 1, "loss": loss, "train_accuracy": accuracy}
        self.history.append({**row, "test_loss": test_loss, "test_accuracy": test_accuracy, "seconds": epoch.seconds})
        self.epoch = None

    def evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy on the test data."""
        self.model.eval()
        tally = Tally()
        with needle.no_grad():
            for x, y in self.test:
                logits = self.model(x)
                tally.add(self.loss(logits, y), logits, y)
        return tally.results()

    def save(self, path: Path) -> None:
        under_way = None if self.epoch is None else asdict(self.epoch)
        checkpoint.save(
            path, self.model, self.optimizer, settings=asdict(self.settings), history=self.history, epoch=under_way
        )

    def load(self, path: Path) -> None:
        facts = checkpoint.load(path, self.model, self.optimizer, random=True)
        self.history, under_way = facts["history"], facts["epoch"]
        if under_way is not None:
            self.epoch = Epoch(under_way["random"], Tally(**under_way["tally"]), under_way["seconds"])

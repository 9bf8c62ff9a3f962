"""Trainer: the loop over epochs and batches, and all of its state, so that it can stop and go on anywhere."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import needle
from needle import Tensor
from needle_nn.nn import checkpoint
from needle_nn.optim.clip import grad_norm
from needle_nn.train.recipe import Recipe, Settings, Split
from needle_nn.train.tally import Tally


@dataclass
class Epoch:
    """An epoch under way: what was done, and the random state before it, from which its order was drawn."""

    random: dict[str, Any]
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0


class Trainer:
    """A run of a recipe. The state of the random generators belongs to it while it lasts.

    With `norms`, the norm of the gradient is computed in each step; it is in any case where the recipe clips it.
    """

    def __init__(self, recipe: Recipe, settings: Settings, split: Split, *, norms: bool = False) -> None:
        needle.manual_seed(settings.seed)
        device = needle.device(settings.device)
        self.recipe, self.settings, self.split, self.norms = recipe, settings, split, norms
        self.loader, self.test = recipe.loaders(split, settings, device)
        self.model = recipe.model(split[0], settings, device)
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
            self.recipe.begin(self.model)
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
        if self.recipe.clip is not None:
            tally.norms.append(self.optimizer.clip_grad_norm(self.recipe.clip))
        elif self.norms:
            tally.norms.append(grad_norm(self.optimizer.params))
        self.optimizer.step()
        tally.rates.append(self.optimizer.lr)
        tally.add(loss, logits, y, self.recipe.measure.counts)
        return loss

    def _finish(self, epoch: Epoch) -> None:
        measure = self.recipe.measure
        loss, right = epoch.tally.results()
        test_loss, test_right = self.evaluate()
        self.history.append(
            {
                "epoch": len(self.history) + 1,
                "loss": loss,
                f"train_{measure.name}": measure.of(loss, right),
                "test_loss": test_loss,
                f"test_{measure.name}": measure.of(test_loss, test_right),
                "seconds": epoch.seconds,
                "steps": epoch.tally.steps(),
            }
        )
        self.epoch = None

    def evaluate(self) -> tuple[float, float]:
        """Mean loss on the test data, and the share of right answers."""
        self.model.eval()
        self.recipe.begin(self.model)
        tally = Tally()
        with needle.no_grad():
            for x, y in self.test.batches():
                logits = self.model(x)
                tally.add(self.loss(logits, y), logits, y, self.recipe.measure.counts)
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

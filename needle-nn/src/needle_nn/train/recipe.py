"""Recipe: what `needle train NAME` trains, on which data, and how. The recipes are in `recipes/`, a file a family."""

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from needle import Device, Tensor
from needle_nn import data, nn, optim

Split: TypeAlias = tuple[Any, Any]  # training and test data: what the recipe's `loaders` take
Schedule: TypeAlias = Callable[[int], float]


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
    workers: int = 0


class Loader(Protocol):
    """Batches (x, y) of a pass, from one of them on."""

    def __len__(self) -> int: ...
    def batches(self, start: int = 0) -> Iterator[tuple[Tensor, ...]]: ...


@dataclass(frozen=True)
class Measure:
    """What is told of a pass beside its mean loss, and made of that and the share of right answers."""

    name: str
    label: str  # of its curve
    form: str
    of: Callable[[float, float], float]
    scale: float = 1.0  # on its curve
    counts: bool = False  # whether right answers are counted

    def text(self, value: float) -> str:
        return self.form.format(value)


ACCURACY = Measure("accuracy", "accuracy (%)", "{:7.2%}", lambda loss, right: right, scale=100.0, counts=True)
PERPLEXITY = Measure("perplexity", "perplexity", "{:8.2f}", lambda loss, right: math.exp(min(loss, 700.0)))


def image_loaders(split: Split, settings: Settings, device: Device) -> tuple[Loader, Loader]:
    """Batches of training data in a new order each epoch, and of test data."""
    train, test = split
    loader = data.DataLoader(train, settings.batch_size, shuffle=True, device=device, num_workers=settings.workers)
    return loader, data.DataLoader(test, 500, device=device)


@dataclass(frozen=True)
class Recipe:
    """A model, its data and its settings."""

    name: str
    summary: str
    about: str  # for --help: where the data comes from, and what to expect
    data: Callable[[Path | None, bool], Split]  # from the folder or file that was named, and whether to download
    model: Callable[[Any, Settings, Device], nn.Module]  # from the training data
    optimizer: Callable[[Iterable[Tensor], float], optim.Optimizer]
    epochs: int
    batch_size: int
    lr: float
    source: str | None = None  # "folder" or "file", where the user may name one
    downloads: bool = False
    items: str = "images"
    unit: str = "mean cross-entropy"  # of the loss
    measure: Measure = ACCURACY
    loaders: Callable[[Split, Settings, Device], tuple[Loader, Loader]] = image_loaders
    loss: Callable[[], nn.Module] = nn.SoftmaxLoss
    schedule: Callable[[float, int], Schedule] = optim.cosine
    clip: float | None = None  # the norm above which gradients are scaled down
    begin: Callable[[Any], None] = lambda model: None  # called before each pass over the training or test data
    sample: Callable[[Any, Sized, int], str] | None = None  # something to show after an epoch

"""Recipes: what `needle train NAME` trains, on which data, and how. To add one, write its functions and its row."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from needle import Device, Tensor
from needle_nn import data, nn, optim

Split: TypeAlias = tuple[data.Dataset, data.Dataset]


@dataclass(frozen=True)
class Recipe:
    """A model, its data and its settings. `data` is given the folder of --data, or None."""

    name: str
    summary: str
    about: str  # for --help: where the data comes from, and what to expect
    data: Callable[[Path | None], Split]
    model: Callable[[Device], nn.Module]
    optimizer: Callable[[Iterable[Tensor], float], optim.Optimizer]
    epochs: int
    batch_size: int
    lr: float
    takes_folder: bool = False
    loss: Callable[[], nn.Module] = nn.SoftmaxLoss
    schedule: Callable[[float, int], Callable[[int], float]] = optim.cosine


def mlp(device: Device, *sizes: int) -> nn.Module:
    """Linear layers of these sizes, with a ReLU between each two."""
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out, device=device), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def digits_data(folder: Path | None) -> Split:
    return data.DigitsDataset(train=True), data.DigitsDataset(train=False)


def fashion_mnist_data(folder: Path | None) -> Split:
    return data.FashionMNISTDataset(folder, train=True), data.FashionMNISTDataset(folder, train=False)


DIGITS = Recipe(
    name="digits",
    summary="handwritten digits, 8x8: a small MLP, seconds",
    about="The 1,797 images are part of needle-nn. Expect 98 % of the test images right.",
    data=digits_data,
    model=lambda device: mlp(device, 64, 512, 256, 10),
    optimizer=optim.Adam,
    epochs=10,
    batch_size=32,
    lr=2e-3,
)

FASHION_MNIST = Recipe(
    name="fashion-mnist",
    summary="pictures of clothes, 28x28: an MLP, minutes",
    about=(
        "The files are read from --data, or from data/fashion-mnist or /usr/share/datasets/fashion-mnist. On Debian "
        "and Ubuntu, apt install dataset-fashion-mnist; elsewhere, download the four .gz files from "
        "https://github.com/zalandoresearch/fashion-mnist. Expect about 90 % of the test images right."
    ),
    data=fashion_mnist_data,
    model=lambda device: mlp(device, 784, 512, 256, 10),
    optimizer=optim.Adam,
    epochs=15,
    batch_size=128,
    lr=1e-3,
    takes_folder=True,
)

RECIPES = {recipe.name: recipe for recipe in (DIGITS, FASHION_MNIST)}

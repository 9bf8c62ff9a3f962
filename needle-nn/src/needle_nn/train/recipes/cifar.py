"""CIFAR-10 with ResNet9, the course's small residual network."""

from pathlib import Path
from typing import Any

from needle import Device
from needle_nn import data, nn, optim
from needle_nn.train.models import conv_norm, residual
from needle_nn.train.recipe import Recipe, Settings, Split

FOLDER = Path("data/cifar-10-batches-py")


def cifar10(folder: Path | None, download: bool) -> Split:
    """Training images are mirrored and moved at random."""
    place, moves = folder or FOLDER, (data.RandomFlipHorizontal(), data.RandomCrop(padding=4))
    train = data.CIFAR10Dataset(place, train=True, transforms=moves, download=download)
    return train, data.CIFAR10Dataset(place, train=False)


def resnet9(train: Any, settings: Settings, device: Device) -> nn.Module:
    """(B, 3, 32, 32) -> (B, 10), with 431,946 parameters."""
    return nn.Sequential(
        conv_norm(device, 3, 16, 7, stride=4),
        conv_norm(device, 16, 32, 3, stride=2),
        residual(device, 32),
        conv_norm(device, 32, 64, 3, stride=2),
        conv_norm(device, 64, 128, 3, stride=2),
        residual(device, 128),
        nn.Flatten(),
        nn.Linear(128, 128, device=device),
        nn.ReLU(),
        nn.Linear(128, 10, device=device),
    )


def adam(params: Any, lr: float) -> optim.Optimizer:
    return optim.Adam(params, lr, weight_decay=1e-3)


CIFAR10 = Recipe(
    name="cifar10",
    summary="photographs of 10 kinds, 32x32: ResNet9",
    about=(
        "The files are read from --data, or from data/cifar-10-batches-py; --download fetches them (170 MB). The "
        "network halves the image four times and is quick rather than accurate."
    ),
    data=cifar10,
    model=resnet9,
    optimizer=adam,
    epochs=10,
    batch_size=128,
    lr=3e-3,
    source="folder",
    downloads=True,
)

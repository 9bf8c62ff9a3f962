"""The 8x8 digits that the package ships: an MLP, and a small residual network."""

from pathlib import Path
from typing import Any

from needle import Device
from needle_nn import data, nn, optim
from needle_nn.train.models import ChannelsFirst, conv_norm, mlp, residual
from needle_nn.train.recipe import Recipe, Settings, Split

_ABOUT = "The 1,797 images are part of needle-nn."


def digits(folder: Path | None, download: bool) -> Split:
    return data.DigitsDataset(train=True), data.DigitsDataset(train=False)


def shifted_digits(folder: Path | None, download: bool) -> Split:
    return data.DigitsDataset(train=True, transforms=[data.RandomCrop(padding=1)]), data.DigitsDataset(train=False)


def digits_mlp(train: Any, settings: Settings, device: Device) -> nn.Module:
    return mlp(device, 64, 512, 256, 10)


def digits_resnet(train: Any, settings: Settings, device: Device) -> nn.Module:
    """ResNet9 for images of 8x8: two thirds of the layers keep the size."""
    return nn.Sequential(
        ChannelsFirst(),
        conv_norm(device, 1, 16),
        conv_norm(device, 16, 32),
        residual(device, 32),
        conv_norm(device, 32, 64, stride=2),
        residual(device, 64),
        nn.GlobalAvgPool(),
        nn.Linear(64, 10, device=device),
    )


DIGITS = Recipe(
    name="digits",
    summary="handwritten digits, 8x8: a small MLP, seconds",
    about=f"{_ABOUT} Expect 98 % of the test images right.",
    data=digits,
    model=digits_mlp,
    optimizer=optim.Adam,
    epochs=10,
    batch_size=32,
    lr=2e-3,
)

DIGITS_RESNET = Recipe(
    name="digits-resnet",
    summary="handwritten digits, 8x8: a small residual network, a minute or two",
    about=f"{_ABOUT} They are moved by up to a pixel at random. Expect over 99 % of the test images right.",
    data=shifted_digits,
    model=digits_resnet,
    optimizer=optim.Adam,
    epochs=15,
    batch_size=32,
    lr=2e-3,
)

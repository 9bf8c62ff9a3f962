"""Fashion-MNIST: a network of convolutions, and an MLP for comparison."""

from pathlib import Path
from typing import Any

from needle import Device
from needle_nn import data, nn, optim
from needle_nn.train.models import ChannelsFirst, conv_norm, mlp
from needle_nn.train.recipe import Recipe, Settings, Split

_ABOUT = (
    "The files are read from --data, or from data/fashion-mnist or /usr/share/datasets/fashion-mnist; --download "
    "fetches them. On Debian and Ubuntu, apt install dataset-fashion-mnist does as well."
)


def fashion_mnist(folder: Path | None, download: bool) -> Split:
    train, test = (data.FashionMNISTDataset(folder, train=part, download=download) for part in (True, False))
    return train, test


def fashion_conv(train: Any, settings: Settings, device: Device) -> nn.Module:
    """Three convolutions, and a mean over the places that are left."""
    return nn.Sequential(
        ChannelsFirst(),
        conv_norm(device, 1, 32),
        nn.MaxPool2d(2),
        conv_norm(device, 32, 64),
        nn.MaxPool2d(2),
        conv_norm(device, 64, 128),
        nn.GlobalAvgPool(),
        nn.Linear(128, 10, device=device),
    )


def fashion_mlp(train: Any, settings: Settings, device: Device) -> nn.Module:
    return mlp(device, 784, 512, 256, 10)


FASHION_MNIST = Recipe(
    name="fashion-mnist",
    summary="pictures of clothes, 28x28: a network of convolutions",
    about=f"{_ABOUT} Expect over 91 % of the test images right.",
    data=fashion_mnist,
    model=fashion_conv,
    optimizer=optim.Adam,
    epochs=10,
    batch_size=128,
    lr=3e-3,
    source="folder",
    downloads=True,
)

FASHION_MNIST_MLP = Recipe(
    name="fashion-mnist-mlp",
    summary="pictures of clothes, 28x28: an MLP, minutes",
    about=f"{_ABOUT} Expect about 90 % of the test images right.",
    data=fashion_mnist,
    model=fashion_mlp,
    optimizer=optim.Adam,
    epochs=15,
    batch_size=128,
    lr=1e-3,
    source="folder",
    downloads=True,
)

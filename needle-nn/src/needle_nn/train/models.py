"""The parts that recipes build their models of."""

from itertools import pairwise

from needle import Device, Tensor
from needle_nn import nn


class ChannelsFirst(nn.Module):
    """(B, H, W, C), as datasets of images give them, -> (B, C, H, W), as convolutions take them."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


def mlp(device: Device, *sizes: int) -> nn.Module:
    """Linear layers of these sizes, with a ReLU between each two."""
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out, device=device), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv_norm(device: Device, n_in: int, n_out: int, kernel_size: int = 3, stride: int = 1) -> nn.Module:
    """Convolution, normalization by batch, ReLU."""
    return nn.Sequential(
        nn.Conv(n_in, n_out, kernel_size, stride=stride, device=device), nn.BatchNorm2d(n_out, device=device), nn.ReLU()
    )


def residual(device: Device, channels: int) -> nn.Module:
    """x + two convolutions of it."""
    return nn.Residual(nn.Sequential(conv_norm(device, channels, channels), conv_norm(device, channels, channels)))

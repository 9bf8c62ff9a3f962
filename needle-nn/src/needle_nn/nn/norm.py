"""Normalization: of channels over a batch, and of rows."""

from functools import lru_cache
from math import prod
from typing import Any

from needle import Device, Tensor, init
from needle.errors import ShapeError
from needle.fused import promoted
from needle.image import batch_norm2d
from needle.one_pass import Formula, update
from needle_nn.nn.module import Module, Parameter


class _BatchNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, axis 1 (Ioffe and Szegedy, 2015).

    In training mean and var are the batch's, and the running ones move towards them; in evaluation they are the
    running ones. The variance is biased in both uses, as in the course.
    """

    ranks: tuple[int, ...] = ()

    def __init__(
        self, dim: int, eps: float = 1e-5, momentum: float = 0.1, device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        self.dim, self.eps, self.momentum = dim, eps, momentum
        self.weight = Parameter(init.ones(dim, device=device, dtype=dtype))
        self.bias = Parameter(init.zeros(dim, device=device, dtype=dtype))
        self.running_mean = init.zeros(dim, device=device, dtype=dtype)
        self.running_var = init.ones(dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.ranks or x.shape[1] != self.dim:
            raise ShapeError(f"{type(self).__name__}: takes {self.dim} channels on axis 1: x is {x.shape}")
        if self.training and not x.size:
            raise ShapeError(f"{type(self).__name__}: the moments of nothing: x is {x.shape}")
        if x.ndim == 4 and not self.training:
            return batch_norm2d(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps)
        last, _ = promoted(x.permute((0, *range(2, x.ndim), 1)), self.weight)
        mean, var = self._batch_moments(last) if self.training else (self.running_mean, self.running_var)
        y = last.batch_norm(self.weight, self.bias, mean, var, self.eps, self.training)
        return y.permute((0, x.ndim - 1, *range(1, x.ndim - 1)))

    def with_relu(self, x: Tensor) -> Tensor | None:
        """relu of this layer's result in one pass, or None where that takes the layers one by one: in training."""
        if self.training or not isinstance(x, Tensor):
            return None
        shape = x.shape
        if len(shape) != 4 or shape[1] != self.dim:
            return None  # forward tells what is wrong
        return batch_norm2d(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps, True)

    def _batch_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's moments, after the running ones took note of them."""
        moments = x.array.moments()
        for running, moment in zip((self.running_mean, self.running_var), moments, strict=True):
            update(_moved(self.momentum), running.writable(), moment)
        mean, var = (Tensor(moment, requires_grad=False) for moment in moments)
        return mean, var

    def _describe(self) -> str:
        return str(self.dim)


@lru_cache(maxsize=64)
def _moved(momentum: float) -> Formula:
    """A running moment after it moved towards the batch's."""
    return lambda running, moment: ((1 - momentum) * running + momentum * moment,)


class BatchNorm1d(_BatchNorm):
    """BatchNorm of (N, C) or (N, C, L)."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """BatchNorm of (N, C, H, W)."""

    ranks = (4,)


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis, or the last few (Ba et al., 2016)."""

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = Parameter(init.ones(*shape, device=device, dtype=dtype))
        self.bias = Parameter(init.zeros(*shape, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        shape = self.normalized_shape
        if x.shape[x.ndim - len(shape) :] != shape:
            raise ShapeError(f"{type(self).__name__}: the last axes are to be {shape}: x is {x.shape}")
        if len(shape) == 1:
            return x.layer_norm(self.weight, self.bias, self.eps)
        n = prod(shape)
        rows = x.reshape(*x.shape[: x.ndim - len(shape)], n)
        return rows.layer_norm(self.weight.reshape(n), self.bias.reshape(n), self.eps).reshape(x.shape)

    def _describe(self) -> str:
        return ", ".join(map(str, self.normalized_shape))


class LayerNorm1d(LayerNorm):
    """LayerNorm of the last axis, by the course's name."""

    def __init__(self, dim: int, eps: float = 1e-5, device: Device | str | None = None, dtype: Any = "float32") -> None:
        super().__init__(dim, eps, device, dtype)
        self.dim = dim


class RMSNorm(Module):
    """x / sqrt(mean(x**2) + eps) * weight over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, dim: int, eps: float = 1e-5, device: Device | str | None = None, dtype: Any = "float32") -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.weight = Parameter(init.ones(dim, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x.rms_norm(self.weight, self.eps)

    def _describe(self) -> str:
        return str(self.dim)


class GroupNorm(Module):
    """(x - mean) / sqrt(var + eps) per sample over each group of channels, then weight and bias per channel
    (Wu and He, 2018); channels are axis 1."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ShapeError(f"GroupNorm: {num_groups} groups do not divide {num_channels} channels")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter(init.ones(num_channels, device=device, dtype=dtype))
        self.bias = Parameter(init.zeros(num_channels, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(f"GroupNorm: takes {self.num_channels} channels on axis 1: x is {x.shape}")
        return _grouped(x, self.num_groups, self.eps, self.weight, self.bias)

    def _describe(self) -> str:
        return f"{self.num_groups}, {self.num_channels}"


class InstanceNorm2d(Module):
    """(x - mean) / sqrt(var + eps) per sample and channel of (N, C, H, W) (Ulyanov et al., 2016); then weight and bias
    per channel if affine."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, affine: bool = False, device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features, self.eps = num_features, eps
        self.weight = Parameter(init.ones(num_features, device=device, dtype=dtype)) if affine else None
        self.bias = Parameter(init.zeros(num_features, device=device, dtype=dtype)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(f"InstanceNorm2d: takes (N, {self.num_features}, H, W): x is {x.shape}")
        return _grouped(x, self.num_features, self.eps, self.weight, self.bias)

    def _describe(self) -> str:
        return f"{self.num_features}{'' if self.weight is None else ', affine=True'}"


def _grouped(x: Tensor, groups: int, eps: float, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x (N, C, ...) with mean 0 and variance 1 per sample and group of channels; then weight and bias per channel."""
    rows = x.reshape(x.shape[0], groups, prod(x.shape[1:]) // groups)
    centered = rows - rows.mean(-1, keepdims=True)
    normalized = (centered * (centered.square().mean(-1, keepdims=True) + eps).rsqrt()).reshape(x.shape)
    if weight is None or bias is None:
        return normalized
    channel = (x.shape[1], *(1 for _ in x.shape[2:]))
    return normalized * weight.reshape(channel) + bias.reshape(channel)

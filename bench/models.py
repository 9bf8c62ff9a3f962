"""The networks of the races, once for each framework, with the same weights: PyTorch's first ones."""

from itertools import pairwise
from typing import Any

import torch
from torch import nn as tnn

import needle as ndl

nn = ndl.nn


def mlp(sizes: list[int], device: Any) -> Any:
    """Linear layers with ReLU between them."""
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b, device=device), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def torch_mlp(sizes: list[int]) -> tnn.Module:
    layers = [m for a, b in pairwise(sizes) for m in (tnn.Linear(a, b), tnn.ReLU())]
    return tnn.Sequential(*layers[:-1])


RESNET9 = [(3, 16, 7, 4), (16, 32, 3, 2), [(32, 32, 3, 1)] * 2, (32, 64, 3, 2), (64, 128, 3, 2), [(128, 128, 3, 1)] * 2]


def resnet9(device: Any) -> Any:
    """The benchmark notebook's network for images of 64 x 64 pixels."""

    def part(spec: Any) -> Any:
        if isinstance(spec, list):
            return nn.Residual(nn.Sequential(*map(part, spec)))
        n_in, n_out, size, stride = spec
        conv = nn.Conv(n_in, n_out, size, stride, device=device)
        return nn.Sequential(conv, nn.BatchNorm2d(n_out, device=device), nn.ReLU())

    head = nn.Flatten(), nn.Linear(512, 128, device=device), nn.ReLU(), nn.Linear(128, 10, device=device)
    return nn.Sequential(*map(part, RESNET9), *head)


class TorchResidual(tnn.Module):
    def __init__(self, inner: tnn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x) + x


def torch_resnet9() -> tnn.Module:
    def part(spec: Any) -> tnn.Module:
        if isinstance(spec, list):
            return TorchResidual(tnn.Sequential(*map(part, spec)))
        n_in, n_out, size, stride = spec
        conv = tnn.Conv2d(n_in, n_out, size, stride, padding=size // 2)
        return tnn.Sequential(conv, tnn.BatchNorm2d(n_out), tnn.ReLU())

    head = tnn.Flatten(), tnn.Linear(512, 128), tnn.ReLU(), tnn.Linear(128, 10)
    return tnn.Sequential(*map(part, RESNET9), *head)


class LanguageModel(nn.Module):
    """ids (T, B) -> logits (T * B, vocabulary), through a recurrent network or a Transformer."""

    def __init__(self, vocabulary: int, width: int, sequence: Any, device: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, device=device)
        self.sequence = sequence
        self.linear = nn.Linear(width, vocabulary, device=device)
        self.width = width

    def forward(self, ids: Any) -> Any:
        hidden, _ = self.sequence(self.embedding(ids))
        return self.linear(hidden.reshape(-1, self.width))


class TorchLanguageModel(tnn.Module):
    def __init__(self, vocabulary: int, width: int, sequence: tnn.Module) -> None:
        super().__init__()
        self.embedding = tnn.Embedding(vocabulary, width)
        self.sequence = sequence
        self.linear = tnn.Linear(width, vocabulary)

    def forward(self, ids: torch.Tensor) -> Any:
        hidden, _ = self.sequence(self.embedding(ids))
        return self.linear(hidden.flatten(0, 1))


class TorchAttention(tnn.Module):
    """Needle's AttentionLayer: three normalizations, projections without bias, causal."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.norms = tnn.ModuleList(tnn.LayerNorm(width) for _ in range(3))
        self.projections = tnn.ModuleList(tnn.Linear(width, heads * size, bias=False) for _ in range(3))
        self.out = tnn.Linear(heads * size, width, bias=False)
        self.heads, self.size = heads, size

    def forward(self, x: torch.Tensor) -> Any:
        q, k, v = (
            project(norm(x)).unflatten(-1, (self.heads, self.size)).transpose(1, 2)
            for project, norm in zip(self.projections, self.norms, strict=True)
        )
        mixed = tnn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TorchTransformer(tnn.Module):
    """Needle's Transformer: (T, B, E) -> the same shape, and nothing."""

    def __init__(self, width: int, hidden: int, layers: int, heads: int, size: int, length: int) -> None:
        super().__init__()
        self.positions = tnn.Embedding(length, width)
        self.attention = tnn.ModuleList(TorchAttention(width, heads, size) for _ in range(layers))
        self.networks = tnn.ModuleList(
            tnn.Sequential(tnn.LayerNorm(width), tnn.Linear(width, hidden), tnn.ReLU(), tnn.Linear(hidden, width))
            for _ in range(layers)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        x = x.transpose(0, 1) + self.positions.weight[: len(x)]
        for attention, network in zip(self.attention, self.networks, strict=True):
            x = x + attention(x)
            x = x + network(x)
        return x.transpose(0, 1), None

    def in_needles_order(self) -> list[tnn.Module]:
        """Modules in the order in which Needle's network lists its parameters."""
        layers = zip(self.attention, self.networks, strict=True)
        return [self.positions, *(module for layer in layers for module in layer)]


def copy_weights(model: Any, theirs: tnn.Module) -> None:
    """PyTorch's first weights into Needle's network, turned as Needle keeps them."""
    values = weights(theirs)
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.array.assign(value.reshape(parameter.shape))


def weights(module: tnn.Module) -> list[Any]:
    if isinstance(module, TorchTransformer):
        return [value for part in module.in_needles_order() for value in weights(part)]
    own = [turned(module, p.detach().cpu().float().numpy()) for p in module.parameters(recurse=False)]
    return own + [value for child in module.children() for value in weights(child)]


def turned(module: tnn.Module, value: Any) -> Any:
    if isinstance(module, tnn.Conv2d) and value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T if isinstance(module, tnn.Linear | tnn.LSTM) and value.ndim == 2 else value

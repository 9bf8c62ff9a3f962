"""Fused functions of rows: softmax and its kin, cross-entropy, the normalizations, forward and with gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

import needle as ndl
from bench.work import Work, function, gradient, normal

N = 1 << 24
SHAPES = {"long": (2048, 8192), "middle": (16384, 1024), "short": (262144, 64)}


def softmaxes(which: str) -> list[Work]:
    shape = SHAPES[which]
    size, quick = f"({shape[0]}, {shape[1]})", which == "middle"
    return [
        function("softmax", f"softmax {size}", normal(shape), lambda x: ndl.softmax(x, -1),
                 lambda x: torch.softmax(x, -1), moved=2 * N, quick=quick),
        function("softmax", f"log_softmax {size}", normal(shape), lambda x: ndl.log_softmax(x, -1),
                 lambda x: torch.log_softmax(x, -1), moved=2 * N),
        gradient("softmax", f"softmax and gradient {size}", normal(shape, shape), lambda x: ndl.softmax(x, -1),
                 lambda x: torch.softmax(x, -1), moved=5 * N),
        gradient("softmax", f"cross-entropy and gradient {size}", labelled(shape), ndl.cross_entropy,
                 functional.cross_entropy, moved=3 * N, quick=quick),
    ]  # fmt: skip


def labelled(shape: tuple[int, int]) -> Callable[[np.random.Generator], list[np.ndarray]]:
    """Logits, labels, and the cotangent of the mean loss."""

    def inputs(rng: np.random.Generator) -> list[np.ndarray]:
        rows, classes = shape
        return [rng.standard_normal(shape, dtype=np.float32), rng.integers(0, classes, rows), np.float32(rows)]

    return inputs


def norms(which: str) -> list[Work]:
    shape = SHAPES[which]
    n = shape[1]
    size, quick = f"({shape[0]}, {n})", which == "middle"
    return [
        function("norms", f"layer norm {size}", normal(shape, (n,), (n,)), lambda x, w, b: x.layer_norm(w, b),
                 lambda x, w, b: functional.layer_norm(x, (n,), w, b), moved=2 * N, quick=quick),
        function("norms", f"rms norm {size}", normal(shape, (n,)), lambda x, w: x.rms_norm(w),
                 lambda x, w: functional.rms_norm(x, (n,), w, 1e-5), moved=2 * N),
        gradient("norms", f"layer norm and gradient {size}", normal(shape, (n,), (n,), shape),
                 lambda x, w, b: x.layer_norm(w, b), lambda x, w, b: functional.layer_norm(x, (n,), w, b),
                 moved=5 * N, tolerance=1e-3, quick=quick),
        gradient("norms", f"rms norm and gradient {size}", normal(shape, (n,), shape), lambda x, w: x.rms_norm(w),
                 lambda x, w: functional.rms_norm(x, (n,), w, 1e-5), moved=5 * N, tolerance=1e-3),
    ]  # fmt: skip


def batch_norm(shape: tuple[int, int, int, int], training: bool, quick: bool) -> Work:
    """BatchNorm2d of images: in training with its gradient, else by the running moments."""
    channels = shape[1]
    moved = (6 if training else 2) * float(np.prod(shape))
    name = f"batch norm {'and gradient ' if training else ''}{shape}"

    def ours(side: Any, x: Any, g: Any) -> Any:
        layer = ndl.nn.BatchNorm2d(channels, device=side.device)
        return stepped(layer if training else layer.eval(), x, g, training, ndl.no_grad)

    def theirs(side: Any, x: Any, g: Any) -> Any:
        layer = torch.nn.BatchNorm2d(channels, device=side.device, dtype=side.dtype)
        return stepped(layer if training else layer.eval(), x, g, training, torch.no_grad)

    return Work("norms", name, normal(shape, shape), ours, theirs, moved=moved, tolerance=1e-3, quick=quick)


def stepped(layer: Any, x: Any, g: Any, training: bool, no_grad: Any) -> Any:
    x.requires_grad_()

    def once() -> Any:
        if not training:
            with no_grad():
                return layer(x)
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)
        return x.grad, layer.weight.grad, layer.bias.grad

    return once


WORKS = [
    *(work for which in SHAPES for work in softmaxes(which)),
    *(work for which in SHAPES for work in norms(which)),
    batch_norm((32, 64, 56, 56), True, True),
    batch_norm((32, 256, 14, 14), True, False),
    batch_norm((32, 64, 56, 56), False, False),
]

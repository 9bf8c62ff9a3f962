"""ResNet-18's convolutions, forward and with both gradients, at a batch of 8; and its pooling."""

from typing import Any

import numpy as np
from torch.nn import functional

import needle as ndl
from bench.work import Work, function, gradient

BATCH = 8
SHAPES = [  # channels in and out, image, window, stride: one of each kind that the network has
    (3, 64, 224, 7, 2), (64, 64, 56, 3, 1), (64, 128, 56, 3, 2), (64, 128, 56, 1, 2), (128, 128, 28, 3, 1),
    (128, 256, 28, 3, 2), (128, 256, 28, 1, 2), (256, 256, 14, 3, 1), (256, 512, 14, 3, 2), (256, 512, 14, 1, 2),
    (512, 512, 7, 3, 1),
]  # fmt: skip
QUICK = {(64, 64, 56, 3, 1), (512, 512, 7, 3, 1)}


def convolutions(n_in: int, n_out: int, image: int, window: int, stride: int) -> list[Work]:
    padding = window // 2
    size = (image + 2 * padding - window) // stride + 1
    flops = 2 * BATCH * size**2 * n_out * n_in * window**2
    name, quick = f"{n_in} to {n_out}, {image}x{image}, {window}x{window}/{stride}", (
        n_in, n_out, image, window, stride) in QUICK  # fmt: skip

    def inputs(rng: np.random.Generator) -> list[np.ndarray]:
        x = rng.standard_normal((BATCH, n_in, image, image), dtype=np.float32)
        w = rng.standard_normal((n_out, n_in, window, window), dtype=np.float32) / np.float32(window * n_in**0.5)
        return [x, w, rng.standard_normal((BATCH, n_out, size, size), dtype=np.float32)]

    def ours(x: Any, w: Any, *_: Any) -> Any:
        return ndl.conv2d(x, w.permute(2, 3, 1, 0), None, stride, padding)

    def theirs(x: Any, w: Any, *_: Any) -> Any:
        return functional.conv2d(x, w, None, stride, padding)

    facts: dict[str, Any] = {"tolerance": 1e-4, "quick": quick}
    return [
        function("convolution", name, lambda rng: inputs(rng)[:2], ours, theirs, flops=flops, **facts),
        gradient("convolution and gradients", name, inputs, ours, theirs, flops=3 * flops, **facts),
    ]


def pooling(name: str, ours: Any, theirs: Any, shape: tuple[int, ...], window: int, stride: int) -> Work:
    size = (shape[2] - window) // stride + 1
    out = (*shape[:2], size, size)

    def inputs(rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.standard_normal(s, dtype=np.float32) for s in (shape, out)]

    moved = 3.0 * np.prod(shape) + 2.0 * np.prod(out)
    return gradient("pooling and gradient", f"{name} {window}x{window}/{stride} {shape}", inputs,
                    lambda x: ours(x, window, stride), lambda x: theirs(x, window, stride), moved=moved)  # fmt: skip


WORKS = [
    *(work for shape in SHAPES for work in convolutions(*shape)),
    pooling("max", ndl.max_pool2d, functional.max_pool2d, (BATCH, 64, 112, 112), 3, 2),
    pooling("max", ndl.max_pool2d, functional.max_pool2d, (BATCH, 64, 112, 112), 2, 2),
    pooling("mean", ndl.avg_pool2d, functional.avg_pool2d, (BATCH, 64, 112, 112), 2, 2),
]

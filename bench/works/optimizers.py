"""Steps of optimizers: over the parameters of a ResNet-18, and over one parameter of 16 million."""

from typing import Any

import numpy as np
import torch

import needle as ndl
from bench.work import Work

ONE = [(1 << 24,)]
MANY = [  # the shapes of a ResNet-18, without those of its normalizations: 11.2 million numbers
    (64, 3, 7, 7), *[(64, 64, 3, 3)] * 4, (128, 64, 3, 3), *[(128, 128, 3, 3)] * 3, (128, 64, 1, 1),
    (256, 128, 3, 3), *[(256, 256, 3, 3)] * 3, (256, 128, 1, 1), (512, 256, 3, 3), *[(512, 512, 3, 3)] * 3,
    (512, 256, 1, 1), (1000, 512), *[(64,)] * 10, *[(128,)] * 10, *[(256,)] * 10, *[(512,)] * 10, (1000,),
]  # fmt: skip

# name, Needle's, PyTorch's, arrays read or written per parameter. Needle's SGD averages gradients.
OPTIMIZERS: list[tuple[str, Any, Any, int]] = [
    ("SGD", lambda p: ndl.optim.SGD(p, 1e-3), lambda p: torch.optim.SGD(p, 1e-3), 3),
    ("SGD, momentum", lambda p: ndl.optim.SGD(p, 1e-3, 0.9), lambda p: torch.optim.SGD(p, 1e-4, 0.9), 5),
    ("Adam", lambda p: ndl.optim.Adam(p, 1e-3), lambda p: torch.optim.Adam(p, 1e-3), 7),
    ("AdamW", lambda p: ndl.optim.AdamW(p, 1e-3, weight_decay=0.01),
     lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.01), 7),
]  # fmt: skip


def step(name: str, ours: Any, theirs: Any, arrays: int, shapes: list[tuple[int, ...]], over: str) -> Work:
    def inputs(rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.standard_normal(shape, dtype=np.float32) for shape in [*shapes, *shapes]]

    def run(make: Any, tensors: tuple[Any, ...]) -> Any:
        params, grads = tensors[: len(shapes)], tensors[len(shapes) :]
        for param, grad in zip(params, grads, strict=True):
            param.requires_grad_()
            param.grad = grad
        optimizer = make(list(params))

        def once() -> Any:
            optimizer.step()
            return params[0]

        return once

    size = sum(float(np.prod(shape)) for shape in shapes)
    return Work(
        "optimizers", f"{name} over {over}", inputs, lambda _, *t: run(ours, t), lambda _, *t: run(theirs, t),
        moved=arrays * size, calls=3, quick=name != "AdamW" and shapes is MANY,
    )  # fmt: skip


WORKS = [
    step(*row, shapes, over)
    for shapes, over in ((MANY, "a ResNet-18's 62 parameters"), (ONE, "16M numbers"))
    for row in OPTIMIZERS
]

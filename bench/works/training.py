"""Whole networks: training steps of multilayer perceptrons and language models, inference of ResNet9."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import needle as ndl
from bench import models
from bench.work import Inputs, Work, normal

NETS = {  # the benchmark notebook's
    "tiny-2L-128": [128, 128, 10],
    "med-4L-512": [512, 512, 512, 512, 10],
    "wide-2L-1024": [1024, 1024, 10],
    "deep-6L-1024": [1024] * 6 + [10],
    "maxwide-2L-2048": [2048, 2048, 10],
    "bneck-2048-64": [2048, 64, 2048, 10],
}
BATCH = 64


def trained(
    group: str, name: str, inputs: Inputs, ours: Callable[[Any], Any], theirs: Callable[[], Any],
    optimizers: tuple[Any, Any], **facts: Any,
) -> Work:  # fmt: skip
    """A training step: forward, cross-entropy, backward, optimizer. Both start from the same weights."""

    def run_ours(side: Any, x: Any, y: Any) -> Any:
        model = ours(side.device)
        models.copy_weights(model, seeded(theirs))
        return stepped(model, ndl.nn.SoftmaxLoss(), optimizers[0](model.parameters()), x, y)

    def run_theirs(side: Any, x: Any, y: Any) -> Any:
        model = seeded(theirs).to(side.device, side.dtype)
        return stepped(model, torch.nn.CrossEntropyLoss(), optimizers[1](model.parameters()), x, y)

    return Work(group, name, inputs, run_ours, run_theirs, calls=4, tolerance=1e-4, **facts)


def seeded(make: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    return make()


def stepped(model: Any, loss_of: Any, optimizer: Any, x: Any, y: Any) -> Any:
    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def classified(width: int, classes: int) -> Inputs:
    return lambda rng: [rng.standard_normal((BATCH, width), dtype=np.float32), rng.integers(0, classes, BATCH)]


def mlp(name: str, sizes: list[int]) -> Work:
    products = sum(a * b for a, b in pairwise(sizes))
    flops = 2 * BATCH * (3 * products - sizes[0] * sizes[1])  # the first layer has no gradient of its input
    return trained(
        "MLP training step", name, classified(sizes[0], sizes[-1]), lambda device: models.mlp(sizes, device),
        lambda: models.torch_mlp(sizes), (lambda p: ndl.optim.SGD(p, 0.01), lambda p: torch.optim.SGD(p, 0.01)),
        flops=flops, moved=6 * products, quick=name in ("tiny-2L-128", "wide-2L-1024", "bneck-2048-64"),
    )  # fmt: skip


def resnet9(batch: int) -> Work:
    def ours(side: Any, x: Any) -> Any:
        model = models.resnet9(side.device)
        models.copy_weights(model, seeded(models.torch_resnet9))
        return inference(model.eval(), x, ndl.no_grad)

    def theirs(side: Any, x: Any) -> Any:
        return inference(seeded(models.torch_resnet9).to(side.device, side.dtype).eval(), x, torch.no_grad)

    return Work(
        "ResNet9 inference", f"batch {batch}", normal((batch, 3, 64, 64)), ours, theirs, flops=batch * resnet9_flops(),
        tolerance=1e-4, quick=batch == 16,
    )  # fmt: skip


def inference(model: Any, x: Any, no_grad: Any) -> Any:
    def run() -> Any:
        with no_grad():
            return model(x)

    return run


def resnet9_flops() -> float:
    """Multiplications and additions of one image's convolutions and products."""
    convolutions = [c for part in models.RESNET9 for c in (part if isinstance(part, list) else [part])]
    size, total = 64, 0
    for n_in, n_out, window, stride in convolutions:
        size = (size + 2 * (window // 2) - window) // stride + 1
        total += 2 * size**2 * n_in * n_out * window**2
    return total + 2 * (512 * 128 + 128 * 10)


def texts(length: int, batch: int, vocabulary: int) -> Inputs:
    return lambda rng: [rng.integers(0, vocabulary, (length, batch)), rng.integers(0, vocabulary, length * batch)]


ADAM = (lambda p: ndl.optim.Adam(p, 1e-4), lambda p: torch.optim.Adam(p, 1e-4))


def lstm(width: int, layers: int, length: int, batch: int, vocabulary: int) -> Work:
    def ours(device: Any) -> Any:
        return models.LanguageModel(vocabulary, width, ndl.nn.LSTM(width, width, layers, device=device), device)

    def theirs() -> Any:
        return models.TorchLanguageModel(vocabulary, width, torch.nn.LSTM(width, width, layers))

    flops = 6 * length * batch * (layers * 8 * width**2 + width * vocabulary)
    name = f"LSTM {layers}x{width}, {length} steps of {batch}"
    return trained("sequence training step", name, texts(length, batch, vocabulary), ours, theirs, ADAM, flops=flops,
                   quick=width == 128)  # fmt: skip


def transformer(width: int, layers: int, heads: int, length: int, batch: int, vocabulary: int) -> Work:
    size, hidden = width // heads, 4 * width

    def ours(device: Any) -> Any:
        sequence = ndl.nn.Transformer(
            width, hidden, layers, num_head=heads, dim_head=size, device=device, sequence_len=length
        )
        return models.LanguageModel(vocabulary, width, sequence, device)

    def theirs() -> Any:
        sequence = models.TorchTransformer(width, hidden, layers, heads, size, length)
        return models.TorchLanguageModel(vocabulary, width, sequence)

    weights = layers * 12 * width**2 + width * vocabulary
    flops = 6 * length * batch * (weights + layers * length * width)  # half of what is not hidden by causality
    name = f"Transformer {layers}x{width}, {length} steps of {batch}"
    return trained("sequence training step", name, texts(length, batch, vocabulary), ours, theirs, ADAM, flops=flops,
                   quick=width == 128)  # fmt: skip


MLP = [mlp(name, sizes) for name, sizes in NETS.items()]
RESNET9 = [resnet9(batch) for batch in (16, 32, 64)]
SEQUENCES = [
    lstm(128, 1, 32, 16, 1000),
    lstm(256, 2, 32, 32, 1000),
    transformer(128, 2, 4, 64, 16, 1000),
    transformer(256, 4, 8, 128, 8, 1000),
]

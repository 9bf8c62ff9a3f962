"""`needle.compile` on a GPU against PyTorch's best: the same step captured by hand in a CUDA graph, and replayed."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import needle as ndl
from bench import models
from bench.work import Run, Work
from bench.works.training import BATCH, NETS, classified, resnet9, seeded

LARGE = 1 << 24


def graphed(step: Run, device: torch.device, state: Callable[[], list[torch.Tensor]]) -> Run:
    """The step as a replay of its CUDA graph; elsewhere than on a GPU, where it is what results are compared with, as
    it is. What the runs before the capture did to `state` is undone."""
    if device.type != "cuda":
        return step
    before = [x.detach().clone() for x in state()]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    with torch.no_grad():
        for x, value in zip(state(), before, strict=True):
            x.copy_(value)

    def run() -> Any:
        graph.replay()
        return result

    return run


def mlp(name: str, sizes: list[int]) -> Work:
    """A training step with SGD. PyTorch's is its fused one; its gradients are dropped before the capture."""

    def ours(side: Any, x: Any, y: Any) -> Run:
        model = models.mlp(sizes, side.device)
        models.copy_weights(model, seeded(lambda: models.torch_mlp(sizes)))
        optimizer, loss_of = ndl.optim.SGD(model.parameters(), 0.01), ndl.nn.SoftmaxLoss()

        @ndl.compile
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return lambda: step(x, y)

    def theirs(side: Any, x: Any, y: Any) -> Run:
        model = seeded(lambda: models.torch_mlp(sizes)).to(side.device, side.dtype)
        optimizer = torch.optim.SGD(model.parameters(), 0.01, fused=side.device.type == "cuda")
        loss_of = torch.nn.CrossEntropyLoss()

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return graphed(step, side.device, lambda: list(model.parameters()))

    products = sum(a * b for a, b in pairwise(sizes))
    return Work(
        "MLP training step, compiled and CUDA graph", name, classified(sizes[0], sizes[-1]), ours, theirs, calls=4,
        tolerance=1e-4, flops=2 * BATCH * (3 * products - sizes[0] * sizes[1]), moved=6 * products, quick=True,
        only_on="cuda",
    )  # fmt: skip


def inference(batch: int) -> Work:
    """ResNet9 without gradients."""

    def ours(side: Any, x: Any) -> Run:
        model = models.resnet9(side.device)
        models.copy_weights(model, seeded(models.torch_resnet9))
        model.eval()

        @ndl.compile
        def run(x: Any) -> Any:
            with ndl.no_grad():
                return model(x)

        return lambda: run(x)

    def theirs(side: Any, x: Any) -> Run:
        model = seeded(models.torch_resnet9).to(side.device, side.dtype).eval()

        def run() -> Any:
            with torch.no_grad():
                return model(x)

        return graphed(run, side.device, list)

    return replace(
        resnet9(batch), group="ResNet9 inference, compiled and CUDA graph", ours=ours, theirs=theirs, calls=4,
        quick=True, only_on="cuda",
    )  # fmt: skip


def ten(x: Any) -> Any:
    """Ten elementwise ops, in both frameworks."""
    y = (x * 2.0 + 1.0).abs() - 0.5
    y = (y * x).sqrt() + x
    return (y * 0.25 - x) * y


def chain() -> Work:
    def ours(_: Any, x: Any) -> Run:
        compiled = ndl.compile(ten)
        return lambda: compiled(x)

    def theirs(side: Any, x: Any) -> Run:
        return graphed(lambda: ten(x), side.device, list)

    return Work(
        "elementwise chain, compiled and CUDA graph", "ten ops on 16M numbers",
        lambda rng: [rng.random(LARGE, dtype=np.float32) * 2 + 1], ours, theirs, moved=2 * LARGE, calls=4, quick=True,
        only_on="cuda",
    )  # fmt: skip


WORKS = [*(mlp(name, sizes) for name, sizes in NETS.items()), *(inference(batch) for batch in (16, 32, 64)), chain()]

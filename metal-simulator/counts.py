"""What the works of the course's benchmark notebook ask of a Metal device: dispatches, command buffers, waits.

    METALSIM_NOCHECK=1 python metal-simulator/counts.py mps msl

A dispatch is a kernel of ours, a product of MPS or a graph of MPSGraph. Counts depend on no size but that of the
network; products are small and batches short, so that the simulator is done soon.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

import needle as ndl
from needle import nn, optim

MLPS = {
    "tiny-2L-128": [128, 128, 10],
    "med-4L-512": [512, 512, 512, 512, 10],
    "wide-2L-1024": [1024, 1024, 10],
    "deep-6L-1024": [1024] * 6 + [10],
    "bneck-2048-64": [2048, 64, 2048, 10],
}
RESNET9 = [(3, 16, 7, 4), (16, 32, 3, 2), [(32, 32, 3, 1)] * 2, (32, 64, 3, 2), (64, 128, 3, 2), [(128, 128, 3, 1)] * 2]


def mlp(sizes: list[int], device: Any) -> Any:
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b, device=device), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def resnet9(device: Any) -> Any:
    def part(spec: Any) -> Any:
        if isinstance(spec, list):
            return nn.Residual(nn.Sequential(*map(part, spec)))
        n_in, n_out, size, stride = spec
        conv = nn.Conv(n_in, n_out, size, stride, device=device)
        return nn.Sequential(conv, nn.BatchNorm2d(n_out, device=device), nn.ReLU())

    head = nn.Flatten(), nn.Linear(512, 128, device=device), nn.ReLU(), nn.Linear(128, 10, device=device)
    return nn.Sequential(*map(part, RESNET9), *head)


def training(sizes: list[int], device: Any) -> Callable[[], Any]:
    """A step of Adam, from the batch to the new parameters; the loss is read."""
    model, batch = mlp(sizes, device), 4
    step, loss_of = optim.Adam(model.parameters()), nn.SoftmaxLoss()
    x = ndl.Tensor(np.ones((batch, sizes[0]), np.float32), device=device)
    y = ndl.Tensor(np.zeros(batch, np.int32), device=device)

    def run() -> Any:
        step.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        step.step()
        return loss.detach()

    return run


def inference(device: Any) -> Callable[[], Any]:
    model = resnet9(device)
    model.eval()
    x = ndl.Tensor(np.ones((1, 3, 64, 64), np.float32), device=device)

    def run() -> Any:
        with ndl.no_grad():
            return model(x)

    return run


def works(device: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    a = ndl.Tensor(np.ones((64, 64), np.float32), device=device)
    yield "product", lambda: a @ a
    for name, sizes in MLPS.items():
        yield f"training {name}", training(sizes, device)
    yield "inference ResNet9", inference(device)


def counted(run: Callable[[], Any]) -> dict[str, int]:
    """Of one run after two others, whose result is read."""
    counters = importlib.import_module("needle_backend_msl._ext").counters
    for _ in range(2):
        run().numpy()
    before = counters()
    run().numpy()
    return {name: count - before[name] for name, count in counters().items()}


def main() -> None:
    print(f"{'':6}{'':28}{'dispatches':>12}{'buffers':>9}{'waits':>7}{'compiled':>12}{'buffers':>9}{'waits':>7}")
    for name in sys.argv[1:] or ["mps", "msl"]:
        device = ndl.device(name)
        for title, run in works(device):
            row = f"{name:6}{title:28}"
            for form in (run, ndl.compile(run)):
                count = counted(form)
                row += f"{count['dispatches']:12}{count['command_buffers']:9}{count['waits']:7}"
            print(row, flush=True)


if __name__ == "__main__":
    main()

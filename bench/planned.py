"""Memory of training steps, eager and compiled: python -m bench.planned. Writes bench/results/planned-memory.json.

What is counted is what the backend's allocator has given out beyond what is held between two steps (parameters,
optimizer states, data), looked at after every primitive. A step that drops its gradients at its end needs no more
than it plans; one that keeps them in `.grad` until the next, as `zero_grad` at the beginning does, hands out as much
memory as the parameters have, eager or not.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("NEEDLE_NUM_THREADS", "1")

import needle as ndl
from bench import models
from needle import dispatch

DEVICE = ndl.device("cpu")


class Watch:
    """An observer of dispatch that remembers the most bytes that were in use."""

    def __init__(self) -> None:
        self.most = 0

    def before(self, call: Any) -> None:
        """Results are allocated before the primitive that fills them is called."""
        self.most = max(self.most, used())

    def after(self, call: Any, token: Any) -> None:
        """What a composed primitive used is gone by now; its parts were seen."""


def used() -> int:
    return int(dispatch.dispatcher(DEVICE).backend.memory_stats()["used"])


def peak(step: Callable[[], Any], drop: Callable[[], Any]) -> int:
    """The most bytes of a step after another beyond those that are held between steps when gradients are dropped."""
    step()
    drop()
    gc.collect()
    watch, before = Watch(), used()
    step()
    dispatch.observers.append(watch)
    try:
        step()
    finally:
        dispatch.observers.remove(watch)
    return watch.most - before


def mlp() -> tuple[Any, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return models.mlp([1024] * 6 + [10], DEVICE), normal(rng, 64, 1024), rng.integers(0, 10, 64)


def resnet9() -> tuple[Any, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return models.resnet9(DEVICE), normal(rng, 32, 3, 64, 64), rng.integers(0, 10, 32)


def transformer() -> tuple[Any, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    sequence = ndl.nn.Transformer(128, 512, 2, num_head=4, dim_head=32, device=DEVICE, sequence_len=64)
    model = models.LanguageModel(1000, 128, sequence, DEVICE)
    return model, rng.integers(0, 1000, (64, 16)), rng.integers(0, 1000, 64 * 16)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


NETS = {"MLP 6x1024, batch 64": mlp, "ResNet9, batch 32": resnet9, "Transformer 2x128, 64 steps of 16": transformer}


def row(make: Callable[[], Any], keeps: bool) -> dict[str, Any]:
    """Peaks of a step with Adam, eager and compiled, and what was planned; gradients are kept or dropped at its end."""
    model, x, y = make()
    inputs = ndl.tensor(x, device=DEVICE), ndl.tensor(y, device=DEVICE)
    optimizer, loss_of = ndl.optim.Adam(model.parameters(), 1e-3), ndl.nn.SoftmaxLoss()

    def step(x: Any, y: Any) -> Any:
        if keeps:
            optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        if not keeps:
            optimizer.zero_grad()
        return loss.detach()

    eager = peak(lambda: step(*inputs), optimizer.zero_grad)
    compiled = ndl.compile(step)
    compiled(*inputs)
    arena = compiled.memory()
    replayed = peak(lambda: compiled(*inputs), optimizer.zero_grad)
    return {"eager": eager, "compiled": replayed + arena, "planned": arena}


def main(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)  # before anything is measured, in case that it cannot be
    rows = {}
    print(f"{'':36} {'eager':>10} {'compiled':>10} {'planned':>10}   compiled / eager   MiB")
    for name, make in NETS.items():
        for keeps in (False, True):
            found = row(make, keeps)
            label = f"{name}, gradients {'kept' if keeps else 'dropped'}"
            rows[label] = found
            numbers = "".join(f"{found[key] / 2**20:11.2f}" for key in ("eager", "compiled", "planned"))
            print(f"{label:54}{numbers}   {found['compiled'] / found['eager']:.2f}")
    path.write_text(json.dumps({"device": str(DEVICE), "bytes": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("bench/results/planned-memory.json"))

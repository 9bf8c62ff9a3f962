"""What packed weights are worth in inference on the CPU: python -m bench.packed. Prints a table.

The same compiled models in turns: with copies of their weights kept, and without (their memory was lent out, so that
the device keeps none). One thread, unless NEEDLE_NUM_THREADS says otherwise.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("NEEDLE_NUM_THREADS", "1")

import numpy as np

import needle as ndl
from bench import models, report
from bench.works import training

DEVICE = ndl.device("cpu")
ROUNDS, TURN = 15, 0.03


def mlp(sizes: list[int], batch: int) -> tuple[Callable[[], Any], Any]:
    x = np.random.default_rng(0).standard_normal((batch, sizes[0]), dtype=np.float32)
    return (lambda: models.mlp(sizes, DEVICE)), ndl.tensor(x, device=DEVICE)


def resnet9(batch: int) -> tuple[Callable[[], Any], Any]:
    x = np.random.default_rng(0).standard_normal((batch, 3, 64, 64), dtype=np.float32)
    return (lambda: models.resnet9(DEVICE)), ndl.tensor(x, device=DEVICE)


def transformer(width: int, layers: int, heads: int, length: int, batch: int) -> tuple[Callable[[], Any], Any]:
    def make() -> Any:
        sequence = ndl.nn.Transformer(
            width, 4 * width, layers, num_head=heads, dim_head=width // heads, device=DEVICE, sequence_len=length
        )
        return models.LanguageModel(1000, width, sequence, DEVICE)

    words = next(iter(training.texts(length, batch, 1000)(np.random.default_rng(0))))
    return make, ndl.tensor(words, device=DEVICE)


CASES: dict[str, tuple[Callable[[], Any], Any]] = {
    **{f"MLP {name}, batch {batch}": mlp(sizes, batch) for name, sizes in training.NETS.items() for batch in (8, 64)},
    "ResNet9, batch 1": resnet9(1),
    "ResNet9, batch 16": resnet9(16),
    "Transformer 4x256, 16 steps of 1": transformer(256, 4, 8, 16, 1),
    "Transformer 4x256, 128 steps of 1": transformer(256, 4, 8, 128, 1),
    "Transformer 4x256, 128 steps of 8": transformer(256, 4, 8, 128, 8),
}


def ready(make: Callable[[], Any], x: Any, keeps: bool) -> tuple[Callable[[], Any], int]:
    """A compiled model that has run, and the bytes of its packed copies."""
    np.random.seed(0)
    ndl.manual_seed(0)
    model = make()
    model.eval()
    if not keeps:
        for parameter in model.parameters():
            parameter.array.host_array()
    compiled = ndl.compile(model)

    def run() -> Any:
        with ndl.no_grad():
            return compiled(x)

    for _ in range(4):
        run()
    return run, sum(parameter.array.buffer.packed for parameter in model.parameters())


def main() -> None:
    print("| inference | packed each time | kept | ratio | copies |\n|---|---|---|---|---|")
    for name, (make, x) in CASES.items():
        (without, none), (kept, nbytes) = ready(make, x, False), ready(make, x, True)
        if none or not np.array_equal(without().numpy(), kept().numpy()):
            raise SystemExit(f"{name}: results differ, or copies are kept of what was lent")
        seconds: dict[Any, list[float]] = {without: [], kept: []}
        for _ in range(ROUNDS):
            for run, laps in seconds.items():
                start, count = time.perf_counter(), 0
                while time.perf_counter() - start < TURN:
                    run()
                    count += 1
                laps.append((time.perf_counter() - start) / count)
        a, b = map(statistics.median, seconds.values())
        print(f"| {name} | {report.duration(a)} | {report.duration(b)} | {b / a:.2f} | {nbytes / 2**20:.2f} MiB |")


if __name__ == "__main__":
    main()

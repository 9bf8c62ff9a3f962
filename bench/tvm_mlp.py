"""The two-layer MLP of the course's project, 32 x 512 x 512, through TVM: unscheduled, scheduled, tuned; beside NumPy.

    python -m bench.tvm_mlp [--trials 16] [--rounds 200] [--out bench/results/tvm-mlp-1-thread.json]

Needs needle-tvm and needle-backend-cpu. All contenders take turns on one thread; medians in milliseconds. What is timed
is a whole call: of `needle.compile(model, compiler="tvm")` on a tensor, of `np.maximum(x @ w + b, 0)` twice on arrays.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TVM_NUM_THREADS", "NEEDLE_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy and TVM are imported

import numpy as np  # noqa: E402

import needle as ndl  # noqa: E402
from needle import nn  # noqa: E402


def contenders(trials: int, folder: str) -> dict[str, Callable[[], Any]]:
    np.random.seed(0)
    model = nn.Sequential(nn.Linear(512, 512, device="cpu"), nn.ReLU(), nn.Linear(512, 512, device="cpu"), nn.ReLU())
    array = np.random.randn(32, 512).astype("float32")
    x = ndl.Tensor(array, device="cpu")
    w1, b1, w2, b2 = (p.numpy() for p in model.parameters())

    def numpy() -> Any:
        return np.maximum(np.maximum(array @ w1 + b1, 0) @ w2 + b2, 0)

    made: dict[str, Callable[[], Any]] = {"numpy": numpy}
    for name, options in {
        "unscheduled": {"scheduled": False}, "scheduled": {}, "tuned": {"tune": trials, "folder": folder},
    }.items():  # fmt: skip
        start = perf_counter()
        compiled = ndl.compile(model, compiler="tvm", threads=1, **options)
        compiled(x)
        print(f"{name}: compiled in {perf_counter() - start:.1f} s", flush=True)
        np.testing.assert_allclose(compiled(x).numpy(), numpy(), rtol=1e-5, atol=1e-5)
        made[name] = lambda compiled=compiled: compiled(x)
    return made


def race(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name, call in sides.items():
            if name == "unscheduled" and i >= 10:  # forty times slower than the others
                continue
            call()
            start = perf_counter()
            for _ in range(3):
                call()
            times[name].append((perf_counter() - start) / 3 * 1e3)
    return {name: median(each) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser("bench.tvm_mlp", description=__doc__)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ndl.no_grad():
        found = race(contenders(given.trials, folder), given.rounds)
    report = {
        "machine": {"cpu": platform.processor() or platform.machine(), "system": platform.platform()},
        "threads": 1, "trials": given.trials, "milliseconds": found,
        "unscheduled over scheduled": found["unscheduled"] / found["scheduled"],
        "scheduled over numpy": found["scheduled"] / found["numpy"],
        "tuned over numpy": found["tuned"] / found["numpy"],
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    if given.out:
        given.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

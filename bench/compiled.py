"""`needle.compile` against the best of PyTorch on the CPU: python -m bench.compiled [GROUP ...]

Needle eager and compiled, PyTorch eager and through `torch.compile` (inductor; for inference also with its weights
frozen) take turns in one process; all results are compared with one another first. What counts is the best of Needle
over the best of PyTorch. Inductor needs a C++ compiler. One thread, unless NEEDLE_NUM_THREADS and OMP_NUM_THREADS say
otherwise. The figures of a group, with the day and the machine, replace those of an earlier run in
bench/results/compiled-cpu-N-threads.json.
"""

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("NEEDLE_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn as tnn

import needle as ndl
from bench import charts, models, report
from bench.race import Lap, distance
from bench.works import training
from needle.dispatch import dispatcher

DEVICE = ndl.device("cpu")
ROUNDS, TURN = 11, 0.05
Runs = dict[str, Callable[[], Any]]  # by rival; ours begin with "needle"
LARGE = 1 << 24
TRANSFORMERS = {"2x128, 64 steps of 16": (128, 2, 4, 64, 16), "4x256, 128 steps of 8": (256, 4, 8, 128, 8)}


def ten(x: Any, maximum: Any) -> Any:
    """Ten elementwise functions, in both frameworks."""
    y = ((x * 1.5 + 0.25).relu() * x - 0.5).abs() * 0.75
    y = maximum(y + x, x)
    return y * y


def chain() -> Runs:
    values = np.random.default_rng(0).standard_normal(LARGE, dtype=np.float32)
    x, theirs = ndl.tensor(values, device=DEVICE), torch.from_numpy(values)
    compiled = ndl.compile(lambda x: ten(x, ndl.maximum))
    inductor = torch.compile(lambda x: ten(x, torch.maximum))
    return {
        "needle": lambda: ten(x, ndl.maximum),
        "needle compiled": lambda: compiled(x),
        "torch": lambda: ten(theirs, torch.maximum),
        "torch compiled": lambda: inductor(theirs),
    }


def one() -> Runs:
    """One pass over the same memory: what the chain is measured by."""
    values = np.random.default_rng(0).standard_normal(LARGE, dtype=np.float32)
    x, theirs = ndl.tensor(values, device=DEVICE), torch.from_numpy(values)
    return {"needle": lambda: x + 1.0, "torch": lambda: theirs + 1.0}


def step_of(model: Any, loss_of: Any, optimizer: Any, x: Any, y: Any) -> Callable[..., Any]:
    def step(x: Any = x, y: Any = y) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def trained(
    values: list[np.ndarray], ours: Callable[[], Any], theirs: Callable[[], tnn.Module], optimizers: Any
) -> Runs:
    """A whole training step; each rival has a model of its own, all begin with the same weights."""
    x, y = (ndl.tensor(value, device=DEVICE) for value in values)
    tx, ty = map(torch.from_numpy, values)

    def needle() -> Callable[..., Any]:
        model = ours()
        models.copy_weights(model, training.seeded(theirs))
        return step_of(model, ndl.nn.SoftmaxLoss(), optimizers[0](model.parameters()), x, y)

    def torch_step(fast: bool) -> Callable[..., Any]:
        model = training.seeded(theirs)
        optimizer = optimizers[1](model.parameters(), fused=True) if fast else optimizers[1](model.parameters())
        return step_of(torch.compile(model) if fast else model, tnn.CrossEntropyLoss(), optimizer, tx, ty)

    compiled = ndl.compile(needle())
    return {
        "needle": needle(), "needle compiled": lambda: compiled(x, y), "torch": torch_step(False),
        "torch compiled": torch_step(True),
    }  # fmt: skip


SGD = (lambda p: ndl.optim.SGD(p, 0.01), lambda p, **how: torch.optim.SGD(p, 0.01, **how))
ADAM = (lambda p: ndl.optim.Adam(p, 1e-4), lambda p, **how: torch.optim.Adam(p, 1e-4, **how))


def mlp(sizes: list[int]) -> Runs:
    values = list(training.classified(sizes[0], sizes[-1])(np.random.default_rng(0)))
    return trained(values, lambda: models.mlp(sizes, DEVICE), lambda: models.torch_mlp(sizes), SGD)


def transformer(width: int, layers: int, heads: int, length: int, batch: int) -> Runs:
    size, hidden, vocabulary = width // heads, 4 * width, 1000

    def ours() -> Any:
        sequence = ndl.nn.Transformer(
            width, hidden, layers, num_head=heads, dim_head=size, device=DEVICE, sequence_len=length
        )
        return models.LanguageModel(vocabulary, width, sequence, DEVICE)

    def theirs() -> tnn.Module:
        sequence = models.TorchTransformer(width, hidden, layers, heads, size, length)
        return models.TorchLanguageModel(vocabulary, width, sequence)

    return trained(list(training.texts(length, batch, vocabulary)(np.random.default_rng(0))), ours, theirs, ADAM)


def resnet9(batch: int) -> Runs:
    values = np.random.default_rng(0).standard_normal((batch, 3, 64, 64), dtype=np.float32)
    x, tx = ndl.tensor(values, device=DEVICE), torch.from_numpy(values)
    model, theirs = models.resnet9(DEVICE), training.seeded(models.torch_resnet9).eval()
    models.copy_weights(model, theirs)
    model.eval()
    inductor = torch.compile(theirs)
    frozen = torch.compile(training.seeded(models.torch_resnet9).eval(), options={"freezing": True})
    compiled = ndl.compile(model)
    return {
        "needle": training.inference(model, x, ndl.no_grad),
        "needle compiled": training.inference(compiled, x, ndl.no_grad),
        "torch": training.inference(theirs, tx, torch.no_grad),
        "torch compiled": training.inference(inductor, tx, torch.no_grad),
        "torch frozen": training.inference(frozen, tx, torch.no_grad),
    }


GROUPS: dict[str, dict[str, Callable[[], Runs]]] = {
    "chain": {"ten ops on 16M numbers": chain, "one op on 16M numbers": one},
    "MLP training step": {name: lambda sizes=sizes: mlp(sizes) for name, sizes in training.NETS.items()},
    "ResNet9 inference": {f"batch {batch}": lambda batch=batch: resnet9(batch) for batch in (16, 32, 64)},
    "Transformer training step": {name: lambda args=args: transformer(*args) for name, args in TRANSFORMERS.items()},
}


def numbers(result: Any) -> np.ndarray:
    return np.asarray(result.numpy() if isinstance(result, ndl.Tensor) else result.detach().numpy(), np.float64)


def race(runs: Runs) -> tuple[list[Lap], float]:
    """The rivals in turns, after a comparison of their results; and the seconds of Needle's first compiled call."""
    start = time.perf_counter()
    runs.get("needle compiled", runs["needle"])()
    first, results = time.perf_counter() - start, {}
    for turn in range(3):
        results = {r: numbers(run()) for r, run in runs.items() if turn or r != "needle compiled"}
        for rival, found in results.items():
            if not distance(found, results["torch"]) < 1e-4:
                raise SystemExit(f"{rival} is off by {distance(found, results['torch']):.1e}")
    laps = [Lap(rival) for rival in runs]
    repeats = []
    for run in runs.values():
        start = time.perf_counter()
        run()
        repeats.append(max(1, round(TURN / (time.perf_counter() - start))))
    for _ in range(ROUNDS):
        for run, lap, n in zip(runs.values(), laps, repeats, strict=True):
            start = time.perf_counter()
            for _ in range(n):
                run()
            lap.seconds.append((time.perf_counter() - start) / n)
    return laps, first


def best(row: dict[str, float]) -> float:
    """The best of Needle over the best of PyTorch."""
    return min(t for r, t in row.items() if r.startswith("needle")) / min(
        t for r, t in row.items() if r.startswith("torch")
    )


def show(group: str, rows: dict[str, dict[str, float]]) -> None:
    for name, row in rows.items():
        times = "  ".join(f"{rival} {report.duration(seconds)}" for rival, seconds in row.items())
        print(f"{group}: {name:28} {best(row):.2f}   {times}")
    print(f"{group}: geometric mean of best over best {statistics.geometric_mean(map(best, rows.values())):.2f}")


def draw(found: dict[str, Any], folder: Path, stem: str, threads: str) -> None:
    for group, rows in ((group, run["seconds"]) for group, run in found.items()):
        rivals = list(next(iter(rows.values())))
        drawn = [(name, [Lap(r, [row[r]]) for r in rivals]) for name, row in rows.items() if set(rivals) <= set(row)]
        charts.compared(group, drawn, f"cpu, {threads}", folder / f"{stem}-{group.replace(' ', '-').lower()}.png")


def circumstances(threads: int) -> dict[str, Any]:
    """When and on what a group was raced, which may be another day and machine than the others."""
    backend = dispatcher(DEVICE).backend
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "machine": report.machine(),
            "backend": backend.describe(), "torch": torch.__version__, "threads": threads,
            "rounds": ROUNDS}  # fmt: skip


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("bench.compiled", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}, or a part of a name")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args(arguments)
    n = int(os.environ["NEEDLE_NUM_THREADS"])
    torch.set_num_threads(n)
    threads = f"{n} thread{'s' * (n > 1)}"
    stem = f"compiled-cpu-{threads.replace(' ', '-')}"
    path = args.out / f"{stem}.json"
    args.out.mkdir(parents=True, exist_ok=True)  # before anything is raced, in case that it cannot be
    found: dict[str, Any] = json.loads(path.read_text()).get("groups", {}) if path.exists() else {}
    for group, works in GROUPS.items():
        if args.groups and not any(word.lower() in group.lower() for word in args.groups):
            continue
        raced = {name: race(make()) for name, make in works.items()}
        seconds = {name: {lap.rival: lap.median for lap in laps} for name, (laps, _) in raced.items()}
        first = {name: call for name, (_, call) in raced.items()}
        show(group, seconds)
        print(f"{group}: first compiled calls take up to {report.duration(max(first.values()))}")
        found[group] = {**circumstances(n), "best over best": statistics.geometric_mean(map(best, seconds.values())),
                        "seconds": seconds, "first call": first}  # fmt: skip
        path.write_text(json.dumps({"groups": found}, indent=1) + "\n")  # now: a run that is stopped leaves what it has
    draw(found, args.out, stem, threads)


if __name__ == "__main__":
    main(sys.argv[1:])

"""What Needle asks of an Apple GPU for the works of the benchmark notebook: counts, and nothing measured.

`python -m bench.metal_counts` prints a table for `docs/metal.md`, `--write` puts it there. Works are encoded for the
device msl, real or simulated, and dispatches are counted by its runtime; the GPU need not run them.
"""

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import needle as ndl
from bench import models
from bench.works import training
from needle.backend import views_in
from needle.dispatch import Call, observers

PAGE = Path(__file__).parent.parent / "docs" / "metal.md"
BEGIN, END = "<!-- counts: python -m bench.metal_counts --write -->", "<!-- end of counts -->"
MATMULS = [(1024, 1024, 1024), (4096, 4096, 4096), (64, 4096, 1024), (32, 2048, 512)]


@dataclass
class Counter:
    """An observer of dispatch: bytes that ops read and write, each operand once, and what products compute."""

    nbytes: int = 0
    flops: int = 0

    def before(self, call: Call) -> None:
        views = [view for arg in call.args for view in views_in(arg)]
        self.nbytes += sum(view.size * view.dtype.itemsize for view in views)
        if call.op in ("matmul", "linear"):
            dst, a = views[:2]
            transposed = call.op == "matmul" and call.args[3]
            self.flops += 2 * dst.size * a.shape[-2 if transposed else -1]
        if call.op in ("conv2d", "conv2d_bias"):
            dst, _, w = views[:3]
            self.flops += 2 * dst.size * (w.size // w.shape[-1])

    def after(self, call: Call, token: Any) -> None: ...


def counted(step: Any) -> tuple[int, Counter]:
    """Dispatches of the second call, when caches are full, and what its ops move and compute."""
    ext: Any = importlib.import_module("needle_backend_msl._ext")
    step()
    counter, before = Counter(), ext.counters()["dispatches"]
    observers.append(counter)
    try:
        step()
    finally:
        observers.remove(counter)
    return ext.counters()["dispatches"] - before, counter


def product(m: int, n: int, k: int) -> Any:
    a, b = ndl.zeros(m, k, device=ndl.msl()), ndl.zeros(k, n, device=ndl.msl())
    return lambda: a @ b


def mlp(sizes: list[int], optimizer: Any) -> Any:
    random, device = np.random.default_rng(0), ndl.msl()
    x = ndl.Tensor(random.standard_normal((training.BATCH, sizes[0]), dtype=np.float32), device=device)
    y = ndl.Tensor(random.integers(0, sizes[-1], training.BATCH), device=device)
    model = models.mlp(sizes, device)
    return training.stepped(model, ndl.nn.SoftmaxLoss(), optimizer(model.parameters()), x, y)


def resnet9(batch: int) -> Any:
    x = ndl.zeros(batch, 3, 64, 64, device=ndl.msl())
    return training.inference(models.resnet9(ndl.msl()).eval(), x, ndl.no_grad)


def rows() -> list[str]:
    works = [(f"matmul {m} x {n} x {k}", product(m, n, k)) for m, n, k in MATMULS]
    for name, sizes in training.NETS.items():
        for kind, optimizer in (("SGD", lambda p: ndl.optim.SGD(p, 0.01)), ("Adam", ndl.optim.Adam)):
            works.append((f"MLP step {name}, {kind}", mlp(sizes, optimizer)))
    works += [(f"ResNet9 inference, batch {batch}", resnet9(batch)) for batch in (16, 32, 64)]
    lines = ["| work | dispatches | Mbytes | Mflop | flop a byte |", "|---|---|---|---|---|"]
    for name, step in works:
        dispatches, counter = counted(step)
        megabytes, megaflops = counter.nbytes / 1e6, counter.flops / 1e6
        ratio = counter.flops / counter.nbytes
        lines.append(f"| {name} | {dispatches} | {megabytes:,.1f} | {megaflops:,.1f} | {ratio:.1f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.metal_counts", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/metal.md")
    table = "\n".join([BEGIN, *rows(), END])
    if not parser.parse_args().write:
        print(table)
        return
    text = PAGE.read_text()
    start, end = text.index(BEGIN), text.index(END) + len(END)
    PAGE.write_text(text[:start] + table + text[end:])


if __name__ == "__main__":
    main()

"""Eager training steps of multilayer perceptrons, against PyTorch's eager steps, alternating in one process.

    python bench/training.py                       the walking skeleton's net, one thread
    python bench/training.py --all --threads 2     every net of the benchmark notebook

Needs PyTorch. A step is forward, loss, backward and SGD on a batch of 64; both start from the same weights and must
reach the same loss.
"""

import argparse
import os
from itertools import pairwise
from pathlib import Path

NETS = {
    "tiny-2L-128": [128, 128, 10],
    "med-4L-512": [512, 512, 512, 512, 10],
    "wide-2L-1024": [1024, 1024, 10],
    "deep-6L-1024": [1024, 1024, 1024, 1024, 1024, 1024, 10],
    "maxwide-2L-2048": [2048, 2048, 10],
    "bneck-2048-64": [2048, 64, 2048, 10],
}
BATCH = 64
LR = 0.01


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="Needle's device (default: cpu)")
    parser.add_argument("--threads", type=int, default=1, help="threads of both frameworks (default: 1)")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each (default: 11)")
    parser.add_argument("--all", action="store_true", help="every net of the notebook, not the smallest alone")
    parser.add_argument("--json", type=Path, help="write the results there")
    return parser.parse_args()


args = options()
os.environ["NEEDLE_NUM_THREADS"] = str(args.threads)  # read when the backend is loaded

import harness  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import needle as ndl  # noqa: E402

torch.set_num_threads(args.threads)


def race(name: str, sizes: list[int]) -> harness.Result:
    """One net: check that both descend alike, then race their steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, sizes[0])).astype(np.float32)
    y = rng.integers(0, sizes[-1], BATCH)
    model = ndl.nn.Sequential(*layers(sizes))
    theirs = torch.nn.Sequential(*torch_layers(sizes))
    copy_weights(model, theirs)
    step = needle_step(model, x, y)
    torch_step = pytorch_step(theirs, x, y)
    for i in range(10):
        ours, other = step().item(), torch_step().item()
        if abs(ours - other) > 1e-3 * abs(other):
            raise SystemExit(f"{name}: step {i} gives loss {ours} here and {other} in PyTorch")
    return harness.race(f"{name} batch {BATCH}", step, torch_step, args.rounds)


def layers(sizes: list[int]) -> list[ndl.nn.Module]:
    pairs = list(pairwise(sizes))
    linear = [ndl.nn.Linear(a, b, device=ndl.device(args.device)) for a, b in pairs]
    return [m for layer in linear[:-1] for m in (layer, ndl.nn.ReLU())] + [linear[-1]]


def torch_layers(sizes: list[int]) -> list[torch.nn.Module]:
    pairs = list(pairwise(sizes))
    linear = [torch.nn.Linear(a, b) for a, b in pairs]
    return [m for layer in linear[:-1] for m in (layer, torch.nn.ReLU())] + [linear[-1]]


def copy_weights(model: ndl.nn.Module, theirs: torch.nn.Module) -> None:
    with torch.no_grad():
        for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
            q.copy_(torch.from_numpy(p.numpy().T if q.ndim == 2 else p.numpy().reshape(-1)))


def needle_step(model: ndl.nn.Module, x: np.ndarray, y: np.ndarray) -> harness.Work:
    data, labels = ndl.tensor(x, device=args.device), ndl.tensor(y, device=args.device)
    loss_of, optimizer = ndl.nn.SoftmaxLoss(), ndl.optim.SGD(model.parameters(), lr=LR)

    def step() -> ndl.Tensor:
        optimizer.reset_grad()
        loss = loss_of(model(data), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def pytorch_step(model: torch.nn.Module, x: np.ndarray, y: np.ndarray) -> harness.Work:
    data, labels = torch.from_numpy(x), torch.from_numpy(y)
    loss_of, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=LR)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(data), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


if __name__ == "__main__":
    chosen = NETS if args.all else {"tiny-2L-128": NETS["tiny-2L-128"]}
    results = [race(name, sizes) for name, sizes in chosen.items()]
    print(harness.table(results, f"needle {args.device}", "torch eager"))
    if args.json:
        harness.save(args.json, results, threads=str(args.threads), torch=torch.__version__)

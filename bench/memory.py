"""Peak memory of a training step, of Needle and of PyTorch, each in a process of its own.

On the CPU what counts is what the process came to hold while it trained: the growth of its largest resident size over
what it was when model and data were there, a tiny net had been trained and freed memory was given back. On CUDA it is
the most that each framework's allocator had in use, less model and data. The workspaces of libraries are in it, which
PyTorch takes at the first product and keeps, Needle for as long as a product takes; what PyTorch had kept before these
steps stands beside.
"""

import argparse
import ctypes
import gc
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

STEPS = 8
WORKS = ("deep-6L-1024", "maxwide-2L-2048", "LSTM 2x256", "Transformer 4x256")


def compare(args: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """Measure all works on both sides, print a table, and return its rows."""
    names = WORKS[:1] + WORKS[-1:] if args.quick else WORKS
    rows = []
    for name in names:
        found = {side: measured(args.device, side, name) for side in ("needle", "torch")}
        rows.append({"work": name, **{side: part["bytes"] for side, part in found.items()},
                     "kept before": {side: part["kept"] for side, part in found.items()}})  # fmt: skip
    table = Table(title="peak memory of a training step", title_justify="left", title_style="bold", box=None)
    for column in ("", "needle", "torch", "ratio", "kept before, torch"):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        ratio = row["needle"] / row["torch"]
        table.add_row(
            row["work"],
            *(f"{row[side] / 2**20:.1f} MiB" for side in ("needle", "torch")),
            f"{ratio:.2f}",
            f"{row['kept before']['torch'] / 2**20:.1f} MiB",
        )
    console.print(table, "")
    return rows


def measured(device: str, side: str, work: str) -> dict[str, int]:
    """Bytes of the steps, and those of them that were kept already before the first; from a fresh process."""
    command = [sys.executable, "-m", "bench.memory", device, side, work]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(result.stdout))


def peak_of_step(device: str, side_name: str, name: str) -> dict[str, int]:
    """What some steps of the work add to the memory that the process holds, model and data not counted."""
    import torch  # noqa: PLC0415  in the child alone

    from bench.sides import Needle, Torch  # noqa: PLC0415
    from bench.works import training  # noqa: PLC0415

    side = Needle(device) if side_name == "needle" else Torch(device)
    work = next(w for w in [*training.MLP, *training.SEQUENCES] if w.name.startswith(name))
    small = training.mlp("small", [8, 8, 8]).prepare(side)
    for _ in range(3):
        small()  # what libraries set up at the first step is not the step's
    del small
    on_cuda = device.startswith("cuda")
    kept = allocator(side)[0] if on_cuda else 0
    step = work.prepare(side)
    if on_cuda and side_name == "torch":
        torch.cuda.reset_peak_memory_stats()
    before = held(side, on_cuda)
    for _ in range(STEPS):
        step()
    side.synchronize()
    return {"bytes": peak(side, on_cuda) - before + kept, "kept": kept}


def held(side: Any, on_cuda: bool) -> int:
    """Bytes held now."""
    if on_cuda:
        return allocator(side)[0]
    give_back_freed()
    reset_peak()
    return resident("VmRSS")


def peak(side: Any, on_cuda: bool) -> int:
    """The most bytes held since `held`."""
    return allocator(side)[1] if on_cuda else resident("VmHWM")


def allocator(side: Any) -> tuple[int, int]:
    """Bytes in use and the most there were, by the framework's own account."""
    import torch  # noqa: PLC0415

    from bench.sides import Needle  # noqa: PLC0415
    from needle.dispatch import dispatcher  # noqa: PLC0415

    if isinstance(side, Needle):
        stats = dispatcher(side.device).backend.memory_stats()
        return stats["used"], stats["peak"]
    return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()


def give_back_freed() -> None:
    """Return to the system what was freed, so that the steps cannot live on what setting up left behind."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)


def reset_peak() -> None:
    """Make the kernel forget the largest resident size, where it can."""
    refs = Path("/proc/self/clear_refs")
    if refs.exists():
        refs.write_text("5")


def resident(field: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():  # no reset there: the growth of the maximum is a lower bound
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(peak_of_step(*sys.argv[1:4])))

"""The machine's ceilings, measured before the races: bytes a second of a copy, and operations a second."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

SOURCE = Path(__file__).parent / "native" / "ceilings.cpp"
COPIED = 1 << 26  # bytes: beyond the caches, like the arrays of the works
ROUNDS = 15


@dataclass(frozen=True)
class Ceilings:
    """`bandwidth` counts bytes read plus bytes written, `read` those of reading alone; `how` says what was measured."""

    bandwidth: float
    flops: float
    how: str
    read: float = 0  # 0 where it was not measured

    def share(self, seconds: float, nbytes: float, flops: float) -> float | None:
        """The time that the ceilings allow, as a share of the time taken; None if nothing was counted."""
        least = max(nbytes / self.bandwidth, flops / self.flops)
        return least / seconds if least else None


def measure(device: torch.device, threads: int) -> Ceilings:
    """The ceilings of the device that PyTorch calls by this name."""
    return of_cpu(threads) if device.type == "cpu" else of_accelerator(device)


def of_cpu(threads: int) -> Ceilings:
    """The faster of a copy with stores past the caches and the C library's; multiply-adds in registers."""
    library = built()
    n = COPIED // 4
    src, dst = aligned(n, 1.0), aligned(n, 0.0)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (src, dst)]
    size, count = ctypes.c_size_t(n), ctypes.c_int(threads)
    copies = {"streaming stores": library.copy_streaming, "memcpy": library.copy_plain}
    times = {name: best_of(lambda copy=copy: copy(*pointers, size, count)) for name, copy in copies.items()}
    fastest = min(times, key=lambda name: times[name])
    results = (ctypes.c_float * threads)()
    reading = best_of(lambda: library.read_streaming(pointers[0], size, count, results))
    rounds = ctypes.c_int64(2_000_000)
    done = library.arithmetic(rounds, count, results)
    seconds = best_of(lambda: library.arithmetic(rounds, count, results), 5)
    how = f"copy of 64 MiB by {fastest}; multiply-adds"
    return Ceilings(2 * COPIED / times[fastest], done / seconds, how, COPIED / reading)


def aligned(n: int, value: float) -> np.ndarray:
    """n numbers from the start of a cache line on, which streaming stores need."""
    space = np.empty(n + 16, np.float32)
    start = -space.ctypes.data // 4 % 16
    array = space[start : start + n]
    array[:] = value
    return array


def built() -> ctypes.CDLL:
    """The loops of native/ceilings.cpp, compiled for this machine by the compiler that builds Needle."""
    compiler = next(filter(shutil.which, filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++"))), None)
    if compiler is None:
        raise SystemExit("bench: no C++ compiler to measure the ceilings with; set CXX")
    folder = tempfile.mkdtemp(prefix="bench-")
    target = Path(folder) / "ceilings.so"
    flags = ["-O3", "-std=c++17", "-march=native", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    library.arithmetic.restype = ctypes.c_double
    shutil.rmtree(folder)  # it stays mapped
    return library


def of_accelerator(device: torch.device) -> Ceilings:
    """PyTorch's own copy of 1 GiB and its product of matrices of 8192, for want of a nearer way to the hardware."""
    src = torch.ones(1 << 28, device=device)
    dst = torch.empty_like(src)
    wait = torch.cuda.synchronize if device.type == "cuda" else torch.mps.synchronize

    def copy() -> None:
        dst.copy_(src)
        wait()

    bandwidth = 2 * src.nbytes / best_of(copy)
    a = torch.randn(8192, 8192, device=device)

    def product() -> None:
        a @ a
        wait()

    flops = 2 * 8192**3 / best_of(product, 5)
    return Ceilings(bandwidth, flops, "PyTorch's copy of 1 GiB; PyTorch's float32 product of 8192 x 8192 matrices")


def best_of(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The shortest time of some: a ceiling is what is possible, not what is usual."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)

"""Memory, copies, order, errors: what the conformance suite cannot see of a device."""

import subprocess
import sys
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle.errors import DeviceError, OutOfMemoryError

MIB = 1 << 20


def run(code: str) -> str:
    """What a fresh process prints; it may lose its device."""
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    return result.stdout + result.stderr


def test_freed_memory_is_used_again(gpu: ndl.Device, backend: Any) -> None:
    def step() -> None:
        a, b = ndl.ones(300, 500, device=gpu), ndl.ones(500, 100, device=gpu)
        (a @ b + 1.0).exp().sum()

    step()
    asked = backend.memory_stats()["system_allocations"]
    for _ in range(50):
        step()
    assert backend.memory_stats()["system_allocations"] == asked


def test_statistics(backend: Any) -> None:
    backend.empty_cache()
    before = backend.memory_stats()
    backend.reset_peak()
    buffers = [backend.allocate(n) for n in (1, 1000, 3 * MIB, 50 * MIB)]
    during = backend.memory_stats()
    assert during["used"] - before["used"] == 512 + 1024 + 3 * MIB + 50 * MIB
    assert during["held"] >= during["used"]
    del buffers
    after = backend.memory_stats()
    assert after["used"] == before["used"]
    assert after["held"] == during["held"]
    assert after["peak"] == during["used"]
    backend.empty_cache()
    assert backend.memory_stats()["held"] < after["held"]


def test_blocks_never_overlap(backend: Any) -> None:
    """Random sizes in random order: neighbours split, merge, and stay apart."""
    rng = np.random.default_rng(0)
    live: list[Any] = []
    for _ in range(3000):
        if live and rng.random() < 0.45:
            live.pop(rng.integers(len(live)))
        else:
            live.append(backend.allocate(int(2 ** rng.uniform(0, 23))))
    spans = sorted((b.ptr(), b.nbytes) for b in live)
    assert all(start + size <= following for (start, size), (following, _) in pairwise(spans))
    assert all(b.ptr() % 512 == 0 for b in live)


def test_out_of_memory_leaves_the_device_working(gpu: ndl.Device, backend: Any) -> None:
    total = backend.memory_stats()["total"]
    with pytest.raises(
        OutOfMemoryError, match=r"bytes asked for, [\d,]+ are free; Needle holds [\d,]+ bytes"
    ) as caught:
        backend.allocate(total + 1)
    assert caught.value.requested == total + 1
    assert ndl.ones(10, device=gpu).sum().item() == 10


def test_memory_limit(gpu: ndl.Device, backend: Any) -> None:
    backend.empty_cache()
    backend.set_memory_limit(backend.memory_stats()["held"] + 64 * MIB)
    try:
        kept = backend.allocate(40 * MIB)
        with pytest.raises(OutOfMemoryError):
            backend.allocate(40 * MIB)
        del kept
        backend.allocate(60 * MIB)
    finally:
        backend.set_memory_limit(2**63)


@pytest.mark.parametrize("nbytes", [1, 64 << 10, (64 << 10) + 1, 4 * MIB, 4 * MIB + 3, 37 * MIB + 5])
def test_large_copies_go_through_pinned_pieces(backend: Any, nbytes: int) -> None:
    sent = np.random.default_rng(nbytes).integers(0, 256, nbytes, dtype=np.uint8)
    kept, back = sent.copy(), np.zeros_like(sent)
    buffer = backend.allocate(nbytes)
    backend.upload(buffer, 0, memoryview(sent))
    sent[:] = 0  # the host's memory is free again at once
    backend.download(buffer, 0, memoryview(back))
    np.testing.assert_array_equal(back, kept)


def test_host_memory_may_be_freed_after_upload(gpu: ndl.Device) -> None:
    tensors = [ndl.tensor(np.full(MIB, i, np.float32), device=gpu) for i in range(20)]  # each source is gone at once
    assert [t[-1].item() for t in tensors] == list(range(20))


def test_two_threads_on_one_device(gpu: ndl.Device) -> None:
    wrong: list[str] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            a, b = rng.standard_normal((64, 48)), rng.standard_normal((48, 80))
            found = (ndl.tensor(a, device=gpu, dtype="float64") @ ndl.tensor(b, device=gpu, dtype="float64")).numpy()
            if not np.allclose(found, a @ b):
                wrong.append(f"thread {seed}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_events(gpu: ndl.Device, backend: Any) -> None:
    x = ndl.ones(4096, 4096, device=gpu)
    start = backend.record()
    for _ in range(20):
        x = x * 1.0
    end = backend.record()
    elapsed = end.milliseconds_since(start)
    assert end.done
    assert 0.1 < elapsed < 1000


def test_no_such_device(gpu: ndl.Device) -> None:
    with pytest.raises(DeviceError, match="no device 'cuda:99'"):
        ndl.device("cuda:99")


def test_a_fault_is_sticky_and_names_the_op(gpu: ndl.Device) -> None:
    printed = run(
        "import needle as ndl\n"
        "from needle.dispatch import dispatcher\n"
        "from needle_backend_cuda import _ext\n"
        "x = ndl.ones(8, device='cuda'); backend = dispatcher(x.device).backend\n"
        "backend.synchronize(); _ext.fault(0)\n"
        "for call in (backend.synchronize, lambda: x + x):\n"
        "    try: call()\n"
        "    except ndl.KernelError as error: print(error)\n"
    )
    assert "synchronize: the device is lost to this process: an illegal memory access" in printed, printed
    assert "fault" in printed
    assert "allocate: the device is lost to this process" in printed  # every later call says so


def test_fork_after_use_is_refused(gpu: ndl.Device) -> None:
    printed = run(
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "import needle as ndl\n"
        "x = ndl.ones(8, device='cuda')\n"
        "if os.fork() == 0:\n"
        "    try: x + x\n"
        "    except ndl.KernelError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print((x + x).sum().item())\n"
    )
    assert "CUDA was used before this process was forked; start it by spawn instead" in printed, printed
    assert "16.0" in printed


def test_peer_copies(gpu: ndl.Device, second: ndl.Device) -> None:
    values = np.arange(1_000_003, dtype=np.float32)
    there = ndl.tensor(values, device=gpu).to(second)
    assert there.device == second
    np.testing.assert_array_equal((there * 2.0).to(gpu).numpy(), values * 2)
    with pytest.raises(DeviceError, match="operands are on"):
        there + ndl.tensor(values, device=gpu)

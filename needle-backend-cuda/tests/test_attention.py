"""Attention at the sizes between which kernels change, ours and the library's, against the device `numpy`."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from test_layers import TOLERANCE, check, drawn

import needle as ndl

SIZES = [  # batch, queries, keys, columns of queries and keys, columns of values, causal
    ((2, 3), 64, 64, 64, 64, True), ((2,), 100, 37, 40, 24, False), ((3,), 37, 100, 33, 17, False),
    ((1, 2), 200, 200, 128, 128, True), ((2,), 70, 90, 256, 200, False), ((2,), 130, 130, 16, 16, True),
    ((1,), 5, 5, 8, 8, True), ((2,), 90, 50, 64, 64, True), ((2, 2), 257, 257, 80, 80, True),
    ((1,), 1, 300, 64, 64, False), ((2, 2), 300, 300, 64, 64, True), ((3,), 256, 400, 128, 128, False),
    ((2,), 384, 256, 32, 32, True),
]  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("row", SIZES, ids=str)
def test_attention(gpu: ndl.Device, dtype: str, row: Any) -> None:
    batch, queries, keys, depth, width, causal = row
    arrays = drawn((*batch, queries, depth), (*batch, keys, depth), (*batch, keys, width))
    check(gpu, dtype, lambda q, k, v: q.attention(k, v, causal), arrays, 2, row=row)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("scale", [1e-3, 3.0, 0.0, -0.5])
def test_scales(gpu: ndl.Device, dtype: str, scale: float) -> None:
    arrays = drawn((2, 260, 64), (2, 260, 64), (2, 260, 64))
    check(gpu, dtype, lambda q, k, v: q.attention(k, v, True, scale), arrays, 3, scale=scale)


def test_ours_and_the_librarys_agree(gpu: ndl.Device) -> None:
    """The choice is read from the environment once, so each has a process of its own."""
    code = (
        "import sys, numpy as np, needle as ndl\n"
        "rng = np.random.default_rng(0)\n"
        "made = [ndl.tensor(rng.standard_normal((2, 4, 512, 64)), device='cuda') for _ in range(4)]\n"
        "q, k, v, g = [x.astype('bfloat16').detach().requires_grad_() for x in made]\n"
        "y = q.attention(k, v, True); y.backward(g.detach())\n"
        "for x in (y.detach(), q.grad, k.grad, v.grad):\n"
        "    sys.stdout.buffer.write(x.astype('float32').numpy().tobytes())\n"
    )
    results = []
    for way in ("own", "library"):
        command = ["env", f"NEEDLE_CUDA_ATTENTION={way}", sys.executable, "-c", code]
        printed = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
        results.append(np.frombuffer(printed, np.float32).reshape(4, -1))
    for ours, theirs in zip(*results, strict=True):
        assert np.abs(ours - theirs).max() < 3e-2 * max(1.0, np.abs(theirs).max())
    assert not np.array_equal(*results)  # they are two


def test_memory_grows_with_rows_alone(gpu: ndl.Device, backend: Any) -> None:
    """No matrix of weights: of 4096 x 4096 in float32 it would take 64 MiB a head."""
    q, k, v = (ndl.randn(1, 8, 4096, 64, device=gpu) for _ in range(3))
    backend.synchronize()
    backend.reset_peak()
    before = backend.memory_stats()["peak"]
    q.attention(k, v, True).sum().item()
    assert backend.memory_stats()["peak"] - before < 4 * q.nbytes
    assert math.isfinite(before)

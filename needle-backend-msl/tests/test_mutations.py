"""A defect planted in each family of kernels fails the conformance suite, in check mode on the simulator."""

import os
import subprocess
import sys

import pytest

SYNC = "metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);"
MUTATIONS = {  # family: what is replaced, by what, and the trial that notices: kernel, dtype, layout
    "copy: strides of the other operand": (
        "load(src, locate(s, 1, i))", "load(src, locate(s, 0, i))", "cast_to_int32", "float32", "permuted",
    ),
    "bytes: one byte is left out": ("dst[i] = src[i];", "dst[i] = i == 3 ? 0 : src[i];", "upload", "", ""),
    "elementwise: one element too far": (
        "int64_t(i) * steps.a", "int64_t(i + 1) * steps.a", "exp", "float32", "compact",
    ),
    "fused: the strides of one element too far": (
        "walked(walks[0], i)", "walked(walks[0], i + 1)", "fused_chain", "float32", "permuted",
    ),
    "reduce: no barrier before the sums are read": (
        f"shared[simdgroup] = value;\n  {SYNC}", "shared[simdgroup] = value;", "sum", "float32", "tails",
    ),
    "rows: rows too far apart": (
        "int64_t(row) * rows.n;", "int64_t(row) * (rows.n + 1);", "softmax", "float32", "compact",
    ),
    "gemm: no barrier between filling and reading": (
        f"{SYNC}\n    threadgroup float* tile_a", "threadgroup float* tile_a", "matmul", "float32", "large",
    ),
    "conv: one row past the image": ("y >= p.h ", "y > p.h ", "conv2d", "float32", "compact"),
    "pool: one column past the image": ("at.x >= p.w", "at.x > p.w", "max_pool", "float32", "sizes"),
    "norm: the scale of the next row": (
        "statistics[2 * r + 1]", "statistics[2 * r + 2]", "layer_norm_grad", "float32", "compact",
    ),
    "index: lines of the wrong length": (
        "outer * p.n + place", "outer * p.m + place", "gather", "float32", "compact",
    ),
    "optim: the neighbour's state": ("load(square, i)", "load(square, i + 1)", "adam_step", "float32", "compact"),
    "random: one number too many": ("i < uint(d.n)", "i <= uint(d.n)", "uniform", "float32", "compact"),
    "attention: no barrier before a tile is filled again": (
        "sync();\n    for (int e = h.index; e < BLOCK * DEPTH", "for (int e = h.index; e < BLOCK * DEPTH",
        "attention", "float32", "large",
    ),
    "sort: no barrier between filling and reading": (
        "threadgroup_barrier(mem_flags::mem_threadgroup);\n  if (index >= count)", "if (index >= count)",
        "argsort", "float32", "tails",
    ),
}  # fmt: skip
TRIALS = """
import sys
from needle_conformance.kernels import trial
for selection in sys.argv[1:]:
    trial(selection.split()[0], "msl:0", *selection.split()[1:]).check()
"""
UPLOAD = """
import needle as ndl, numpy as np
from needle.dispatch import dispatcher
x = ndl.ones(3, device=ndl.msl()).array
y = x + 1  # the device still has to read it
dispatcher(ndl.msl()).backend.upload(x.buffer, 0, memoryview(np.full(3, 5, np.float32)).cast("B"))
np.testing.assert_array_equal((x + y).numpy(), [7, 7, 7])
"""


def run(*arguments, mutation=""):
    environment = {**os.environ, "METALSIM_MUTATION": mutation, "NEEDLE_MSL_EXACT": "1"}
    environment.pop("METALSIM_NOCHECK", None)
    command = [sys.executable, "-c", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def program(name):
    kernel, dtype, layout = MUTATIONS[name][2:]
    return [UPLOAD] if kernel == "upload" else [TRIALS, f"{kernel} {dtype} {layout}"]


@pytest.mark.parametrize("name", MUTATIONS)
def test_defect_is_caught(name, simulator):
    this, that, *_ = MUTATIONS[name]
    done = run(*program(name), mutation=f"{this}=>{that}")
    assert done.returncode == 1, done.stdout
    assert "AssertionError" in done.stderr or "KernelError" in done.stderr, done.stderr


def test_without_defects_all_pass(simulator):
    selections = [program(name)[1] for name in MUTATIONS if len(program(name)) > 1]
    for done in (run(TRIALS, *selections), run(UPLOAD)):
        assert done.returncode == 0, done.stderr

"""A defect planted in each family of kernels fails the conformance suite, in check mode on the simulator."""

import os
import subprocess
import sys

import pytest

SYNC = "metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);"
MUTATIONS = {  # family: what is replaced, by what, and the kernels that notice
    "copy: strides of the other operand": ("src[locate(s, 1, i)]", "src[locate(s, 0, i)]", "copy", "copy"),
    "elementwise: one element too far": ("int64_t(i) * steps.a", "int64_t(i + 1) * steps.a", "kernels", "exp"),
    "reduce: no barrier before the sums are read": (
        f"shared[simdgroup] = value;\n  {SYNC}", "shared[simdgroup] = value;", "kernels", "sum",
    ),
    "rows: rows too far apart": ("int64_t(row) * rows.n;", "int64_t(row) * (rows.n + 1);", "kernels", "softmax"),
    "gemm: no barrier between filling and reading": (
        f"{SYNC}\n    threadgroup float* tile_a", "threadgroup float* tile_a", "kernels", "matmul and float32",
    ),
    "conv: one row past the image": ("y >= p.h ", "y > p.h ", "kernels", "conv2d"),
    "pool: one column past the image": ("at.x >= p.w", "at.x > p.w", "kernels", "pool"),
    "norm: the scale of the next row": ("statistics[2 * r + 1]", "statistics[2 * r + 2]", "kernels", "layer_norm_grad"),
    "index: lines of the wrong length": ("outer * p.n + place", "outer * p.m + place", "kernels", "gather"),
    "optim: the neighbour's state": ("load(square, i)", "load(square, i + 1)", "kernels", "adam"),
    "random: one number too many": ("i < uint(d.n)", "i <= uint(d.n)", "kernels", "uniform"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_defect_is_caught(name, simulator, tmp_path):
    this, that, stage, selection = MUTATIONS[name]
    environment = {**os.environ, "METALSIM_MUTATION": f"{this}=>{that}"}
    environment.pop("METALSIM_NOCHECK", None)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--pyargs", "needle_conformance"]
    command += ["--device", "msl", "--stage", stage, "-k", selection]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "AssertionError" in done.stdout or "KernelError" in done.stdout

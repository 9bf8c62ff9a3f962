"""Schedules: by rule and by search; and a search that finds nothing, which must not pass for one that did."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle as ndl
import needle_tvm
from needle import nn
from needle.errors import ArgumentError, KernelError
from needle_tvm import pipeline


def model_and_batch(device: Any) -> tuple[nn.Module, ndl.Tensor]:
    np.random.seed(0)
    model = nn.Sequential(nn.Linear(512, 512, device=device), nn.ReLU(), nn.Linear(512, 512, device=device), nn.ReLU())
    return model, ndl.Tensor(np.random.randn(32, 512).astype("float32"), device=device)


def seconds(compiled: Any, x: Any, calls: int) -> float:
    """The shortest of some calls."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        compiled(x)
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.slow
def test_scheduled_is_faster(device: Any) -> None:
    """By 90 times when nothing else runs; 20 holds on a busy machine as well. bench/tvm_mlp.py measures with care."""
    model, x = model_and_batch(device)
    with ndl.no_grad():
        plain = ndl.compile(model, compiler="tvm", scheduled=False, threads=1)
        quick = ndl.compile(model, compiler="tvm", threads=1)
        for compiled in (plain, quick):
            compiled(x)
        assert seconds(plain, x, 5) > 20 * seconds(quick, x, 50)


@pytest.mark.slow
def test_tuned(device: Any, tmp_path: Path) -> None:
    model, x = model_and_batch(device)
    with ndl.no_grad():
        compiled = ndl.compile(model, compiler="tvm", tune=4, folder=tmp_path, threads=1)
        compiled(x)
        np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-5)
    assert (tmp_path / "database_tuning_record.json").read_text().strip()
    (program,) = compiled.programs[next(iter(compiled.programs))]
    name = "fused_te_matmul_te_broadcast_to_te_ewise_add_te_relu"
    assert "meta_schedule.tiling_structure" in str(program.execution.final[name])


@pytest.mark.slow
def test_tuning_that_finds_nothing(device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial fails without a word where a worker cannot build; then no module comes back, but an error."""
    monkeypatch.setattr(pipeline, "lighten_intrinsics", broken_elsewhere(os.getpid(), pipeline.lighten_intrinsics))
    model, x = model_and_batch(device)
    module = needle_tvm.fuse(needle_tvm.module(model, x))
    with pytest.raises(KernelError, match="tuning found no schedule in 2 trials"):
        needle_tvm.tune(module, 2, tmp_path, threads=1)


def broken_elsewhere(here: int, lighten: Callable[[], None]) -> Callable[[], None]:
    """What the workers begin with: in all processes but this there is no folder for what is built."""

    def initializer() -> None:
        if os.getpid() != here:
            tempfile.tempdir = "/no such folder"
        lighten()

    return initializer


def test_unknown_options() -> None:
    with pytest.raises(ArgumentError, match="no option 'trials'; tvm takes style, tune"):
        ndl.compile(lambda x: x, compiler="tvm", trials=3)

"""From a translated module to one that runs: fusion, schedules, code.

Fusion alone makes nothing faster; loops have to be tiled and vectorized. `schedule` does so by fixed rules, in
milliseconds; `tune` searches by meta-schedule and keeps what it finds in a database on disk.
"""

import os
import sys
import types
from pathlib import Path
from typing import Any

import tvm
from needle.errors import KernelError
from needle_tvm.schedule import scheduled
from tvm import relax


def target(threads: int | None = None) -> Any:
    """The processor of this machine."""
    host = tvm.target.Target.from_device(tvm.cpu())
    kind = {"kind": "llvm", "num-cores": threads or os.cpu_count() or 1}
    mcpu = host.attrs.get("mcpu")
    return tvm.target.Target({**kind, "mcpu": str(mcpu)} if mcpu else kind)


def fuse(module: Any) -> Any:
    """Relax's ops as loops, and neighbouring functions of loops as one, by their patterns."""
    passes = [
        relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern(), relax.transform.FoldConstant(),
        relax.transform.FuseOps(), relax.transform.FuseTIR(), relax.transform.DeadCodeElimination(),
    ]  # fmt: skip
    return tvm.transform.Sequential(passes)(module)


def schedule(module: Any) -> Any:
    """Every function of loops, tiled and vectorized by fixed rules."""
    return scheduled(module)


def tune(module: Any, trials: int, folder: str | os.PathLike[str], threads: int | None = None) -> Any:
    """Search for schedules by meta-schedule, with so many trials; what was found is kept in `folder`."""
    lighten_intrinsics()
    from tvm.s_tir import meta_schedule as ms  # noqa: PLC0415  its import takes seconds, and is for those who tune

    work = Path(folder)
    work.mkdir(parents=True, exist_ok=True)
    kind = target(threads)
    database = ms.relax_integration.tune_relax(
        mod=module, params={}, target=kind, work_dir=str(work), max_trials_global=trials, cost_model="random",
        builder=ms.builder.LocalBuilder(initializer=lighten_intrinsics),
        runner=ms.runner.LocalRunner(initializer=lighten_intrinsics),
    )  # fmt: skip
    if not database.get_all_tuning_records():
        raise KernelError("tvm", f"tuning found no schedule in {trials} trials; see the logs in {work / 'logs'}")
    with kind, database, tvm.transform.PassContext(opt_level=3):
        return relax.transform.MetaScheduleApplyDatabase()(module)


def build(module: Any, threads: int | None = None) -> Any:
    """Machine code, in Relax's virtual machine."""
    return relax.VirtualMachine(tvm.compile(module, target=target(threads)), tvm.cpu())


def lighten_intrinsics() -> None:
    """Let `tvm.s_tir.tensor_intrin` be its x86 part alone.

    The whole takes over half a minute to import, which meta-schedule's workers do within their time limit of 30 s:
    every trial fails then, and nothing says so.
    """
    name = "tvm.s_tir.tensor_intrin"
    if name not in sys.modules:
        light = types.ModuleType(name)
        light.__path__ = [f"{tvm.__path__[0]}/s_tir/tensor_intrin"]
        sys.modules[name] = light
        __import__(f"{name}.x86")

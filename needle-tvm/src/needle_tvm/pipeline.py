"""From a translated module to one that runs: fusion, schedules, code.

Fusion alone makes nothing faster; loops have to be tiled and vectorized. `schedule` does so by fixed rules, in
milliseconds; `tune` searches by meta-schedule and keeps what it finds in a database on disk.
"""

import logging
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from needle.errors import KernelError
from needle_tvm.schedule import scheduled


def target(threads: int | None = None) -> Any:
    """The processor of this machine."""
    host = tvm.target.Target.from_device(tvm.cpu())
    kind = {"kind": "llvm", "num-cores": threads or os.cpu_count() or 1}
    mcpu = host.attrs.get("mcpu")
    return tvm.target.Target({**kind, "mcpu": str(mcpu)} if mcpu else kind)


def fuse(module: Any) -> Any:
    """Relax's ops as loops, and neighbouring functions of loops as one, by their patterns."""
    passes = [
        relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern(), relax.transform.FuseOps(),
        relax.transform.FuseTIR(), relax.transform.DeadCodeElimination(),
    ]  # fmt: skip
    return tvm.transform.Sequential(passes)(module)


def schedule(module: Any) -> Any:
    """Every function of loops, tiled and vectorized by fixed rules; those that tuning has done stay as they are."""
    return scheduled(module)


def tune(module: Any, trials: int, folder: str | os.PathLike[str] = "needle-tvm", threads: int | None = None) -> Any:
    """Search for schedules by meta-schedule, with so many trials; what was found is kept in `folder` and used again."""
    lighten_intrinsics()
    _log_to_files()
    from tvm.s_tir import meta_schedule as ms  # noqa: PLC0415  its import takes seconds, and is for those who tune

    work = Path(folder)
    work.mkdir(parents=True, exist_ok=True)
    kind = target(threads)
    database = ms.relax_integration.tune_relax(
        mod=module, params={}, target=kind, work_dir=str(work), max_trials_global=trials, cost_model="random",
        strategy="replay-trace",
        builder=ms.builder.LocalBuilder(initializer=lighten_intrinsics),
        runner=ms.runner.LocalRunner(initializer=lighten_intrinsics),
    )  # fmt: skip
    if not any(_ran(record) for record in database.get_all_tuning_records()):
        raise KernelError("tvm", f"tuning found no schedule in {trials} trials; see the logs in {work / 'logs'}")
    with kind, database, tvm.transform.PassContext(opt_level=3):
        return relax.transform.MetaScheduleApplyDatabase()(module)


def _log_to_files() -> None:
    """Let meta-schedule tell its progress in the folder's logs and not on the screen. It cannot set up its logger when
    that has a handler without a name, so those go."""
    log = logging.getLogger("tvm.s_tir.meta_schedule")
    log.setLevel(logging.WARNING)
    for handler in [handler for handler in log.handlers if handler.get_name() is None]:
        log.removeHandler(handler)


def _ran(record: Any) -> bool:
    """Whether a trial came to its end: one that failed is kept as well, and took 1e10 seconds."""
    return bool(record.run_secs) and float(record.run_secs[0]) < 1e9


def build(module: Any, threads: int | None = None) -> Any:
    """Machine code, in Relax's virtual machine: `build(module)["main"](...)`. `threads` is how many TVM uses at most,
    for all modules from now on; it never uses more than TVM_NUM_THREADS said when it started."""
    if threads is not None:
        tvm.get_global_func("runtime.config_threadpool")(1, threads)
    return relax.VirtualMachine(tvm.compile(module, target=target(threads)), tvm.cpu())


def into_outputs(module: Any, places: Sequence[int]) -> tuple[Any, list[int]]:
    """A module whose `main` takes, behind its parameters, memory for those of its results that a function of loops
    fills; and which they are of `places`."""
    main = module["main"]
    (block,) = main.body.blocks
    bindings = {binding.var: binding for binding in block.bindings}
    results = _results(main.body.body, bindings)
    outputs: dict[Any, Any] = {}
    direct = []
    for i in places:
        call: Any = bindings[results[i]].value if results[i] in bindings else None
        if results[i] not in outputs and _fills_one(call):
            outputs[results[i]] = relax.Var(f"output{i}", call.ty_args[0])
            direct.append(i)
    changed = [_into(binding, outputs.get(binding.var)) for binding in block.bindings]
    body = relax.SeqExpr([relax.DataflowBlock(changed)], main.body.body)
    function = relax.Function([*main.params, *outputs.values()], body, main.ret_ty, main.is_pure, main.attrs)
    updated = module.clone()
    updated[module.get_global_var("main")] = function
    return updated, direct


def _results(value: Any, bindings: dict[Any, Any]) -> list[Any]:
    """The variables that a function returns, followed to the calls that fill them."""
    while value in bindings and isinstance(bindings[value].value, relax.Var | relax.Tuple):
        value = bindings[value].value
    if isinstance(value, relax.Tuple):
        return [part for field in value.fields for part in _results(field, bindings)]
    return [value]


def _fills_one(call: Any) -> bool:
    is_call = isinstance(call, tvm.ir.Call) and call.op == tvm.ir.Op.get("relax.call_tir")
    return is_call and isinstance(call.ty_args[0], relax.TensorType)


def _into(binding: Any, output: Any) -> Any:
    """A call whose result lies in memory that was given: the function is the same, its last argument no longer new."""
    if output is None:
        return binding
    function, arguments = binding.value.args[:2]
    call = relax.call_tir_inplace(
        function, relax.Tuple([*arguments.fields, output]), len(arguments.fields), binding.value.ty_args[0]
    )
    return relax.VarBinding(binding.var, call)


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

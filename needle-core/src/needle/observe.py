"""Observers of dispatch that the environment asks for: NEEDLE_SYNC=1 and NEEDLE_VALIDATE=1."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from needle.backend import View, views_in
from needle.device import Device
from needle.dispatch import WRITES, Call, dispatcher, observers
from needle.errors import KernelError
from needle.host import run_on_host
from needle.host_arrays import read
from needle.kinds import Kind
from needle.registry import BUILT_IN

# Relative to the largest reference value: a divergence is a wrong kernel, not another order of summation.
_TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-3, "float64": 1e-8}


class Synchronizer:
    """Waits after each op, so that a failure is raised by the op that caused it."""

    def before(self, call: Call) -> None: ...

    def after(self, call: Call, token: None) -> None:
        try:
            dispatcher(call.device).backend.synchronize()
        except Exception as error:
            raise KernelError(call.name, f"failed on {call.device}: {error}") from error


@dataclass
class _Expected:
    """The operands of a call as they were, and what the reference made of them."""

    inputs: list[Any]
    outputs: list[Any]


class Validator:
    """Runs every native op on the reference as well, and stops at the first divergence."""

    def before(self, call: Call) -> _Expected | None:
        if call.path != "native" or call.device.backend == BUILT_IN:
            return None
        device, reference = dispatcher(call.device).backend, dispatcher(Device(BUILT_IN))
        expected = _Expected([], [])

        def run(host: Any) -> None:
            expected.inputs = [_described(arg) for arg in host]
            reference.plan(call.op, host)(*host)
            expected.outputs = [np.array(read(v)) for i in WRITES.get(call.op, (0,)) for v in views_in(host[i])]

        run_on_host(device, reference.backend, (), call.args, run)
        return expected

    def after(self, call: Call, token: _Expected | None) -> None:
        if token is None:
            return
        found: list[Any] = []
        run_on_host(
            dispatcher(call.device).backend,
            dispatcher(Device(BUILT_IN)).backend,
            (),
            tuple(call.args[i] for i in WRITES.get(call.op, (0,))),
            lambda host: found.extend(np.array(read(v)) for arg in host for v in views_in(arg)),
        )
        for actual, expected in zip(found, token.outputs, strict=True):
            _compare(call, actual, expected, token)


def _described(arg: Any) -> Any:
    """An argument as text that makes it again: arrays by their values where small."""
    if isinstance(arg, View):
        values = np.array2string(np.array(read(arg)), separator=", ", threshold=64)
        return f"{arg.dtype} {arg.shape} strides {arg.strides} offset {arg.offset}: {' '.join(values.split())}"
    if isinstance(arg, list | tuple):
        return [_described(a) for a in arg]
    return f"{type(arg).__name__}.{arg.name}" if isinstance(arg, Kind) else repr(arg)


def _compare(call: Call, actual: Any, expected: Any, token: _Expected) -> None:
    dtype = next(v.dtype for arg in call.args for v in views_in(arg))
    scale = np.max(np.abs(expected, where=np.isfinite(expected), out=np.zeros(expected.shape)), initial=0.0)
    tolerance = _TOLERANCE.get(str(dtype), 0.0) * float(scale)
    if np.allclose(actual, expected, rtol=_TOLERANCE.get(str(dtype), 0.0), atol=tolerance, equal_nan=True):
        return
    wrong = ~np.isclose(actual, expected, rtol=_TOLERANCE.get(str(dtype), 0.0), atol=tolerance, equal_nan=True)
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise KernelError(
        call.name,
        f"{call.device} and the reference differ at {int(wrong.sum())} of {wrong.size} elements, first at {at}: "
        f"{actual[at]} instead of {expected[at]}\n{reproduction(call, token.inputs)}",
    )


def reproduction(call: Call, inputs: list[Any]) -> str:
    """Ten lines of Python that run the op again on random operands of the same types and layouts."""
    lines = ["import numpy as np", "from needle import dispatch, ndarray", "from needle.kinds import *",
             "from needle.layout import Layout", "rng = np.random.default_rng(0)", "args = []"]  # fmt: skip
    lines += [f"args.append({_constructed(arg, call.device)})" for arg in call.args]
    lines.append(f"dispatch.run(ndarray.as_device('{call.device}'), '{call.op}', *args)")
    return "\n".join([*lines, *(f"# {text}" for text in inputs)])


def _constructed(arg: Any, device: Device) -> str:
    if isinstance(arg, View):
        size = arg.layout.span()[1]
        return (
            f"ndarray.from_numpy(rng.standard_normal({size}), '{device}', '{arg.dtype}')"
            f".viewed(Layout({arg.shape}, {arg.strides}, {arg.offset}))"
        )
    if isinstance(arg, list | tuple):
        return "[" + ", ".join(_constructed(a, device) for a in arg) + "]"
    return f"{type(arg).__name__}.{arg.name}" if isinstance(arg, Kind) else repr(arg)


def from_environment() -> None:
    """Add the observers that the environment asks for."""
    if os.environ.get("NEEDLE_SYNC") == "1":
        observers.append(Synchronizer())
    if os.environ.get("NEEDLE_VALIDATE") == "1":
        observers.append(Validator())

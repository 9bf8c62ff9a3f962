"""Runs one row in this process: what it gave, which way its ops went, how long they took."""

import linecache
import time
import traceback
from collections import Counter
from typing import Any

from needle.backend import View, views_in
from needle.device import Device
from needle.dispatch import WRITES, Call, dispatcher, observers
from needle.fallback import Fallback, fallbacks, reset_fallbacks, set_fallback
from needle.registry import BUILT_IN, registry
from needle.registry import device as as_device
from needle_conformance.ending import raised_at
from needle_conformance.kernel import KernelTrial
from needle_conformance.score.rows import Row, matches, row_script
from needle_conformance.score.status import WRONG, Outcome, Status
from needle_conformance.shrink import shrunk_script

_SHRUNK = 3  # failures of one op
ABOUT_OPS = ("copy", "kernels", "ops", "gradients", "training")


class Ledger:
    """An observer of dispatch that counts a device's calls and bytes, those of nested calls with their own."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.calls = self.bytes = self.moved = 0

    def before(self, call: Call) -> None:
        if call.device is not self.device:
            return
        self.calls += 1
        if call.path == "composed":
            return
        views = [view for arg in call.args for view in views_in(arg)]
        self.bytes += sum(view.size * view.dtype.itemsize for view in views)
        if call.path == "host":
            written = [view for i in WRITES.get(call.op, (0,)) for view in views_in(call.args[i])]
            self.moved += sum(_span(view) for view in {id(v): v for v in views}.values()) + sum(map(_span, written))

    def after(self, call: Call, token: None) -> None: ...


def _span(view: View) -> int:
    first, last = view.layout.span()
    return (last - first) * view.dtype.itemsize


class Attempts:
    """Runs rows of one device; the first failures of each op are made smaller, the others are like them, as a rule."""

    def __init__(self, device: Device, measure: float) -> None:
        self.device, self.measure = device, measure
        self.failures: Counter[str] = Counter()

    def run(self, row: Row) -> Outcome:
        op = row.outcome().op
        outcome = attempt(row, self.device, self.measure, shrink=self.failures[op] < _SHRUNK)
        self.failures[op] += outcome.status in WRONG
        return outcome


def attempt(row: Row, device: Device, measure: float = 0.0, shrink: bool = True) -> Outcome:
    """Run a row and tell what became of it; take its time for so many seconds, on the device and the reference."""
    outcome, ledger = row.outcome(), Ledger(device)
    reset_fallbacks()
    observers.append(ledger)
    try:
        with set_fallback("silent"):
            row.run()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a failure of pytest.raises is no Exception; a device may raise anything
        _failed(outcome, error, device)
    else:
        _passed(outcome, ledger, device)
    finally:
        observers.remove(ledger)
    _expect(outcome, device)
    if outcome.status in (Status.FAIL, Status.XPASS):
        shrunk = shrunk_script(row.test, row.trial, outcome.status is Status.FAIL and shrink)
        outcome.script = shrunk or row_script(device, row.id, row.trial)
    elif measure and isinstance(row.trial, KernelTrial):
        _measure(outcome, row.trial, measure)
    return outcome


def _failed(outcome: Outcome, error: BaseException, device: Device) -> None:
    outcome.status = Status.FAIL
    outcome.message = _told(error)
    outcome.reason = " ".join(outcome.message.splitlines()[:1])
    place, code = raised_at(error, device)
    if place:
        outcome.message += f"\nat {place}: {code}"
        outcome.reason += f", at {place}"


def _told(error: BaseException) -> str:
    """What the error says; of a bare assertion, the line that failed."""
    text = str(error).strip()
    if not text:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = linecache.getline(frame.filename, frame.lineno or 0).strip()
    name = type(error).__name__
    return text if name in ("AssertionError", "Failed") else f"{name}: {text}"


def _passed(outcome: Outcome, ledger: Ledger, device: Device) -> None:
    outcome.bytes, outcome.moved = ledger.bytes, ledger.moved
    if outcome.stage not in ABOUT_OPS:
        outcome.status = Status.PASS
        return
    records = [r for r in fallbacks() if r.device is device]
    hosts = [r for r in records if r.path == "host"]
    outcome.status = Status.HOST if hosts else Status.COMPOSED if records else Status.NATIVE
    outcome.reason = _reasons(hosts or records)
    if not ledger.calls:
        outcome.status = Status.VIEW


def _reasons(records: list[Fallback]) -> str:
    return "; ".join(dict.fromkeys(r.reason for r in records))


def _expect(outcome: Outcome, device: Device) -> None:
    """What the backend's profile says of the row: a failure is then expected, and a success is none."""
    xfails = registry.conformance_profile(device.backend).xfails
    reason = next((why for pattern, why in xfails.items() if matches(outcome.id, pattern)), None)
    if reason is None:
        return
    outcome.status = Status.XFAIL if outcome.status is Status.FAIL else Status.XPASS
    outcome.reason = reason


def _measure(outcome: Outcome, trial: KernelTrial, seconds: float) -> None:
    """The fastest of some runs of all the row's calls, here and on the reference."""
    outcome.seconds = _fastest(trial, seconds)
    same = trial.device.backend == BUILT_IN
    reference = trial if same else KernelTrial(trial.kernel, as_device(BUILT_IN), trial.dtype, trial.layout)
    outcome.reference_seconds = outcome.seconds if same else _fastest(reference, seconds)


def _fastest(trial: KernelTrial, seconds: float) -> float:
    backend = dispatcher(trial.device).backend
    calls = trial.placed_calls()
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        _run(calls)
        backend.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


def _run(calls: list[Any]) -> None:
    with set_fallback("silent"):
        for call in calls:
            call()

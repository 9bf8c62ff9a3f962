"""Makes a failing trial smaller, step by step, as long as it fails in the same way; and writes what is left as Python.

Smaller means fewer elements, the plainest layout, and the plainest values: 0, 1, whole numbers.
"""

import time
from collections.abc import Callable
from typing import Any

from needle_conformance.calls import Call, calls_of
from needle_conformance.kernel import KernelTrial

SECONDS = 2.0  # for one failure
SHRUNK, WHOLE = "shrunk to", "its operands:"  # what scripts say of their operands


def shrunk_script(test: str, trial: Any, shrink: bool = True) -> str:
    """Python that makes the failure of a test over a trial again; "" if its calls alone do not.

    From the smallest operands that were found, or from the trial's own.
    """
    try:
        by_itself = isinstance(trial, KernelTrial) or test == "values"  # its own script has all its calls
        found = None if by_itself and not shrink else _first_failure(test, trial)
        if found is None:
            return str(trial.script()) if by_itself else ""
        call, kind = found
        return _smallest(call, lambda c: _failure(c) == kind).script(SHRUNK) if shrink else call.script(WHOLE)
    except Exception as error:
        return f"# no script: {type(error).__name__}: {error}"


def _first_failure(test: str, trial: Any) -> tuple[Call, str] | None:
    for call in calls_of(test, trial):
        kind = _failure(call)
        if kind is not None:
            return call, kind
    return None


def _failure(call: Call) -> str | None:
    """The type of the error that a call's check raises."""
    try:
        call.check()
    except Exception as error:
        return type(error).__name__
    return None


def _smallest(start: Call, fails: Callable[[Call], bool]) -> Call:
    """From `start`, the first smaller call that still fails, and so on until none does or time is up."""
    end = time.monotonic() + SECONDS
    found = start
    progress = True
    while progress:
        progress = False
        for candidate in found.smaller():
            if time.monotonic() > end:
                return found
            if fails(candidate):
                found, progress = candidate, True
                break
    return found

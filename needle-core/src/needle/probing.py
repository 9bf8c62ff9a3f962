"""How a plug-in is asked without harm to who asks: within a time limit, and with its prints kept off the output."""

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from needle.errors import BackendError

_SECONDS = 30.0  # drivers of machines with many GPUs may take some seconds to wake up

T = TypeVar("T")


def isolated() -> bool:
    """Whether plug-ins are to be probed in a process of their own, so that a crash is theirs alone."""
    value = os.environ.get("NEEDLE_PROBE", "")
    if value not in ("", "isolated"):
        raise BackendError(f"NEEDLE_PROBE is {value!r}; it is 'isolated' or not set")
    return bool(value)


def limit() -> float:
    """How many seconds a plug-in may take to tell its devices."""
    value = os.environ.get("NEEDLE_PROBE_SECONDS", "") or _SECONDS
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 86400:
        raise BackendError(f"NEEDLE_PROBE_SECONDS is {value!r}; it is a number of seconds, at most a day")
    return seconds


def late(seconds: float) -> str:
    return f"it did not tell its devices in {seconds:g} s; NEEDLE_PROBE_SECONDS allows more"


def within(seconds: float, function: Callable[[], T]) -> T:
    """What the function returns or raises, or TimeoutError. It runs in a thread: one that hangs is left behind."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="needle-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(late(seconds))
    return results[0]


@contextlib.contextmanager
def output_diverted() -> Iterator[io.StringIO]:
    """What Python code prints goes to the standard error, lest it mix with a program's results; and is kept."""
    kept = io.StringIO()
    try:
        with contextlib.redirect_stdout(kept):
            yield kept
    finally:
        if kept.getvalue() and sys.stderr is not None:
            sys.stderr.write(kept.getvalue())

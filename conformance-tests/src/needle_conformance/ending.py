"""How things end: a process by its status and its last words, a call of a backend by the line that raised."""

import linecache
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import IO

from needle.backend import Backend
from needle.device import Device
from needle.dispatch import dispatcher

_LIST = "Extension modules: "  # faulthandler's last line, which can be longer than all that it says of the crash


def ended(code: int | None, seconds: float) -> str:
    """How a process ended; None: it was killed, because it said nothing for so long."""
    if code is None:
        return f"no answer for {seconds:g} s; its process was ended"
    if code < 0:
        return f"the process died of {signal.Signals(-code).name}"
    return f"the process ended with status {code}"


def last_words(errors: IO[bytes], most: int = 4000) -> str:
    """The end of what a process wrote to its standard error."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith(_LIST))[-most:].strip()


def raised_at(error: BaseException, device: Device) -> tuple[str, str]:
    """Where an exception left the backend's own package, as in `needle_backend_foo/backend.py:47, in unary`, and the
    line of code there; empty if it never was there."""
    roots = list(dict.fromkeys(_roots(dispatcher(device).backend)))
    for one in _chain(error):
        for frame in reversed(traceback.extract_tb(one.__traceback__)):
            file = os.path.realpath(frame.filename)
            root = next((root for root in roots if file == root or file.startswith(root + os.sep)), None)
            if root is not None:
                place = f"{os.path.relpath(file, os.path.dirname(root))}:{frame.lineno}, in {frame.name}"
                return place, linecache.getline(frame.filename, frame.lineno or 0).strip()
    return "", ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _roots(backend: Backend) -> Iterator[str]:
    """The folders of the packages that the backend's classes are from; of the reference, which is core's, the file."""
    for cls in type(backend).__mro__:
        package = cls.__module__.partition(".")[0]
        if cls in Backend.__mro__:
            continue
        module = sys.modules.get(cls.__module__ if package == "needle" else package)
        places = list(getattr(module, "__path__", ())) or [getattr(module, "__file__", None)]
        yield from (os.path.realpath(place) for place in places if place)

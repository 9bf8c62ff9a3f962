"""What is known of a device before its rows run: its words, its dtypes, and methods that may be slips of the pen."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import isroutine
from typing import Any

from needle.backend import Backend
from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import DTYPES

_ALIKE = 0.8  # difflib's measure: `matmull` and `mat_mul` are above it, `gather_rows` is not


@dataclass(frozen=True)
class About:
    """A device, as its scorecard introduces it."""

    description: str = ""
    dtypes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


def about(device: Device) -> About:
    """What a device's backend says, and what its class looks like."""
    backend = dispatcher(device).backend
    return About(backend.describe(), tuple(str(d) for d in DTYPES if d in backend.dtypes), tuple(_hints(backend)))


def _hints(backend: Backend) -> Iterator[str]:
    """A line for each public method that the protocol does not know, if it does one that is alike and not written."""
    cls = type(backend)
    missing = [name for name in _methods(Backend) if not backend.implements(name)]
    for name in sorted(_methods(cls) - _methods(Backend)):
        for likely in get_close_matches(name, missing, 1, _ALIKE):
            yield f"{cls.__name__}.{name} is no function of the protocol and is never called; did you mean {likely}?"


def _methods(cls: Any) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_") and isroutine(getattr(cls, name, None))}

"""What is known of one plug-in: its state and why, where it comes from, what it said."""

import traceback
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from needle.backend import PROTOCOL, BackendInfo, Probe
from needle.errors import BackendError


class State(Enum):
    READY = "has devices"
    NO_DEVICE = "the plug-in works, but found no device"
    IMPORT_FAILED = "the plug-in failed while it was loaded or asked for its devices"
    INCOMPATIBLE = "the plug-in speaks another version of the protocol"
    CONFLICT = "two distributions claim the same name"
    DISABLED = "switched off by NEEDLE_DISABLE"


@dataclass
class Plugin:
    """One name in the registry: where it comes from, its state, and what it said of itself."""

    name: str
    state: State
    reason: str = ""
    source: str = "built in"
    info: BackendInfo | None = None
    devices: tuple[str, ...] = ()
    traceback: str = ""
    printed: str = ""  # what it wrote to the standard output while it was loaded; shown on the standard error
    hooks: Any = field(default=None, repr=False)  # to be called; None until its module was loaded

    def __str__(self) -> str:
        return f"{self.name}: {self.state.name}" + (f" ({self.reason})" if self.reason else "")

    def failed(self, error: BaseException) -> "Plugin":
        """Itself, in the state that an exception brings it to."""
        self.state, self.reason = State.IMPORT_FAILED, one_line(error)
        self.traceback = "".join(traceback.format_exception(error))
        return self

    def incompatible(self, protocol: tuple[int, int]) -> "Plugin":
        """Itself, refused for the protocol that it speaks."""
        self.state = State.INCOMPATIBLE
        self.reason = (
            f"it speaks protocol {version(protocol)}, this needle-core {version(PROTOCOL)}; "
            f"pip install --upgrade needle-core {self.source.split(' ')[0]}"
        )
        return self


def checked_info(name: str, info: Any) -> BackendInfo:
    """What `needle_backend_info` gave, if it is what the protocol says."""
    if not isinstance(info, BackendInfo):
        raise BackendError(f"needle_backend_info gave {type(info).__name__}, not a BackendInfo")
    if info.name != name:
        raise BackendError(f"its entry point says '{name}', its info says '{info.name}'")
    if not isinstance(info.priority, int):
        raise BackendError(f"its priority is {info.priority!r}, not an int")
    numbers = info.protocol
    if not (isinstance(numbers, tuple) and len(numbers) == 2 and all(isinstance(n, int) for n in numbers)):
        raise BackendError(f"its protocol is {numbers!r}, not a pair of ints")
    return info


def checked_probe(probe: Any) -> Probe:
    """What `needle_probe` gave, if it is what the protocol says."""
    if not isinstance(probe, Probe):
        raise BackendError(f"needle_probe gave {type(probe).__name__}, not a Probe")
    if not isinstance(probe.devices, tuple | list) or not all(isinstance(text, str) for text in probe.devices):
        raise BackendError(f"needle_probe gave devices {probe.devices!r}, not a tuple of texts")
    if not isinstance(probe.reason, str):
        raise BackendError(f"needle_probe gave the reason {probe.reason!r}, not a text")
    return probe


def compatible(protocol: tuple[int, int]) -> bool:
    return protocol[0] == PROTOCOL[0] and protocol[1] <= PROTOCOL[1]


def version(protocol: tuple[int, int]) -> str:
    return ".".join(map(str, protocol))


def one_line(error: BaseException) -> str:
    """An exception's name and text, whatever a stranger's class does when it is asked for its text."""
    try:
        text = str(error)
    except Exception as another:
        text = f"(its text raises {type(another).__name__})"
    return " ".join(f"{type(error).__name__}: {text}".split())

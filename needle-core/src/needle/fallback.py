"""What did not run natively: counted always, warned of where it left the device, refused on request."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from needle.device import Device
from needle.errors import UnsupportedError

Path = Literal["native", "composed", "host"]
Mode = Literal["warn", "silent", "error"]


class FallbackWarning(UserWarning):
    """An op of a device ran on the host."""


@dataclass
class Fallback:
    """One op that some device does not have, how it ran instead, how often, and the backend's reason."""

    op: str
    dtype: str
    device: Device
    path: Path
    reason: str
    count: int = 0

    def __str__(self) -> str:
        return f"{self.op} ({self.dtype}) on {self.device}: {self.path}, {self.count} times; {self.reason}"


_records: dict[tuple[str, str, Device, Path], Fallback] = {}
_mode: Mode = "warn"


def fallbacks() -> list[Fallback]:
    """Everything that was composed or ran on the host since the start or the last reset."""
    return [record for record in _records.values() if record.count]


def reset_fallbacks() -> None:
    """Forget the counts; the next host fallback warns again."""
    for record in _records.values():
        record.count = 0


def set_fallback(mode: Mode) -> contextlib.AbstractContextManager[None]:
    """Choose what happens when an op is not native: "warn" (once per op, dtype and device that ran on the host),
    "silent", or "error" (an UnsupportedError instead). Lasts, unless used as a context manager."""
    global _mode
    if mode not in ("warn", "silent", "error"):
        raise ValueError(f"set_fallback: mode is 'warn', 'silent' or 'error', not {mode!r}")
    before, _mode = _mode, mode
    return _restored(before)


@contextlib.contextmanager
def _restored(mode: Mode) -> Iterator[None]:
    try:
        yield
    finally:
        set_fallback(mode)


def record(op: str, dtype: str, device: Device, path: Path, reason: str) -> Fallback:
    """The record to be counted on each call of `note`."""
    return _records.setdefault((op, dtype, device, path), Fallback(op, dtype, device, path, reason))


def note(entry: Fallback) -> None:
    """Count one run; warn or refuse as the mode says."""
    if _mode == "error":
        raise UnsupportedError(
            f"{entry.op}: {entry.dtype} is not native on {entry.device} ({entry.reason}) and would run "
            f"{'on the host' if entry.path == 'host' else 'composed'}; needle.set_fallback('warn') allows it"
        )
    entry.count += 1
    if entry.path == "host" and entry.count == 1 and _mode == "warn":
        warnings.warn(
            f"{entry.op}: {entry.dtype} ran on the host for {entry.device}: {entry.reason}",
            FallbackWarning,
            stacklevel=2,
        )

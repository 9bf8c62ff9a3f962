"""profile: the time and the bytes of every op, eager or compiled; as a table, and as a trace for a timeline viewer."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

from needle.backend import View, views_in
from needle.device import Device
from needle.dispatch import WRITES, Call, dispatcher, observers
from needle.program.graph import UPDATES


@dataclass(frozen=True)
class Event:
    """One op: when it began, in seconds from the start of the profile; how long it took; the bytes it moved."""

    op: str
    device: Device
    path: str  # native, composed or host
    start: float
    seconds: float
    own: float  # seconds without the ops that it was composed of
    nbytes: int
    shapes: tuple[tuple[int, ...], ...]
    depth: int  # 0; 1 and more inside a composed op


@dataclass(frozen=True)
class Line:
    """All calls of one op on one device."""

    op: str
    device: Device
    calls: int
    seconds: float
    nbytes: int

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.nbytes / self.seconds if self.seconds else 0.0


class Profile:
    """What ran inside `with needle.profile() as p:`. Print it, or `save` it for chrome://tracing or Perfetto."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seconds = 0.0  # from the beginning to the end
        self._began = perf_counter()
        self._within: list[float] = []  # for each op under way, the seconds of the ops inside it

    # As an observer of dispatch.

    def before(self, call: Call) -> float:
        self._within.append(0.0)
        return perf_counter()

    def after(self, call: Call, start: float) -> None:
        dispatcher(call.device).backend.synchronize()
        seconds, inside = perf_counter() - start, self._within.pop()
        if self._within:
            self._within[-1] += seconds
        views = [view for arg in call.args for view in views_in(arg)]
        shapes = tuple(view.shape for view in views)
        self.events.append(
            Event(
                call.name, call.device, call.path, start - self._began, seconds, seconds - inside, _moved(call), shapes,
                len(self._within),
            )
        )  # fmt: skip

    # What it tells.

    def lines(self) -> list[Line]:
        """By op and device, the one that took longest first. Composed ops count without their parts."""
        found: dict[tuple[str, Device], list[Event]] = {}
        for event in self.events:
            found.setdefault((event.op, event.device), []).append(event)
        lines = [
            Line(op, device, len(events), sum(e.own for e in events), sum(e.nbytes for e in events))
            for (op, device), events in found.items()
        ]
        return sorted(lines, key=lambda line: -line.seconds)

    def __str__(self) -> str:
        busy = sum(event.own for event in self.events)
        rows = [("op", "device", "calls", "ms", "share", "us a call", "MiB", "GB/s")]
        rows += [
            (line.op, str(line.device), str(line.calls), f"{line.seconds * 1e3:.3f}",
             f"{line.seconds / busy if busy else 0:.1%}", f"{line.seconds / line.calls * 1e6:.1f}",
             f"{line.nbytes / 2**20:.2f}", f"{line.rate / 1e9:.1f}")
            for line in self.lines()
        ]  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        text = ["  ".join(_aligned(cell, i, widths[i]) for i, cell in enumerate(row)) for row in rows]
        rest = max(self.seconds - busy, 0.0)
        text.append(f"{len(self.events)} ops in {busy * 1e3:.3f} ms, each waited for; {rest * 1e3:.3f} ms between them")
        return "\n".join(text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace as JSON that chrome://tracing and ui.perfetto.dev read: a row for each device."""
        devices = list(dict.fromkeys(event.device for event in self.events))
        names = [
            {"ph": "M", "name": "process_name", "pid": i, "args": {"name": str(device)}}
            for i, device in enumerate(devices)
        ]
        spans = [
            {"ph": "X", "name": e.op, "cat": e.path, "pid": devices.index(e.device), "tid": 0, "ts": e.start * 1e6,
             "dur": e.seconds * 1e6, "args": {"bytes": e.nbytes, "shapes": [list(s) for s in e.shapes]}}
            for e in self.events
        ]  # fmt: skip
        Path(path).write_text(json.dumps({"displayTimeUnit": "ms", "traceEvents": [*names, *spans]}) + "\n")


def _aligned(cell: str, column: int, width: int) -> str:
    return f"{cell:<{width}}" if column < 2 else f"{cell:>{width}}"


def _moved(call: Call) -> int:
    """The bytes that an op reads and writes, each element once."""
    written, updated = WRITES.get(call.op, (0,)), UPDATES.get(call.op, ())
    twice = [view for i in updated for view in views_in(call.args[i])]
    others = [view for i, arg in enumerate(call.args) if i in written or i not in updated for view in views_in(arg)]
    return sum(map(_nbytes, [*others, *twice]))


def _nbytes(view: View) -> int:
    return prod(n for n, s in zip(view.shape, view.strides, strict=True) if s) * view.dtype.itemsize


@contextmanager
def profile() -> Iterator[Profile]:
    """Note every op: `with needle.profile() as p: step(x, y)`, then print(p) or p.save("trace.json").

    Each op is waited for, so that its time is its own: the sum is longer than a run in which a device works ahead.
    """
    found: Any = Profile()
    observers.append(found)
    try:
        yield found
    finally:
        found.seconds = perf_counter() - found._began
        observers.remove(found)

"""What `needle doctor` finds: versions, environment, plug-ins, and what each device computes natively.

It asks every plug-in for much, and outlives every answer: what a plug-in raises is a line of the report.
"""

import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import distributions
from textwrap import wrap
from typing import Any

import needle
from needle import entries, isolation
from needle.backend import BYTES, Backend
from needle.device import Device
from needle.dispatch import COMPOSED
from needle.dtype import DTYPES, DType, bool_, float32, int32
from needle.errors import DeviceError
from needle.kinds import BITWISE, COMPARISONS, LOGICAL, PREDICATES, Binary, Kind, Reduce, Unary
from needle.plugin import one_line
from needle.registry import BUILT_IN, Plugin, State, registry

KERNELS = ("copy", "cast", "unary", "binary", "where", "reduce")  # the primitives without a composed default

_REMEDIES = {
    State.NO_DEVICE: "check that the hardware and its driver are there",
    State.IMPORT_FAILED: "`needle doctor -v` shows the traceback; install it again, or leave it out by NEEDLE_DISABLE",
    State.INCOMPATIBLE: "upgrade the older of the two packages",
    State.CONFLICT: "uninstall all but one of those that claim the name",
    State.DISABLED: "take its name out of NEEDLE_DISABLE",
}


@dataclass
class Finding:
    """One plug-in."""

    name: str
    state: str
    reason: str
    remedy: str
    source: str
    protocol: str
    priority: int | None
    traceback: str
    printed: str  # what it wrote while it was loaded


@dataclass
class Checkup:
    """One device that is ready; `error` tells what could not be examined."""

    device: str
    description: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    dtypes: list[str] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    native: list[str] = field(default_factory=list)
    composed: list[str] = field(default_factory=list)
    host: list[str] = field(default_factory=list)
    declined: dict[str, str] = field(default_factory=dict)  # kinds of native primitives, and why they are not
    error: str = ""
    traceback: str = ""


@dataclass
class Report:
    python: str
    platform: str
    packages: dict[str, str]  # version by name: NumPy's, pluggy's, and those of all needle packages
    environment: dict[str, str]  # the variables NEEDLE_*
    default: str
    damaged: list[str]  # distributions whose entry points cannot be read
    plugins: list[Finding]
    devices: list[Checkup]


def examine(isolate: bool = False) -> Report:
    """Everything, found out now; each plug-in and device in a process of its own if `isolate`."""
    if isolate:
        os.environ["NEEDLE_PROBE"] = "isolated"
    look = _checkup_apart if isolate else checkup
    return Report(
        python=f"{platform.python_version()} ({sys.executable})",
        platform=platform.platform(),
        packages=_packages(),
        environment={name: value for name, value in sorted(os.environ.items()) if name.startswith("NEEDLE_")},
        default=_default(),
        damaged=[*registry.damaged(), *entries.find("needle.commands")[1]],
        plugins=[_finding(plugin) for plugin in registry.plugins()],
        devices=[look(device) for device in registry.devices()],
    )


def _packages() -> dict[str, str]:
    found = {"needle-core": needle.__version__}
    for distribution in distributions():
        name, _, version = entries.source(distribution).rpartition(" ")
        if name in ("numpy", "pluggy") or name.startswith("needle-"):
            found.setdefault(name, version)
    return dict(sorted(found.items()))


def _default() -> str:
    try:
        return str(needle.default_device())
    except DeviceError as error:
        return f"none: {error}"


def _finding(plugin: Plugin) -> Finding:
    return Finding(
        name=plugin.name,
        state=plugin.state.name,
        reason=plugin.reason,
        remedy=_REMEDIES.get(plugin.state, ""),
        source=plugin.source,
        protocol=".".join(map(str, plugin.info.protocol)) if plugin.info else "",
        priority=plugin.info.priority if plugin.info else None,
        traceback=plugin.traceback,
        printed=plugin.printed.strip(),
    )


def checkup(device: Device) -> Checkup:
    """What a device answers; each question is asked, whatever became of those before it."""
    found = Checkup(str(device))
    backend: Backend | None = _answer(found, "", lambda: registry.backend(device), None)
    if backend is None:
        return found
    found.native, found.composed, found.host = _answer(found, "implements", lambda: _ways(backend), ([], [], []))
    found.dtypes = _answer(found, "dtypes", lambda: [str(d) for d in DTYPES if d in backend.dtypes], [])
    found.declined = _answer(found, "supports", lambda: _declined(backend), {})
    found.description = _answer(found, "describe", lambda: str(backend.describe()), "")
    found.versions = _answer(found, "versions", lambda: {str(k): str(v) for k, v in backend.versions().items()}, {})
    found.memory = _answer(found, "memory_stats", lambda: {str(k): int(v) for k, v in _memory(backend)}, {})
    return found


def _checkup_apart(device: Device) -> Checkup:
    """A checkup in a process of its own; what does not come back is an error of the device."""
    if device.backend == BUILT_IN:
        return checkup(device)
    answer = isolation.ask("checkup", device.backend, device.index)
    if answer.failure:
        return Checkup(str(device), error=answer.failure, traceback=answer.printed)
    return Checkup(**answer.result)


def _answer(found: Checkup, question: str, ask: Callable[[], Any], otherwise: Any) -> Any:
    """The answer, or `otherwise` and one more error of the checkup."""
    try:
        return ask()
    except (Exception, SystemExit) as error:
        said = f"{question}: {one_line(error)}" if question else one_line(error)
        found.error = "; ".join(filter(None, [found.error, said]))
        found.traceback += traceback.format_exc()
        return otherwise


def _memory(backend: Backend) -> list[tuple[Any, Any]]:
    return list(backend.memory_stats().items())


def _ways(backend: Backend) -> tuple[list[str], list[str], list[str]]:
    """The primitives that a backend has itself, that are composed for it, and that run on the host."""
    native = [op for op in (*KERNELS, *COMPOSED) if backend.implements(op)]
    composed = [op for op in COMPOSED if op not in native]
    return native, composed, [op for op in KERNELS if op not in native]


def _declined(backend: Backend) -> dict[str, str]:
    """The kinds that the backend's own kernels do not take in their plainest type, and its reasons."""
    reasons = {
        f"{op} {kind.op}": backend.supports(op, kind, _plainest(kind))
        for op, kinds in (("unary", Unary), ("binary", Binary), ("reduce", Reduce))
        if backend.implements(op)
        for kind in kinds
    }
    return {name: " ".join(str(reason).split()) for name, reason in reasons.items() if reason is not None}


def _plainest(kind: Kind) -> tuple[DType, ...]:
    """float32, or what a kind takes where that is none: the result's type, then those of the operands."""
    if isinstance(kind, Binary):  # kinds are ints: those of two enums may be equal
        takes = bool_ if kind in LOGICAL else int32 if kind in BITWISE else float32
        return (bool_ if kind in COMPARISONS else takes, takes, takes)
    if isinstance(kind, Unary):
        takes = bool_ if kind is Unary.LOGICAL_NOT else int32 if kind is Unary.BITWISE_NOT else float32
        return (bool_ if kind in PREDICATES else takes, takes)
    return (float32, float32)


def as_json(report: Report) -> str:
    return json.dumps(asdict(report), indent=2)


def as_text(report: Report, tracebacks: bool) -> str:
    """The report for people, in paragraphs."""
    about = [("python", report.python), ("platform", report.platform), *report.packages.items()]
    paragraphs = [
        table([*about, *report.environment.items(), ("default device", report.default)]),
        *(f"damaged: {line}" for line in report.damaged),
        *(_plugin_text(plugin, tracebacks) for plugin in report.plugins),
        *(_device_text(device, tracebacks) for device in report.devices),
    ]
    return "\n\n".join(paragraphs)


def _plugin_text(plugin: Finding, tracebacks: bool) -> str:
    source = f" ({plugin.source}" + (f", protocol {plugin.protocol})" if plugin.protocol else ")")
    rows = [("reason", plugin.reason), ("remedy", plugin.remedy)]
    if not plugin.traceback:  # of which it is part where there is one
        rows += [("printed" if i == 0 else "", line) for i, line in enumerate(plugin.printed.splitlines()[:5])]
    return _section(f"plug-in {plugin.name}: {plugin.state}{source}", rows, plugin.traceback if tracebacks else "")


def _device_text(device: Checkup, tracebacks: bool) -> str:
    memory = [f"{name} {count:,}" + (" bytes" if name in BYTES else "") for name, count in device.memory.items()]
    versions = [f"{name} {version}" for name, version in device.versions.items()]
    declined = [f"{name} ({reason})" for name, reason in device.declined.items()]
    lists = {"versions": versions, "dtypes": device.dtypes, "memory": memory, "native": device.native,
             "declined": declined, "composed": device.composed, "host": device.host}  # fmt: skip
    rows = [("error", device.error), *(row for name, words in lists.items() for row in _wrapped(name, words))]
    return _section(f"device {device.device}: {device.description}", rows, device.traceback if tracebacks else "")


def _wrapped(name: str, words: list[str]) -> list[tuple[str, str]]:
    """A list of words as rows, the first of which bears the name."""
    lines = wrap(", ".join(words), 100)
    return [(name if i == 0 else "", line) for i, line in enumerate(lines)]


def _section(title: str, rows: Sequence[tuple[str, str]], trace: str) -> str:
    shown = [("", name, text) for name, text in rows if text]
    return "\n".join([title, *([table(shown)] if shown else []), *(f"  | {line}" for line in trace.splitlines())])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines, their columns aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)

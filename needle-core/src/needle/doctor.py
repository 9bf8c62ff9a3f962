"""What `needle doctor` finds: versions, environment, plug-ins, and what each device computes natively.

It asks every plug-in for much, and outlives every answer: what a plug-in raises is a line of the report.
"""

import json
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import distributions
from textwrap import wrap

import needle
from needle.backend import Backend
from needle.device import Device
from needle.dispatch import COMPOSED
from needle.dtype import DTYPES
from needle.errors import DeviceError
from needle.registry import Plugin, State, registry

KERNELS = ("copy", "cast", "unary", "binary", "where", "reduce")  # the primitives without a composed default

_REMEDIES = {
    State.NO_DEVICE: "check that the hardware and its driver are there",
    State.IMPORT_FAILED: "`needle doctor -v` shows the traceback; try to install the package again",
    State.DISABLED: "take its name out of NEEDLE_DISABLE",
}  # the reasons of the other states end with their remedy


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


@dataclass
class Checkup:
    """One device that is ready; `error` if it could not be examined."""

    device: str
    description: str = ""
    dtypes: list[str] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    native: list[str] = field(default_factory=list)
    composed: list[str] = field(default_factory=list)
    host: list[str] = field(default_factory=list)
    error: str = ""
    traceback: str = ""


@dataclass
class Report:
    python: str
    platform: str
    packages: dict[str, str]  # version by name: NumPy's, pluggy's, and those of all needle packages
    environment: dict[str, str]  # the variables NEEDLE_*
    default: str
    plugins: list[Finding]
    devices: list[Checkup]


def examine() -> Report:
    """Everything, found out now."""
    return Report(
        python=f"{platform.python_version()} ({sys.executable})",
        platform=platform.platform(),
        packages=_packages(),
        environment={name: value for name, value in sorted(os.environ.items()) if name.startswith("NEEDLE_")},
        default=_default(),
        plugins=[_finding(plugin) for plugin in registry.plugins()],
        devices=[_checkup(device) for device in registry.devices()],
    )


def _packages() -> dict[str, str]:
    found = {"needle-core": needle.__version__}
    for distribution in distributions():
        name = distribution.name or ""  # a damaged one has none
        if name in ("numpy", "pluggy") or name.startswith("needle-"):
            found.setdefault(name, distribution.version)
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
    )


def _checkup(device: Device) -> Checkup:
    found = Checkup(str(device))
    try:
        backend = registry.backend(device)
        found.description = str(backend.describe())
        found.dtypes = [str(dtype) for dtype in DTYPES if dtype in backend.dtypes]
        found.memory = {str(name): int(count) for name, count in backend.memory_stats().items()}
        found.native, found.composed, found.host = _ways(backend)
    except (Exception, SystemExit) as error:
        found.error = " ".join(f"{type(error).__name__}: {error}".split())
        found.traceback = traceback.format_exc()
    return found


def _ways(backend: Backend) -> tuple[list[str], list[str], list[str]]:
    """The primitives that a backend has itself, that are composed for it, and that run on the host."""
    native = [op for op in (*KERNELS, *COMPOSED) if backend.implements(op)]
    composed = [op for op in COMPOSED if op not in native]
    return native, composed, [op for op in KERNELS if op not in native]


def as_json(report: Report) -> str:
    return json.dumps(asdict(report), indent=2)


def as_text(report: Report, tracebacks: bool) -> str:
    """The report for people, in paragraphs."""
    about = [("python", report.python), ("platform", report.platform), *report.packages.items()]
    paragraphs = [
        table([*about, *report.environment.items(), ("default device", report.default)]),
        *(_plugin_text(plugin, tracebacks) for plugin in report.plugins),
        *(_device_text(device, tracebacks) for device in report.devices),
    ]
    return "\n\n".join(paragraphs)


def _plugin_text(plugin: Finding, tracebacks: bool) -> str:
    source = f" ({plugin.source}" + (f", protocol {plugin.protocol})" if plugin.protocol else ")")
    rows = [("reason", plugin.reason), ("remedy", plugin.remedy)]
    return _section(f"plug-in {plugin.name}: {plugin.state}{source}", rows, plugin.traceback if tracebacks else "")


def _device_text(device: Checkup, tracebacks: bool) -> str:
    memory = [f"{name} {count:,} bytes" for name, count in device.memory.items()]
    lists = {"dtypes": device.dtypes, "memory": memory, "native": device.native, "composed": device.composed,
             "host": device.host}  # fmt: skip
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

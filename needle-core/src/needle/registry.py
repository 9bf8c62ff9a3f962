"""Finds installed backends by entry point, loads each in isolation, and remembers its state and why.

Nothing is imported before somebody asks for a device: discovery reads names only, and a plug-in is loaded when its
name is used or all states are listed. A plug-in that fails is a state with a reason, never an exception elsewhere.
"""

import contextlib
import os
import threading
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from needle import reference
from needle.backend import GROUP, PROTOCOL, Backend, BackendInfo, ConformanceProfile, Hooks, Probe
from needle.device import Device, parse_device
from needle.errors import BackendError, DeviceError

BUILT_IN = "numpy"  # the reference backend, which needs no installation


class State(Enum):
    READY = "has devices"
    NO_DEVICE = "the plug-in works, but found no device"
    IMPORT_FAILED = "the plug-in raised while it was loaded"
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
    module: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.name}: {self.state.name}" + (f" ({self.reason})" if self.reason else "")


class Registry:
    """All backends of this process. `needle.registry.registry` is the one that everything uses."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._found: dict[str, list[EntryPoint]] | None = None
        self._plugins: dict[str, Plugin] = {}
        self._backends: dict[Device, Backend] = {}
        self._manager = pluggy.PluginManager("needle")
        self._manager.add_hookspecs(Hooks)

    def names(self) -> tuple[str, ...]:
        """The names of all installed backends, loaded or not."""
        with self._lock:
            return tuple(sorted({BUILT_IN, *self._discovered()}))

    def plugin(self, name: str) -> Plugin | None:
        """The plug-in of that name, loaded if it can be; None if nothing of that name is installed."""
        with self._lock:
            if name not in self._plugins and name in self.names():
                self._plugins[name] = self._load(name)
            return self._plugins.get(name)

    def plugins(self) -> list[Plugin]:
        """Every plug-in with its state, in order of name; one that claims the name of the built-in stands after it."""
        loaded = [plugin for name in self.names() if (plugin := self.plugin(name)) is not None]
        return sorted([*loaded, *self._usurpers()], key=lambda plugin: plugin.name)

    def device(self, name: str, index: int = 0) -> Device:
        """The device of that name and index, or a DeviceError that tells what there is."""
        plugin = self.plugin(name)
        if plugin is None:
            raise DeviceError(f"no device '{name}'; {self.summary()}; pip install needle-backend-{name}")
        if plugin.state is not State.READY:
            raise DeviceError(f"no device '{name}': {plugin.state.name}, {plugin.reason}; {self.summary(but=name)}")
        if index >= len(plugin.devices):
            there_is = "only 0" if len(plugin.devices) == 1 else f"0 to {len(plugin.devices) - 1}"
            raise DeviceError(f"no device '{name}:{index}'; {name} has {there_is}")
        return Device(name, index)

    def devices(self) -> list[Device]:
        """All devices that are ready."""
        ready = (p for p in self.plugins() if p.state is State.READY)
        return [Device(p.name, i) for p in ready for i in range(len(p.devices))]

    def summary(self, but: str = "") -> str:
        """All states in one line, for error messages."""
        others = [p for p in self.plugins() if p.name != but]
        ready = [p.name for p in others if p.state is State.READY]
        rest = [str(p).replace("\n", " ") for p in others if p.state is not State.READY]
        return "; ".join([f"ready: {', '.join(ready)}", *rest])

    def backend(self, device: Device) -> Backend:
        """The backend of a device, created on first use."""
        with self._lock:
            if device not in self._backends:
                self.device(device.backend, device.index)
                self._backends[device] = self._create(device)
            return self._backends[device]

    def conformance_profile(self, name: str) -> ConformanceProfile:
        """What the plug-in tells the conformance suite; empty if it tells nothing."""
        plugin = self.plugin(name)
        found = self._call(plugin, "needle_conformance_profile") if plugin is not None and plugin.module else None
        return found if isinstance(found, ConformanceProfile) else ConformanceProfile({}, {})

    def _create(self, device: Device) -> Backend:
        plugin = self._plugins[device.backend]
        try:
            backend = self._call(plugin, "needle_create_backend", index=device.index)
        except (Exception, SystemExit) as error:
            raise BackendError(f"{device}: the backend could not be created: {_one_line(error)}") from error
        if not isinstance(backend, Backend):
            raise BackendError(f"{device}: needle_create_backend gave {type(backend).__name__}, not a Backend")
        return backend

    def _discovered(self) -> dict[str, list[EntryPoint]]:
        if self._found is None:
            self._found = {}
            seen = set()
            for entry in entry_points(group=GROUP):
                claim = (entry.name, entry.value, entry.dist.name if entry.dist else "")
                if claim not in seen:  # one distribution can stand on the path twice
                    seen.add(claim)
                    self._found.setdefault(entry.name, []).append(entry)
        return self._found

    def _load(self, name: str) -> Plugin:
        entries = self._discovered().get(name, [])
        sources = [_source(entry) for entry in entries]
        if name in os.environ.get("NEEDLE_DISABLE", "").replace(" ", "").split(","):
            return Plugin(name, State.DISABLED, "NEEDLE_DISABLE names it", ", ".join(sources) or "built in")
        if name == BUILT_IN:
            return self._admit(Plugin(name, State.READY, module=reference))
        if len(entries) > 1:
            return Plugin(name, State.CONFLICT, f"{' and '.join(sources)} claim it; uninstall one", ", ".join(sources))
        plugin = Plugin(name, State.READY, source=sources[0])
        try:
            plugin.module = entries[0].load()
        except (Exception, SystemExit) as error:
            return _failed(plugin, error)
        return self._admit(plugin)

    def _usurpers(self) -> list[Plugin]:
        """Those that claim the built-in's name: never loaded, for every fallback to the host needs the built-in."""
        sources = [_source(entry) for entry in self._discovered().get(BUILT_IN, [])]
        reason = "the name belongs to needle-core, so this plug-in is left out; uninstall it"
        return [Plugin(BUILT_IN, State.CONFLICT, reason, source) for source in sources]

    def _admit(self, plugin: Plugin) -> Plugin:
        """Register the module's hooks and ask them; the state that results."""
        try:
            self._manager.register(plugin.module, name=plugin.name)
            plugin.info = self._call(plugin, "needle_backend_info")
            if not isinstance(plugin.info, BackendInfo):
                raise BackendError(f"needle_backend_info gave {type(plugin.info).__name__}, not a BackendInfo")
            if plugin.info.name != plugin.name:
                raise BackendError(f"its entry point says '{plugin.name}', its info says '{plugin.info.name}'")
            if not _compatible(plugin.info.protocol):
                plugin.state = State.INCOMPATIBLE
                plugin.reason = (
                    f"it speaks protocol {_version(plugin.info.protocol)}, this needle-core {_version(PROTOCOL)}; "
                    f"pip install --upgrade needle-core {plugin.source.split(' ')[0]}"
                )
                return plugin
            probe = self._call(plugin, "needle_probe")
            if not isinstance(probe, Probe):
                raise BackendError(f"needle_probe gave {type(probe).__name__}, not a Probe")
        except (Exception, SystemExit) as error:
            return _failed(plugin, error)
        plugin.devices, plugin.reason = probe.devices, probe.reason
        plugin.state = State.READY if probe.devices else State.NO_DEVICE
        return plugin

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """Call one plug-in's hook alone: in a common call, one that raises would stop the others."""
        others = [p for p in self._manager.get_plugins() if p is not plugin.module]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)(**arguments)


def _compatible(protocol: tuple[int, int]) -> bool:
    return protocol[0] == PROTOCOL[0] and protocol[1] <= PROTOCOL[1]


def _version(protocol: tuple[int, int]) -> str:
    return ".".join(map(str, protocol))


def _source(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _failed(plugin: Plugin, error: BaseException) -> Plugin:
    plugin.state, plugin.reason = State.IMPORT_FAILED, _one_line(error)
    plugin.traceback = "".join(traceback.format_exception(error))
    return plugin


registry = Registry()
_chosen: ContextVar[Device | None] = ContextVar("needle_device", default=None)


def device(spec: Device | str | None = None) -> Device:
    """A device from its text ("cpu", "cuda:1"), itself, or None for the default; checked to be ready."""
    if spec is None:
        return default_device()
    if isinstance(spec, Device):
        return spec
    if not isinstance(spec, str):
        raise DeviceError(f"device: expected a Device or text such as 'cuda:1', not {type(spec).__name__}")
    parsed = parse_device(spec)
    return registry.device(parsed.backend, parsed.index)


def devices() -> list[Device]:
    """All devices that are ready to use."""
    return registry.devices()


_default: Device | None = None


def default_device() -> Device:
    """The device of new arrays: that of `use_device`, else NEEDLE_DEVICE, else the READY one of highest priority."""
    global _default
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if _default is None:
        named = os.environ.get("NEEDLE_DEVICE")
        _default = device(named) if named else _first_choice()
    return _default


def _first_choice() -> Device:
    ready = [p for p in registry.plugins() if p.state is State.READY and p.info is not None]
    if not ready:
        raise DeviceError(f"no device is ready; {registry.summary()}")
    return Device(max(ready, key=lambda p: p.info.priority if p.info else 0).name, 0)


@contextlib.contextmanager
def use_device(spec: Device | str) -> Iterator[Device]:
    """`with needle.use_device("cuda"):` new arrays go there."""
    token = _chosen.set(device(spec))
    try:
        yield device(spec)
    finally:
        _chosen.reset(token)

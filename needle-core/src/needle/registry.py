"""Finds installed backends by entry point, loads each in isolation, and remembers its state and why.

Nothing is imported before somebody asks for a device: discovery reads names only, and a plug-in is loaded when its
name is used or all states are listed. A plug-in that fails is a state with a reason, never an exception elsewhere.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

from needle import entries, probing, reference
from needle.backend import GROUP, Backend, ConformanceProfile, Hooks, Probe
from needle.device import Device, parse_device
from needle.errors import BackendError, DeviceError
from needle.plugin import Plugin as Plugin
from needle.plugin import State as State
from needle.plugin import checked_info, checked_probe, compatible, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN = "numpy"  # the reference backend, which needs no installation


class Registry:
    """All backends of this process. `needle.registry.registry` is the one that everything uses."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._found: dict[str, list[EntryPoint]] | None = None
        self._damaged: list[str] = []
        self._plugins: dict[str, Plugin] = {}
        self._backends: dict[Device, Backend] = {}

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

    def damaged(self) -> list[str]:
        """A line for each distribution whose entry points cannot be read."""
        with self._lock:
            self._discovered()
            return self._damaged

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
        return "; ".join([f"ready: {', '.join(ready)}", *rest, *self.damaged()])

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
        found = plugin.hooks.needle_conformance_profile() if plugin is not None and plugin.hooks else None
        return found if isinstance(found, ConformanceProfile) else ConformanceProfile({}, {})

    def _create(self, device: Device) -> Backend:
        plugin = self._plugins[device.backend]
        try:
            with probing.output_diverted():
                backend = plugin.hooks.needle_create_backend(index=device.index)
        except (Exception, SystemExit) as error:
            raise BackendError(f"{device}: the backend could not be created: {one_line(error)}") from error
        if not isinstance(backend, Backend):
            raise BackendError(f"{device}: needle_create_backend gave {type(backend).__name__}, not a Backend")
        return backend

    def _discovered(self) -> "dict[str, list[EntryPoint]]":
        if self._found is None:
            self._found = {}
            found, self._damaged = entries.find(GROUP)
            for entry in found:
                self._found.setdefault(entry.name, []).append(entry)
        return self._found

    def _load(self, name: str) -> Plugin:
        claims = self._discovered().get(name, [])
        sources = [entries.source(entry.dist) for entry in claims]
        if name in os.environ.get("NEEDLE_DISABLE", "").replace(" ", "").split(","):
            return Plugin(name, State.DISABLED, "NEEDLE_DISABLE names it", ", ".join(sources) or "built in")
        if name == BUILT_IN:
            return _admit(Plugin(name, State.READY), reference, reference.needle_probe())
        if len(claims) > 1:
            return Plugin(name, State.CONFLICT, f"{' and '.join(sources)} claim it; uninstall one", ", ".join(sources))
        return self._examined(Plugin(name, State.READY, source=sources[0]), claims[0])

    def _examined(self, plugin: Plugin, claim: "EntryPoint") -> Plugin:
        """The plug-in, imported and asked; first in a process of its own, if so wished."""
        with probing.output_diverted() as printed:
            try:
                probe = _probed_apart(plugin) if probing.isolated() else None
                if plugin.state is State.READY:
                    _admit(plugin, claim.load(), probe)
            except (Exception, SystemExit) as error:
                plugin.failed(error)
        plugin.printed += printed.getvalue()
        return plugin

    def _usurpers(self) -> list[Plugin]:
        """Those that claim the built-in's name: never loaded, for every fallback to the host needs the built-in."""
        sources = [entries.source(entry.dist) for entry in self._discovered().get(BUILT_IN, [])]
        reason = "the name belongs to needle-core, so this plug-in is left out; uninstall it"
        return [Plugin(BUILT_IN, State.CONFLICT, reason, source) for source in sources]


def _admit(plugin: Plugin, module: Any, probe: Probe | None) -> Plugin:
    """Ask the module's hooks, also what it probes unless that is known; the plug-in in the state that results."""
    plugin.hooks = _hooks(plugin.name, module)
    plugin.info = checked_info(plugin.name, plugin.hooks.needle_backend_info())
    if not compatible(plugin.info.protocol):
        return plugin.incompatible(plugin.info.protocol)
    probe = probe or checked_probe(probing.within(probing.limit(), plugin.hooks.needle_probe))
    plugin.devices, plugin.reason = tuple(probe.devices), probe.reason
    plugin.state = State.READY if probe.devices else State.NO_DEVICE
    return plugin


def _hooks(name: str, module: Any) -> Any:
    """The hooks of one plug-in, which has a manager of its own: in a common one, an object that cannot be hashed, or
    whose attributes raise, would end the calls of all others, as a hook that raises would."""
    manager = pluggy.PluginManager("needle")
    manager.add_hookspecs(Hooks)
    manager.register(module, name=name)
    return manager.hook


def _probed_apart(plugin: Plugin) -> Probe:
    """What a child process found of a plug-in; where it is not ready, its state and reason are the child's."""
    isolation = import_module("needle.isolation")  # on demand: most processes need no children
    answer = isolation.ask("probe", plugin.name)
    found, plugin.printed = answer.result, answer.printed
    plugin.state = State[found["state"]] if found else State.IMPORT_FAILED
    plugin.reason = found["reason"] if found else answer.failure
    plugin.traceback = found.get("traceback", "") if found else answer.printed
    return Probe(tuple(found.get("devices", ())), plugin.reason)


registry = Registry()
Device.opened = registry.backend
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

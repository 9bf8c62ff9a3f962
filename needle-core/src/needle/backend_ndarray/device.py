"""Devices as the course knows them: text such as "cpu:0", which every `device=` argument takes, with methods."""

from typing import Any

from needle.device import Device
from needle.registry import State, registry


class NamedDevice(str):
    """A device by name, installed or not; equal to all of the same name."""

    __slots__ = ("name", "number")
    name: str
    number: int

    def __new__(cls, name: str, index: int = 0, spoken: str = "") -> "NamedDevice":
        self = super().__new__(cls, f"{name}:{index}")
        self.name, self.number = spoken or name, index
        return self

    def enabled(self) -> bool:
        """Whether it can be used here."""
        plugin = registry.plugin(self.partition(":")[0])
        return plugin is not None and plugin.state is State.READY and self.number < len(plugin.devices)

    def __eq__(self, other: object) -> bool:
        text = str(other) if isinstance(other, Device) else other
        return isinstance(other, NamedDevice | Device) and str.__eq__(self, text) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        return f"{self.name}({self.number or ''})"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.partition(":")[0], self.number, self.name)

"""Device: one place to run, a backend's name and an index. The only module that reads text such as "cuda:1"."""

import re
from collections.abc import Callable
from typing import Any, ClassVar

from needle.errors import DeviceError

_TEXT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::(\d+))?")


class Device:
    """`Device("cuda", 1)`. Devices are interned: equal ones are the same object, so comparing costs nothing."""

    __slots__ = ("backend", "index")
    _interned: ClassVar[dict[tuple[str, int], "Device"]] = {}
    opened: ClassVar[Callable[["Device"], Any]]  # the backend of a device; given by the registry, which stands above

    backend: str
    index: int

    def __new__(cls, backend: str, index: int = 0) -> "Device":
        found = cls._interned.get((backend, index))
        if found is None:
            if index < 0:
                raise DeviceError(f"device: negative index {index} for {backend}")
            found = super().__new__(cls)
            object.__setattr__(found, "backend", backend)
            object.__setattr__(found, "index", index)
            found = cls._interned.setdefault((backend, index), found)
        return found

    def synchronize(self) -> None:
        """Wait for all work on the device; raises what went wrong before."""
        Device.opened(self).synchronize()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Device is immutable: cannot set {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Device, (self.backend, self.index)

    def __repr__(self) -> str:
        return f"{self.backend}({self.index})" if self.index else f"{self.backend}()"

    def __str__(self) -> str:
        return f"{self.backend}:{self.index}"


def parse_device(text: str) -> Device:
    """Read "cuda" or "cuda:1"."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise DeviceError(f"device: cannot read {text!r}; write a name and perhaps an index, as in 'cuda:1'")
    return Device(match[1], int(match[2] or 0))

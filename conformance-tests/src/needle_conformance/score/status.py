"""What became of a row, and the record that is kept of it."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """The first five passed; a device's share of native rows counts the first alone."""

    NATIVE = "NATIVE"  # right, by the backend's own functions
    COMPOSED = "COMPOSED"  # right, made of other functions of the device
    HOST = "HOST"  # right, but computed by the reference, on copies
    VIEW = "VIEW"  # right, and nothing to compute: the same memory with another layout
    PASS = "PASS"  # right, in a stage that is not about ops
    XFAIL = "XFAIL"  # wrong, as the backend's profile says
    FAIL = "FAIL"
    XPASS = "XPASS"  # right, though the backend's profile says that it is wrong: a failure
    CRASH = "CRASH"  # the process died
    TIMEOUT = "TIMEOUT"  # the process did not answer and was killed
    BLOCKED = "BLOCKED"  # not run, because of what happened before


RIGHT = frozenset({Status.NATIVE, Status.COMPOSED, Status.HOST, Status.VIEW, Status.PASS})
WRONG = frozenset({Status.FAIL, Status.XPASS, Status.CRASH, Status.TIMEOUT})
TOLERATED = RIGHT | {Status.XFAIL}  # a score in which all rows are among these has no failure

# From best to worst: a change to the right is for the worse.
ORDER = tuple(Status)


@dataclass
class Outcome:
    """One row: which it is, what became of it, and why."""

    id: str  # as in `kernels/kernel/exp[float32-permuted]`
    stage: str
    op: str  # the primitive, or primitive and kind, or function; "" in stages that are not about ops
    dtype: str
    layout: str
    status: Status = Status.BLOCKED
    reason: str = ""  # of a fallback, of a failure in a line, or why it was blocked
    message: str = ""  # of a failure, whole
    script: str = ""  # that makes the failure again
    seconds: float = 0.0  # of one call on the device, all of a row's calls together; 0 if not measured
    reference_seconds: float = 0.0  # of the same calls on the reference
    bytes: int = 0  # that the device's functions read and wrote
    moved: int = 0  # that fallbacks copied from and to the device

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without what is empty."""
        return {key: value for key, value in asdict(self).items() if value}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Outcome":
        """TypeError or ValueError where these are not the fields of a record."""
        known = {"op": "", "dtype": "", "layout": "", **fields}
        found = cls(**{**known, "status": Status(known["status"])})
        for name, value in vars(found).items():
            if not isinstance(value, _TYPES[name]):
                raise TypeError(f"{name} is {value!r}")
        return found


_TYPES: dict[str, Any] = {"status": Status, "seconds": int | float, "reference_seconds": int | float, "bytes": int,
                          "moved": int, **dict.fromkeys(("id", "stage", "op", "dtype", "layout", "reason", "message",
                                                         "script"), str)}  # fmt: skip

"""Runs random programs on a device until time is up, in a process of its own.

    python -m needle_conformance.fuzz.rounds DEVICE SECONDS SEED COMPILED DESCRIPTOR

Before each program it tells the program, so that what kills the process is known.
"""

import json
import os
import sys
import time
import warnings
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded

from needle.device import Device
from needle.errors import DeviceError
from needle.fallback import set_fallback
from needle.registry import device as as_device
from needle_conformance.ending import raised_at
from needle_conformance.fuzz.program import Program
from needle_conformance.fuzz.strategies import programs

_ROUND = 100  # programs; hypothesis keeps in mind what it has drawn in a round
_SHRINKING = 6.0  # seconds for making a failure smaller
_SETTINGS = settings(max_examples=_ROUND, deadline=None, database=None, report_multiple_bugs=False,
                     suppress_health_check=list(HealthCheck))  # fmt: skip


class Rounds:
    """What was run, and the smallest failure."""

    def __init__(self, device: Device, seconds: float, compiled: bool, descriptor: int) -> None:
        self.device, self.compiled, self.descriptor = device, compiled, descriptor
        self.end = time.monotonic() + seconds
        self.count = 0
        self.failure = self.script = ""
        self.size = (0, 0)

    def try_one(self, program: Program) -> None:
        if time.monotonic() > self.end:
            return
        script = program.script(str(self.device), self.compiled)
        tell(self.descriptor, start=script)
        self.count += not self.failure
        try:
            program.check(self.device, self.compiled)
        except Exception as error:
            if not self.failure:
                self.end = time.monotonic() + _SHRINKING
            if not self.failure or program.size < self.size:
                place, code = raised_at(error, self.device)
                at = f"\nat {place}: {code}" if place else ""
                self.failure, self.script = f"{type(error).__name__}: {error}{at}", script
                self.size = program.size
            raise

    def run(self, first_seed: int) -> None:
        """Rounds until one fails, or time is up."""
        seed = first_seed
        while time.monotonic() < self.end and not self.failure:
            once = seeded(seed)(_SETTINGS(given(programs())(self.try_one)))
            try:
                once()
            except Exception:  # also hypothesis's own, when the time for shrinking was up
                if not self.failure:
                    raise
            seed += 1
        tell(self.descriptor, count=self.count, seed=seed - 1, failure=self.failure, script=self.script)


def tell(descriptor: int, **message: Any) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")


def main() -> None:
    device, seconds, seed, compiled, descriptor = sys.argv[1:]
    warnings.simplefilter("ignore")
    try:
        opened = as_device(device)
    except DeviceError as error:
        tell(int(descriptor), no_device=str(error))
        os._exit(0)
    with set_fallback("silent"):
        Rounds(opened, float(seconds), compiled == "1", int(descriptor)).run(int(seed))
    os._exit(0)


if __name__ == "__main__":
    main()

"""Starts the process that runs random programs, and tells what it found, or what killed it."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from needle.errors import DeviceError
from needle_conformance.ending import last_words

_SECONDS = 60.0  # that one program may take


@dataclass
class Found:
    """What came of it: how many programs ran, and the first that is wrong."""

    count: int = 0
    seed: int = 0  # of the last round
    failure: str = ""
    script: str = ""


def fuzz(device: str, minutes: float, seed: int = 0, compiled: bool = False, limit: float = _SECONDS) -> Found:
    """Random programs on a device for so long, or until one is wrong; it is then made smaller, which takes more.

    DeviceError where there is no such device, or none is ready.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory() as home:  # where hypothesis keeps its notes
        process = subprocess.Popen(
            [sys.executable, "-m", "needle_conformance.fuzz.rounds", device, str(60 * minutes), str(seed),
             str(int(compiled)), str(writer)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, pass_fds=[writer],
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": home},
        )  # fmt: skip
        os.close(writer)
        try:
            found = _listen(reader, limit)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            os.close(reader)
        if found.failure == _ENDED:
            found.failure = f"{_ENDED}: {last_words(errors)}"
    return found


_ENDED = "the process ended"


def _listen(reader: int, limit: float) -> Found:
    """Until it is done, ends, or says nothing for too long: the last program that it began is then the one."""
    found, unread = Found(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while selector.select(limit):
            part = os.read(reader, 1 << 16)
            *lines, unread = (unread + part).split(b"\n")
            for message in map(json.loads, lines):
                if "no_device" in message:
                    raise DeviceError(message["no_device"])
                if "start" not in message:
                    return Found(**message)
                found.count, found.script = found.count + 1, message["start"]
            if not part:
                found.failure = _ENDED
                return found
    found.failure = f"no answer for {limit:g} s"
    return found

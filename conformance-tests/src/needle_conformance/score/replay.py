"""Scripts of rows that killed their process or hung: a process of its own runs the row again, call by call.

What it told before it died is the call that did it. Smaller calls are then tried in the same way, a process for each
that dies too.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from needle_conformance.ending import ended
from needle_conformance.score.rows import row_script

_OPENING = 30.0  # seconds until the device is open and the row found
_SILENT = 10.0  # seconds, at most, after which a call hangs
_SHRINKING = 10.0  # seconds for making one call smaller


@dataclass(frozen=True)
class Replay:
    """A row of a device, to be run again; a call may take so many seconds."""

    device: str
    row_id: str
    seconds: float

    def script(self, seen: str, shrink: bool) -> str:
        """Python that runs the call that ended the process, or the row if no call does, and what was seen of it."""
        last, code = self._again()
        if last is None or code == 0:
            alone = "the row alone did not end its process; what ran before it may matter" if last else "not run again"
            return f"# seen: {seen}\n# {alone}\n{row_script(self.device, self.row_id)}"
        script = last["script"]
        if shrink and code is not None and last["at"] is not None:
            script = self._smallest(last, code)
        return f"# seen: {seen}\n# the row alone: {ended(code, self._silent)}\n{script}"

    def _smallest(self, last: dict[str, Any], code: int) -> str:
        """The script of the smallest call that ends the process in the same way, as far as time allows."""
        end, path, script = time.monotonic() + _SHRINKING, [last["at"]], last["script"]
        while time.monotonic() < end:
            smaller, smaller_code = self._again(*path)
            if smaller is None or smaller_code != code:
                break
            path, script = [*path, smaller["at"]], smaller["script"]
        return str(script)

    @property
    def _silent(self) -> float:
        return min(self.seconds, _SILENT)

    def _again(self, *path: int) -> tuple[dict[str, Any] | None, int | None]:
        """The last call that a new process told, and its exit status; None if it hung."""
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "needle_conformance.score.replayed", self.device, self.row_id,
                 str(told.fileno()), *map(str, path)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[told.fileno()], start_new_session=True,
            )  # fmt: skip
            try:
                code = self._wait(process, told.fileno())
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            told.seek(0)
            lines = told.read().splitlines()
        return (json.loads(lines[-1]) if lines else None), code

    def _wait(self, process: "subprocess.Popen[bytes]", descriptor: int) -> int | None:
        """Its exit status, or None once it has told nothing new for too long."""
        size, since = 0, time.monotonic()
        while (code := process.poll()) is None:
            now = os.fstat(descriptor).st_size
            if now != size:
                size, since = now, time.monotonic()
            if time.monotonic() - since > (self._silent if size else _OPENING):
                return None
            time.sleep(0.02)
        return code

"""Asks a plug-in in a process of its own: what crashes, hangs or prints there is an answer as well.

The child is `needle.isolated`. It gets what to do as JSON on its standard input and answers in JSON on its standard
output, to which nothing else in it can write.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from needle.probing import late, limit

_START = 60.0  # seconds for the child to start and end, on a machine with much to do
_CHILD = """
import json, sys
task = json.load(sys.stdin)
sys.path[:] = task["path"]
from needle import isolated
isolated.main(task)
"""


@dataclass
class Answer:
    """What a child said, or why it said nothing."""

    result: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    printed: str = ""  # all that it wrote otherwise: prints, warnings, and a traceback if it crashed


def ask(task: str, name: str, index: int = 0) -> Answer:
    """The answer of a child to one question about one plug-in."""
    seconds = limit()
    question = {"task": task, "name": name, "index": index, "path": sys.path, "seconds": seconds}
    environment = {k: v for k, v in os.environ.items() if k not in ("NEEDLE_PROBE", "NEEDLE_PROBE_SECONDS")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(question),
            env={**environment, "NEEDLE_PROBE_SECONDS": "86400"},  # the child is stopped by its own clock
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds + _START,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(failure=late(seconds))
    except OSError as error:
        return Answer(failure=f"no process to ask it in: {error}")
    return _read(done, seconds)


def _read(done: "subprocess.CompletedProcess[str]", seconds: float) -> Answer:
    try:
        return Answer(result=json.loads(done.stdout), printed=done.stderr)
    except ValueError:
        if done.returncode < 0:
            return Answer(failure=f"it crashed with {_signal(-done.returncode)}", printed=done.stderr)
        if "Timeout (" in done.stderr:  # what the child's clock writes when it strikes
            return Answer(failure=late(seconds), printed=done.stderr)
        return Answer(failure=f"it ended its process with status {done.returncode}", printed=done.stderr)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""Runs the suite in a process of its own, on backends that a test makes."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import backends
import pytest


@dataclass
class Run:
    """What a run of the suite gave."""

    code: int
    text: str

    @property
    def counts(self) -> Counter[str]:
        """The outcomes of the last line: `3 failed, 20 passed, 7 blocked`."""
        last = self.text.strip().splitlines()[-1]
        return Counter({name: int(n) for n, name in re.findall(r"(\d+) (\w+)", last)})

    @property
    def failed(self) -> set[str]:
        """The stages that failed."""
        return set(re.findall(r"^FAILED \S*test_(\w+)\.py::", self.text, re.MULTILINE))


@pytest.fixture
def conform(tmp_path: Path) -> Callable[..., Run]:
    """conform(source, arguments) installs a backend "made" and runs the suite on it, or on what is named."""

    def run(source: str | None, *arguments: str, device: str = "made", **profile: object) -> Run:
        if source is not None:
            backends.install(tmp_path, "made", source, **profile)
        path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
        command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=short", "-p", "no:cacheprovider",
                   "-p", "needle_conformance.plugin", f"--rootdir={tmp_path}", "--pyargs", "needle_conformance"]  # fmt: skip
        command += ["--device", device] if device else []
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
            text=True, timeout=600, check=False,
        )  # fmt: skip
        return Run(done.returncode, done.stdout + done.stderr)

    return run

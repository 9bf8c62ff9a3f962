"""The course's layers, optimizers, data and programs: their tests, run under the course's face in both of its modes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from needle import course

HERE = Path(__file__).parent


@pytest.mark.skipif(course.ENABLED, reason="this is one of those processes")
@pytest.mark.parametrize("backend", ["np", "nd"])
def test_course(backend: str) -> None:
    environment = {**os.environ, "NEEDLE_COURSE": "1", "NEEDLE_BACKEND": backend}
    command = [sys.executable, "-m", "pytest", "-q", str(HERE / "course"), str(HERE / "test_notebook.py")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]

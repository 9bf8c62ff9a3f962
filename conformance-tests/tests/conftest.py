"""Makes the devices of these tests known, in this process and in those that it starts."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import installed
import pytest

from needle_conformance.score.card import Card
from needle_conformance.score.pool import Task
from needle_conformance.score.runner import score

_FOLDER = tempfile.TemporaryDirectory()
installed.install(Path(_FOLDER.name))
os.environ["PYTHONPATH"] = os.pathsep.join([_FOLDER.name, str(Path(__file__).parent), *filter(None, sys.path)])

Here = Callable[..., Card]


@pytest.fixture
def here() -> Here:
    """here(device, *only) scores a device of these tests, in this process."""

    def run(
        device: str, *only: str, keep_going: bool = False, quick: bool = False, stages: tuple[str, ...] = ()
    ) -> Card:
        return score(Task(device, only, stages, quick), 0, keep_going)

    return run

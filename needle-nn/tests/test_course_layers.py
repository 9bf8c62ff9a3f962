"""Layers and optimizers come out the same under NEEDLE_COURSE=1, in both of its modes, as in Needle's own face."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("course_layers.py")
FACES = {"needle": {}, "nd": {"NEEDLE_COURSE": "1"}, "np": {"NEEDLE_COURSE": "1", "NEEDLE_BACKEND": "np"}}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, found = tmp_path_factory.mktemp("faces"), {}
    for face, variables in FACES.items():
        target = folder / f"{face}.npz"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NEEDLE_")}
        command = [sys.executable, "-W", "error", str(SCRIPT), str(target)]
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found[face] = dict(np.load(target))
    return found


@pytest.mark.parametrize("face", ["nd", "np"])
def test_the_faces_agree(face: str, results: dict[str, Any]) -> None:
    assert list(results[face]) == list(results["needle"])
    for name, value in results["needle"].items():
        np.testing.assert_allclose(results[face][name], value, rtol=1e-3, atol=1e-4, err_msg=name)

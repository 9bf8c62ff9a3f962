"""The recipe for handwritten digits, from the command line, ends at the losses that the CPU gets."""

import json
import os
import subprocess
import sys

import numpy as np

import needle as ndl


def losses(device, folder, epochs):
    command = ["train", "digits", "--device", device, "--epochs", str(epochs), "--out", str(folder)]
    env = {**os.environ, "METALSIM_NOCHECK": "1"}
    subprocess.run([sys.executable, "-m", "needle", *command], check=True, env=env, capture_output=True)
    history = json.loads((folder / "history.json").read_text())
    return [(epoch["loss"], epoch["test_loss"]) for epoch in history["epochs"]]


def test_training_on_digits_reaches_the_losses_of_the_cpu(device, tmp_path):
    host = "cpu" if any(d.backend == "cpu" for d in ndl.devices()) else "numpy"
    found, expected = (losses(name, tmp_path / name, epochs=2) for name in (device.backend, host))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[-1][1] < 0.2

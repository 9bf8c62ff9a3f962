"""The digits, by products of MPS and by convolutions: the losses are the CPU's."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim


def losses(device, model, images, labels, steps=6):
    """The losses of a few steps of Adam from the same initial values on every device."""
    np.random.seed(0)
    net = model().to(device)
    step = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.SoftmaxLoss()
    x, y = ndl.Tensor(images, device=device), ndl.Tensor(labels, device=device)
    found = []
    for _ in range(steps):
        step.reset_grad()
        loss = criterion(net(x), y)
        loss.backward()
        step.step()
        found.append(loss.item())
    return found


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def convolutional():
    return nn.Sequential(
        nn.Conv(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv(4, 8, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip


@pytest.mark.parametrize("model", [mlp, convolutional])
def test_the_losses_are_those_of_numpy(device, model):
    random = np.random.default_rng(0)
    images = random.standard_normal((16, 1, 8, 8), dtype=np.float32)
    labels = random.integers(0, 10, 16).astype(np.int32)
    found, expected = (losses(place, model, images, labels) for place in (device, ndl.device("numpy")))
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    assert found[-1] < found[0]


def test_the_recipe_for_digits_has_the_losses_of_numpy(device, tmp_path):
    histories = []
    for name in ("mps", "numpy"):
        folder = tmp_path / name
        command = [sys.executable, "-m", "needle", "train", "digits", "--epochs", "1", "--device", name, "--out"]
        subprocess.run([*command, str(folder)], check=True, env={**os.environ, "METALSIM_NOCHECK": "1"})
        histories.append(json.loads((folder / "history.json").read_text()))
    found, expected = ([step["loss"] for step in history["epochs"]] for history in histories)
    assert found
    np.testing.assert_allclose(found, expected, rtol=1e-5)

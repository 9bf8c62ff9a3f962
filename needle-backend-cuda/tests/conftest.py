"""Tests that need a GPU take the `gpu` fixture; where there is none they are skipped with the plug-in's reason."""

from typing import Any

import pytest

import needle as ndl
from needle.dispatch import dispatcher
from needle.registry import State, registry


def device_or_reason() -> tuple[ndl.Device | None, str]:
    plugin = registry.plugin("cuda")
    if plugin is None:
        return None, "needle-backend-cuda is not installed"
    return (ndl.device("cuda"), "") if plugin.state is State.READY else (None, str(plugin))


@pytest.fixture
def gpu() -> ndl.Device:
    """The first GPU."""
    device, reason = device_or_reason()
    if device is None:
        pytest.skip(reason)
    return device


@pytest.fixture
def backend(gpu: ndl.Device) -> Any:
    return dispatcher(gpu).backend


@pytest.fixture
def second(gpu: ndl.Device) -> ndl.Device:
    """Another GPU."""
    if len([d for d in registry.devices() if d.backend == "cuda"]) < 2:
        pytest.skip("there is one GPU")
    return ndl.device("cuda:1")

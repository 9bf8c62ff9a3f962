"""The child of `isolation`: loads one plug-in, or opens one device, and tells what it found."""

import faulthandler
import json
import os
from dataclasses import asdict
from typing import Any

from needle.device import Device
from needle.doctor import checkup
from needle.registry import registry


def main(task: dict[str, Any]) -> None:
    """Answer on what was the standard output; all else that is written there goes to the standard error."""
    channel = os.dup(1)
    os.dup2(2, 1)
    faulthandler.enable()  # a crash tells where
    faulthandler.dump_traceback_later(task["seconds"], exit=True)  # and so does a hang, even with the lock held
    answer = _plugin(task["name"]) if task["task"] == "probe" else _device(Device(task["name"], task["index"]))
    faulthandler.cancel_dump_traceback_later()
    with os.fdopen(channel, "w") as out:
        json.dump(answer, out)


def _plugin(name: str) -> dict[str, Any]:
    plugin = registry.plugin(name)
    if plugin is None:
        return {"state": "IMPORT_FAILED", "reason": "it is not installed where the child looks"}
    return {
        "state": plugin.state.name,
        "reason": plugin.reason,
        "devices": plugin.devices,
        "traceback": plugin.traceback,
    }


def _device(device: Device) -> dict[str, Any]:
    return asdict(checkup(device))

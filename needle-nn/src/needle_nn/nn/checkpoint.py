"""Checkpoints: model, optimizer and random state in one safetensors file, replaced whole or not at all.

Tensors are named "model.<name>" and "optimizer.<slot>.<number>"; all else is JSON in the file's metadata, under the
key "needle". bfloat16 is stored as float32, which holds it exactly and which everybody reads.
"""

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray as NumpyArray

import needle
from needle import Tensor
from needle.errors import DataError, ShapeError
from needle.plugin import one_line
from needle_nn.files import write_atomically
from needle_nn.nn.module import Module

_KEY = "needle"


class Stateful(Protocol):
    """What is saved beside a model: an optimizer, for example."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def save(
    path: str | PathLike[str], model: Module, optimizer: Stateful | None = None, schedule: Stateful | None = None,
    **facts: Any,
) -> None:  # fmt: skip
    """Write all that is needed to go on, and `facts`, which are anything that JSON holds.

    A kill at any moment leaves the file as it was before or as it is after.
    """
    state = optimizer.state_dict() if optimizer is not None else {}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"optimizer.{name}": value for name, value in state.items() if isinstance(value, Tensor)}
    header = {
        "optimizer": {name: value for name, value in state.items() if not isinstance(value, Tensor)},
        "schedule": None if schedule is None else schedule.state_dict(),
        "random": random_state(),
        "facts": facts,
    }
    arrays = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}
    write_atomically(path, safetensors.numpy.save(arrays, {_KEY: json.dumps(header)}))


def load(
    path: str | PathLike[str], model: Module, optimizer: Stateful | None = None, schedule: Stateful | None = None,
    *, random: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Fill the model, the optimizer and the schedule from a file of `save` and return its facts.

    With `random`, the random generators go on from where they were as well. What does not fit changes nothing.
    """
    arrays, header = _read(path)
    parameters = _under("model.", arrays)
    try:
        model.check_state(parameters)
        if schedule is not None and header["schedule"] is None:
            raise DataError("the checkpoint has no schedule")
        if optimizer is not None:
            optimizer.load_state_dict({**header["optimizer"], **_under("optimizer.", arrays)})
        if schedule is not None:
            schedule.load_state_dict(header["schedule"])
        model.load_state_dict(parameters)
    except (DataError, ShapeError) as error:
        raise type(error)(f"{path}: {error}") from None
    if random:
        set_random_state(header["random"])
    return dict(header["facts"])


def facts(path: str | PathLike[str]) -> dict[str, Any]:
    """The facts in a file of `save`; no tensor is read."""
    return dict(_header(path, _open(path))["facts"])


def random_state() -> dict[str, Any]:
    """The states of Needle's default generator and of NumPy's global one, as JSON holds them."""
    name, keys, *rest = np.random.get_state()
    return {"needle": needle.random.default_generator().get_state(), "numpy": [name, np.asarray(keys).tolist(), *rest]}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on from what `random_state` gave."""
    needle.random.default_generator().set_state(state["needle"])
    np.random.set_state(tuple(state["numpy"]))


def _read(path: str | PathLike[str]) -> tuple[dict[str, NumpyArray[Any]], dict[str, Any]]:
    file = _open(path)
    return {name: file.get_tensor(name) for name in file.keys()}, _header(path, file)  # noqa: SIM118


def _open(path: str | PathLike[str]) -> Any:
    try:
        return safetensors.safe_open(path, framework="np")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}; check the path") from error
    except safetensors.SafetensorError as error:
        reason = f"truncated, or not a safetensors file ({error})"
        raise DataError(f"{path}: {reason}; take an earlier checkpoint") from error


def _header(path: str | PathLike[str], file: Any) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if _KEY not in metadata:
        raise DataError(f"{path}: a safetensors file, but no checkpoint of Needle's; use load_state_dict")
    try:
        header: dict[str, Any] = json.loads(metadata[_KEY])
        missing = sorted({"optimizer", "schedule", "random", "facts"} - header.keys())
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({one_line(error)}); take an earlier checkpoint") from error
    if missing:
        raise DataError(f"{path}: damaged (no {missing[0]!r}); take an earlier checkpoint")
    return header


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

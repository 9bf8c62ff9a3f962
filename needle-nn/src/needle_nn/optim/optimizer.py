"""Optimizer: walks parameters and keeps state, so that a rule is one method over lists of arrays."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import needle
from needle import NDArray, Tensor, ndarray
from needle.device import Device
from needle.dtype import DType
from needle.errors import DataError, ShapeError

Arrays: TypeAlias = list[NDArray]


class Optimizer:
    """Base of all optimizers. A subclass writes `update` and names what it keeps.

    `slots` are arrays beside each parameter, of its shape and zero before its first step; `settings` are the
    attributes that belong to the state.
    """

    slots: tuple[str, ...] = ()
    settings: tuple[str, ...] = ("lr",)
    lr: float

    def __init__(self, params: Iterable[Tensor]) -> None:
        self.params = list(params)
        self.steps = 0
        self.state: list[dict[str, NDArray]] = [{} for _ in self.params]
        if not self.params:
            raise DataError(f"{type(self).__name__}: there are no parameters; pass model.parameters()")

    def update(self, device: Device, params: Arrays, grads: Arrays, *slots: Arrays) -> None:
        """Update in place: all arrays are on `device` and of one dtype, and entry i of each list belongs together."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.steps += 1
        for (device, _), columns in self._groups().items():
            self.update(device, *columns)

    def reset_grad(self) -> None:
        """Forget all gradients."""
        for param in self.params:
            param.grad = None

    zero_grad = reset_grad

    def clip_grad_norm(self, max_norm: float = 0.25) -> Tensor:
        """Scale all gradients together so that their norm is at most `max_norm`; returns what it was."""
        grads = [(param, param.grad.detach()) for param in self.params if param.grad is not None]
        norm = needle.stack([(grad * grad).sum() for _, grad in grads], 0).sum() ** 0.5
        scale = needle.minimum(max_norm / (norm + 1e-6), 1.0)
        for param, grad in grads:
            param.grad = grad * scale
        return norm

    def _groups(self) -> dict[tuple[Device, DType], list[Arrays]]:
        """Parameters, gradients and slots as columns, by device and dtype."""
        groups: dict[tuple[Device, DType], list[Arrays]] = {}
        for param, state in zip(self.params, self.state, strict=True):
            if param.grad is not None:
                p = param.array = param.array.contiguous()  # kernels update in place
                columns = groups.setdefault((p.device, p.dtype), [[] for _ in range(2 + len(self.slots))])
                columns[0].append(p)
                columns[1].append(_gradient(param.grad, p))
                for slot, column in zip(self.slots, columns[2:], strict=True):
                    column.append(_slot(state, slot, p))
        return groups

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Kind, number of steps and settings, and each slot as a Tensor under "slot.number of the parameter"."""
        arrays = {f"{slot}.{i}": Tensor(array) for i, s in enumerate(self.state) for slot, array in s.items()}
        settings = {name: getattr(self, name) for name in self.settings}
        return {"kind": type(self).__name__, "steps": self.steps, **settings, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state of the same kind of optimizer, over parameters of the same shapes."""
        kind = type(self).__name__
        if state.get("kind") != kind:
            raise DataError(f"{kind}: the state is of {state.get('kind', 'no optimizer')}")
        if missing := [name for name in ("steps", *self.settings) if name not in state]:
            raise DataError(f"{kind}: the state lacks {', '.join(missing)}")
        loaded: list[dict[str, NDArray]] = [{} for _ in self.params]
        for name in state.keys() - {"kind", "steps", *self.settings}:
            slot, index = self._place(name)
            loaded[index][slot] = self._fitting(name, index, state[name])
        self.state, self.steps = loaded, state["steps"]
        for name in self.settings:
            setattr(self, name, state[name])

    def _place(self, name: str) -> tuple[str, int]:
        """The slot and the parameter of an entry of the state."""
        slot, _, number = name.rpartition(".")
        if not number.isdecimal() or int(number) >= len(self.params):
            kind, n = type(self).__name__, len(self.params)
            raise DataError(f"{kind}: the state has an entry {name}, but there are {n} parameters")
        return slot, int(number)

    def _fitting(self, name: str, index: int, value: Any) -> NDArray:
        """A copy of a slot's value, beside its parameter."""
        param, shape = self.params[index], tuple(value.shape)
        if shape != param.shape:
            raise ShapeError(f"{type(self).__name__}: {name} is {shape}, but the parameter is {param.shape}")
        values = value.numpy() if isinstance(value, Tensor) else value
        return ndarray.from_numpy(values, device=param.device, dtype=param.dtype)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)
        return f"{type(self).__name__}({len(self.params)} parameters, {settings})"


def _gradient(grad: Tensor, p: NDArray) -> NDArray:
    """The gradient as the kernels take it: beside the parameter, of its dtype, contiguous."""
    g = grad.array
    if g.dtype is not p.dtype or g.device is not p.device:
        g = g.to(device=p.device, dtype=p.dtype)
    return g if g.layout.contiguous else g.contiguous()


def _slot(state: dict[str, NDArray], slot: str, p: NDArray) -> NDArray:
    """The slot beside a parameter: zeros at first, and moved if the parameter was."""
    array = state.get(slot)
    if array is None:
        array = state[slot] = ndarray.full(p.shape, 0.0, p.dtype, p.device)
    elif array.device is not p.device or array.dtype is not p.dtype:
        array = state[slot] = array.to(device=p.device, dtype=p.dtype)
    return array

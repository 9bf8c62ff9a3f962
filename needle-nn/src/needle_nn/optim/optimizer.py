"""Optimizer: walks groups of parameters and keeps state, so that a rule is one formula over arrays."""

from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias

from needle import NDArray, Tensor, ndarray, tracing
from needle.composed import widened
from needle.device import Device
from needle.dtype import DType
from needle.errors import ArgumentError, DataError, GraphError, ShapeError
from needle_nn.optim.clip import clip_grad_norm, clip_grad_value

Arrays: TypeAlias = list[NDArray]
Params: TypeAlias = Iterable[Tensor] | Iterable[Mapping[str, Any]]


class State(SimpleNamespace):
    """What an optimizer keeps beside one parameter: an array for each of its slots."""


class Group(dict[str, Any]):
    """Some parameters, under "params", and the options that they share: `group.lr` is `group["lr"]`."""

    def __getattr__(self, name: str) -> float:
        if name not in self:
            raise AttributeError(f"no option {name!r}; there are {', '.join(self)}")
        value = self[name]
        if tracing.active is not None:
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = tracing.active.number(lambda: self[name])
            else:
                tracing.active.expecting(f"{name} was {value}", lambda: self[name])
        option: float = value
        return option


class Option:
    """An attribute of an optimizer that its groups hold: reading asks the first group, assigning tells all."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: "Optimizer | None", owner: type) -> Any:
        return self if optimizer is None else optimizer.param_groups[0][self.name]

    def __set__(self, optimizer: "Optimizer", value: Any) -> None:
        if tracing.active is not None:
            raise GraphError(f"compile: {self.name} is set inside; a replay would not do it: set it between the calls")
        for group in optimizer.param_groups:
            group[self.name] = value


class Optimizer:
    """Base of all optimizers. A subclass names its `slots` and writes `update`, or `advance` where a kernel does all.

    `slots` are arrays beside each parameter, of its shape and zero before its first step. Options are given by name to
    the base and belong to groups: `params` are Tensors, or dicts such as {"params": [...], "lr": 0.1}.
    """

    slots: tuple[str, ...] = ()
    lr = Option()

    def __init__(self, params: Params, **options: Any) -> None:
        kind = type(self).__name__
        if tracing.active is not None:
            tracing.active.once(f"it makes the optimizer {kind}")
        self.options = options
        self.param_groups: list[Group] = []
        self.params: list[Tensor] = []
        self.state: list[dict[str, NDArray]] = []
        self.steps = 0
        given = _listed(kind, params)
        if not given:
            raise DataError(f"{kind}: there are no parameters; pass model.parameters()")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """More parameters; options that the group does not name are the optimizer's first ones."""
        kind, params = type(self).__name__, _parameters(type(self).__name__, group)
        if unknown := group.keys() - self.options.keys() - {"params"}:
            raise ArgumentError(f"{kind}: no option {min(unknown)!r}; there are {', '.join(self.options)}")
        if len({id(p) for p in self.params + params}) < len(self.params) + len(params):
            raise ArgumentError(f"{kind}: a parameter is given twice")
        options = {**self.options, **group}
        _check_options(kind, options)
        self.param_groups.append(Group({**options, "params": params}))
        self.params += params
        self.state += [{} for _ in params]

    def update(self, p: NDArray, g: NDArray, state: State, group: Group) -> NDArray:
        """The parameter after a step; `state` is given new arrays."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def advance(self, group: Group, device: Device, params: Arrays, grads: Arrays, *slots: Arrays) -> None:
        """Update in place: all is on `device` and of one dtype, and entry i of each list belongs together."""
        names = self._slots(group)
        for p, g, *kept in zip(params, grads, *slots, strict=True):
            state = State(**{name: widened(array) for name, array in zip(names, kept, strict=True)})
            p.assign(self.update(widened(p), widened(g), state, group))
            for name, array in zip(names, kept, strict=True):
                array.assign(getattr(state, name))

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self._count()
        if tracing.active is not None:
            tracing.active.repeating(self._count)
            tracing.active.expecting(f"an optimizer had {len(self.params)} parameters", lambda: len(self.params))
            state = self.state
            tracing.active.expecting("an optimizer's state was what it had", lambda: self.state is state)
        states = iter(self.state)
        for group in self.param_groups:
            for (device, _), columns in self._columns(group, states).items():
                self.advance(group, device, *columns)

    def _count(self) -> None:
        self.steps += 1

    def step_number(self) -> int:
        """The number of the step under way, from 1; in a captured function, one that is read anew."""
        if tracing.active is None:
            return self.steps
        number: int = tracing.active.number(lambda: self.steps)
        return number

    def reset_grad(self) -> None:
        """Forget all gradients."""
        for param in self.params:
            if tracing.active is not None:
                tracing.active.forgetting(param)
            param.grad = None

    zero_grad = reset_grad

    def clip_grad_norm(self, max_norm: float = 0.25) -> Tensor:
        """Scale all gradients together so that their norm is at most `max_norm`; returns what it was."""
        return clip_grad_norm(self.params, max_norm)

    def clip_grad_value(self, limit: float) -> None:
        """Each element of the gradients, but at least -limit and at most limit."""
        clip_grad_value(self.params, limit)

    def _slots(self, group: Group) -> tuple[str, ...]:
        """The slots that a group needs."""
        return self.slots

    def _columns(self, group: Group, states: Iterator[dict[str, NDArray]]) -> dict[tuple[Device, DType], list[Arrays]]:
        """Parameters, gradients and slots as columns, by device and dtype."""
        slots = self._slots(group)
        found: dict[tuple[Device, DType], list[Arrays]] = {}
        for param in group["params"]:
            state, grad = next(states), param.grad
            if grad is None:
                continue
            p = param.writable()  # kernels update in place
            columns = found.get((p.device, p.dtype))
            if columns is None:
                columns = found[p.device, p.dtype] = [[] for _ in range(2 + len(slots))]
            columns[0].append(p)
            columns[1].append(_gradient(grad, p))
            for i, slot in enumerate(slots, 2):
                columns[i].append(_slot(state, slot, p))
        return found

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Kind, number of steps, options by group, and each slot as a Tensor under "slot.number of the parameter"."""
        arrays = {f"{slot}.{i}": Tensor(array) for i, s in enumerate(self.state) for slot, array in s.items()}
        groups = [{**group, "params": len(group["params"])} for group in self.param_groups]
        return {"kind": type(self).__name__, "steps": self.steps, "groups": groups, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state of the same kind of optimizer, over parameters of the same shapes."""
        kind = type(self).__name__
        if state.get("kind") != kind:
            raise DataError(f"{kind}: the state is of {state.get('kind', 'no optimizer')}")
        if missing := [name for name in ("steps", "groups") if name not in state]:
            raise DataError(f"{kind}: the state lacks {', '.join(missing)}")
        self._check_groups(state["groups"])
        loaded: list[dict[str, NDArray]] = [{} for _ in self.params]
        for name in state.keys() - {"kind", "steps", "groups"}:
            slot, index = self._place(name)
            loaded[index][slot] = self._fitting(name, index, state[name])
        self.state, self.steps = loaded, state["steps"]
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            group.update({**saved, "params": group["params"]})

    def _check_groups(self, saved: list[Mapping[str, Any]]) -> None:
        """Raise DataError where the saved groups are not like this optimizer's."""
        kind = type(self).__name__
        own, found = [len(g["params"]) for g in self.param_groups], [g["params"] for g in saved]
        if own != found:
            raise DataError(f"{kind}: the state has groups of {found} parameters, the optimizer of {own}")
        if missing := [name for name in self.options if any(name not in group for group in saved)]:
            raise DataError(f"{kind}: the state lacks {', '.join(missing)}")

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
        options = ", ".join(f"{name}={self.param_groups[0][name]!r}" for name in self.options)
        groups = f" in {len(self.param_groups)} groups" if len(self.param_groups) > 1 else ""
        return f"{type(self).__name__}({len(self.params)} parameters{groups}, {options})"


def _listed(kind: str, params: Any) -> list[Any]:
    if not isinstance(params, Iterable) or isinstance(params, Tensor | Mapping):
        found = type(params).__name__
        raise ArgumentError(f"{kind}: takes a list of parameters, such as model.parameters(), not a {found}")
    return list(params)


def _parameters(kind: str, group: Mapping[str, Any]) -> list[Tensor]:
    """The parameters of a group: leaves."""
    if "params" not in group:
        raise ArgumentError(f"{kind}: a group has 'params', this one only {', '.join(group)}")
    params = _listed(kind, group["params"])
    for i, p in enumerate(params):
        if not isinstance(p, Tensor):
            raise ArgumentError(f"{kind}: parameter {i} is no Tensor but a {type(p).__name__}")
        if p.node is not None:
            raise ArgumentError(f"{kind}: parameter {i} was computed; pass leaves, or its .detach()")
    return params


# What an option may be, as half-open intervals; of those not named here anything.
_BELOW_1 = frozenset({"momentum", "beta1", "beta2", "alpha"})
_FROM_0 = frozenset({"lr", "weight_decay", "eps"})


def _check_options(kind: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in _FROM_0 and not value >= 0:
            raise ArgumentError(f"{kind}: {name} is at least 0, not {value}")
        if name in _BELOW_1 and not 0 <= value < 1:
            raise ArgumentError(f"{kind}: {name} is at least 0 and below 1, not {value}")


def decayed(g: NDArray, p: NDArray, group: Group) -> NDArray:
    """The gradient with weight decay: that of weight_decay / 2 * |p|**2 is added."""
    return g + group.weight_decay * p if group.weight_decay else g


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
        with tracing.paused():
            array = state[slot] = ndarray.full(p.shape, 0.0, p.dtype, p.device)
    elif array.device is not p.device or array.dtype is not p.dtype:
        array = state[slot] = array.to(device=p.device, dtype=p.dtype)
    if tracing.active is not None:
        tracing.active.holding(f"an optimizer's {slot}", lambda: state[slot])
    return array

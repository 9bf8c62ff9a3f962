"""Hooks: functions that are called when a module is, before or after its forward, or in the backward pass.

Backward hooks see the gradients of a call's inputs, and of its outputs, all together. So on either side the values of a
call pass one common node, a `Joint`, which is visited when the gradients of all of them are known.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

from needle import NDArray, Tensor, is_grad_enabled
from needle.op import Array, Cotangents, Op
from needle.ops.parts import Pieces
from needle.shape import Shape
from needle.tensor import apply

Hook: TypeAlias = Callable[..., Any]
Grads: TypeAlias = tuple[Any, ...]

_numbers = count()


class Handle:
    """A registered hook; `remove()` takes it away, as does leaving a `with` block."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self.hooks, self.number = hooks, next(_numbers)
        hooks[self.number] = hook

    def remove(self) -> None:
        self.hooks.pop(self.number, None)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


@dataclass
class Hooks:
    """The hooks of one module, each kind in the order of registration."""

    before: dict[int, Hook] = field(default_factory=dict)
    after: dict[int, Hook] = field(default_factory=dict)
    backward: dict[int, Hook] = field(default_factory=dict)

    def numbers(self) -> tuple[int, ...]:
        """Which hooks there are."""
        return *self.before, *self.after, *self.backward

    def run(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """module.forward(*args, **kwargs), and every hook at its time."""
        for hook in list(self.before.values()):
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        watch = Watch(self, module) if self.backward and is_grad_enabled() else None
        result = module.forward(*(args if watch is None else watch.enter(args)), **kwargs)
        for hook in list(self.after.values()):
            changed = hook(module, args, result)
            result = result if changed is None else changed
        return result if watch is None else watch.leave(result)


class Watch:
    """One call of a module whose gradients its backward hooks will be told of."""

    def __init__(self, hooks: Hooks, module: Any) -> None:
        self.hooks, self.module = hooks, module
        self.given: tuple[bool, ...] = ()  # which arguments will have a gradient
        self.grad_output: Grads = ()

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.given = tuple(_tracked(x) for x in args)
        return joined(args, self._at_input)

    def leave(self, result: Any) -> Any:
        if isinstance(result, tuple | list):
            return type(result)(joined(tuple(result), self._at_output))
        return joined((result,), self._at_output)[0]

    def _at_output(self, grads: Grads) -> Grads:
        self.grad_output = grads
        if not any(self.given):  # then this is as far as the backward pass comes
            self._tell(tuple(None for _ in self.given), True)
        return grads

    def _at_input(self, grads: Grads) -> Grads:
        return self._tell(grads, not any(isinstance(g, Tensor) for g in grads))

    def _tell(self, grads: Grads, plain: bool) -> Grads:
        """Call the hooks with Tensors; what they return takes the place of the inputs' gradients."""
        seen = tuple(_shown(g) for g in grads)
        for hook in list(self.hooks.backward.values()):
            changed = hook(self.module, seen, tuple(_shown(g) for g in self.grad_output))
            if changed is not None:
                seen = changed if isinstance(changed, tuple) else (changed,)
        return tuple(g.array if plain and g is not None else g for g in seen)


def _tracked(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _shown(g: Any) -> Any:
    return Tensor(g) if isinstance(g, NDArray) else g


def joined(values: tuple[Any, ...], tell: Callable[[Grads], Grads]) -> tuple[Any, ...]:
    """The same values; their gradients pass `tell` together, one entry for each value."""
    at = [i for i, x in enumerate(values) if _tracked(x)]
    if not at:
        return values

    def tell_all(grads: Grads) -> Grads:
        full: list[Any] = [None] * len(values)
        for i, g in zip(at, grads, strict=True):
            full[i] = g
        told = tell(tuple(full))
        return tuple(told[i] for i in at)

    joint = apply(Joint(tell_all), *(values[i] for i in at))
    result = list(values)
    for number, i in enumerate(at):
        result[i] = apply(Passed(number), joint, values[i].detach())
    return tuple(result)


@dataclass(frozen=True)
class Joint(Op):
    """The first of some values that pass this point together; its cotangent is the Pieces of all of them."""

    tell: Callable[[Grads], Grads]

    def shape(self, *values: Shape) -> Shape:
        return values[0]

    def forward(self, *values: NDArray) -> NDArray:
        return values[0]

    def vjp(self, g: Pieces, y: Array, *values: Array) -> Cotangents:
        return self.tell(tuple(g.get(i) for i in range(len(values))))


@dataclass(frozen=True)
class Passed(Op):
    """x, one of the values that went through a Joint."""

    number: int

    def shape(self, joint: Shape, x: Shape) -> Shape:
        return x

    def forward(self, joint: NDArray, x: NDArray) -> NDArray:
        return x

    def vjp(self, g: Array, y: Array, joint: Array, x: Array) -> Cotangents:
        return Pieces({self.number: g}), None

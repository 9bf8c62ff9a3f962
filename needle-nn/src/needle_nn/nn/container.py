"""Modules that combine or reshape and learn nothing themselves."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Self

from needle import Tensor, tracing
from needle.errors import ArgumentError
from needle_nn.nn.activation import ReLU
from needle_nn.nn.linear import Linear
from needle_nn.nn.module import Module
from needle_nn.nn.norm import BatchNorm2d


class Identity(Module):
    """x, unchanged."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(Module):
    """(B, ...) -> (B, n)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Residual(Module):
    """fn(x) + x."""

    def __init__(self, fn: Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fn(x)
        return y + x


class Layers(tuple[Module, ...]):
    """The layers of a Sequential: the course's tuple, and when called, the walk over all modules."""

    owner: "Sequential"

    def __call__(self) -> Iterator[Module]:
        return Module.modules(self.owner)


class Sequential(Module):
    """Each module applied to the result of the one before."""

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for module in modules:
            _check_callable(module)
        self.layers = modules

    @property
    def modules(self) -> Layers:
        layers = Layers(self.layers)
        layers.owner = self
        return layers

    def _fields(self) -> Iterable[tuple[Any, Any]]:
        return [*enumerate(self.layers), *((name, value) for name, value in vars(self).items() if name != "layers")]

    def forward(self, x: Any) -> Any:
        done = False  # in one pass with the module before
        for i, module in enumerate(self.layers):
            if done:
                done = False
                continue
            both = None
            if type(module) in _WITH_RELU and _is_plain_relu(self.layers[i + 1 : i + 2]):
                both = with_relu(module, x)
            done = both is not None
            x = both if done else module(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Module:
        """One of the modules; of a slice, a Sequential of these."""
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __setitem__(self, index: int, module: Module) -> None:
        _check_callable(module)
        layers = list(self.layers)
        layers[index] = module
        self.layers = tuple(layers)

    def append(self, module: Module) -> Self:
        """One more module, behind the others."""
        _check_callable(module)
        self.layers = (*self.layers, module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)


_WITH_RELU = (BatchNorm2d, Linear)  # have a pass for themselves and a ReLU behind


def with_relu(module: Module, x: Any) -> Tensor | None:
    """relu of a module's result in one pass, so that what is before the relu is neither written nor kept; None where
    the module has no such pass, somebody looks at what it gives, or a function is captured: that fuses by itself, and
    asks each module again whether it is still called as it was."""
    if type(module) not in _WITH_RELU or not _untouched(module) or tracing.active is not None:
        return None
    assert isinstance(module, BatchNorm2d | Linear)
    return module.with_relu(x)


def _is_plain_relu(modules: tuple[Module, ...]) -> bool:
    return len(modules) == 1 and type(modules[0]) is ReLU and _untouched(modules[0])


def _untouched(module: Module) -> bool:
    """Whether no hook watches it, and its `forward` is its class's."""
    return "_hooks" not in module.__dict__ and "forward" not in module.__dict__


def _check_callable(module: Any) -> None:
    if isinstance(module, type):
        raise ArgumentError(f"Sequential: takes modules, not the class {module.__name__}; write {module.__name__}(...)")
    if not callable(module):
        remedy = "; unpack it with *" if isinstance(module, list | tuple) else ""
        raise ArgumentError(f"Sequential: takes modules, not a {type(module).__name__}{remedy}")

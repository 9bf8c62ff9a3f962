"""Parameter and Module: what a layer learns, and how layers nest."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

from needle import Device, NDArray, Tensor, tracing
from needle.compiled import Compiled
from needle.errors import DataError, DTypeError, NotATensorError, ShapeError
from needle_nn.nn.hooks import Handle, Hook, Hooks

State: TypeAlias = dict[str, Tensor]


class Parameter(Tensor):
    """A Tensor that a Module learns."""

    def __init__(self, array: Any, *, device: Any = None, dtype: Any = None, requires_grad: bool = True) -> None:
        super().__init__(array, device=device, dtype=dtype, requires_grad=requires_grad)


def is_learned(tensor: Tensor) -> bool:
    """Whether it is a parameter: by its class, or a Tensor that requires gradients and was put in one's place."""
    return isinstance(tensor, Parameter) or tensor._leaf_grad  # which no plain Tensor of the course's is


class Difference(NamedTuple):
    """Names in which a state and a module differ."""

    missing: list[str]
    unexpected: list[str]


class Module:
    """A function with parameters. Assign Tensors and Modules to attributes, and write `forward`.

    What stands in an attribute, or in a dict, list or tuple there, belongs to the module. A Parameter is learned, and
    so is a Tensor that requires gradients and was assigned in its place; any other Tensor, such as a running mean, is
    a buffer: not learned, but moved and saved alike.
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if tracing.active is not None:
            state = f"{type(self).__name__} was in this state (training {self.training})"
            tracing.active.expecting(state, self._mode)
        hooks = self.__dict__.get("_hooks")
        try:
            return self.forward(*args, **kwargs) if hooks is None else hooks.run(self, args, kwargs)
        except (AttributeError, NotATensorError) as error:
            if _about_numpy(error, (*args, *kwargs.values())):
                name = type(self).__name__
                raise DTypeError(f"{name}: takes Tensors, not NumPy arrays; pass needle.Tensor(x)") from error
            raise

    def _mode(self) -> Any:
        """What a call depends on beside parameters and the class: for compiled functions, which ask again and again."""
        hooks = vars(self).get("_hooks")
        return self.training, () if hooks is None else hooks.numbers(), vars(self).get("forward")

    # Hooks; each registration gives a handle that can be removed.

    def register_forward_pre_hook(self, hook: Hook) -> Handle:
        """hook(module, args) before each call; what it returns, if anything, takes the arguments' place."""
        return Handle(self._registered().before, hook)

    def register_forward_hook(self, hook: Hook) -> Handle:
        """hook(module, args, result) after each call; what it returns, if anything, takes the result's place."""
        return Handle(self._registered().after, hook)

    def register_full_backward_hook(self, hook: Hook) -> Handle:
        """hook(module, grad_input, grad_output) in the backward pass, tuples with None where there is no gradient;
        what it returns, if anything, takes grad_input's place."""
        return Handle(self._registered().backward, hook)

    def _registered(self) -> Hooks:
        hooks: Hooks = vars(self).setdefault("_hooks", Hooks())
        return hooks

    # What a module holds. Each Tensor and Module is listed once, under the first name that leads to it.

    def _fields(self) -> Iterable[tuple[Any, Any]]:
        """Names and values in which parts are looked for."""
        return vars(self).items()

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters with their dotted names, in the order of creation."""
        return ((name, part) for name, part in _below(self) if isinstance(part, Tensor) and is_learned(part))

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All Tensors that are not learned, with their dotted names."""
        return ((name, part) for name, part in _below(self) if isinstance(part, Tensor) and not is_learned(part))

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module under the name "", then all below it."""
        yield "", self
        yield from ((name, part) for name, part in _below(self) if isinstance(part, Module))

    def parameters(self) -> list[Tensor]:
        return [parameter for _, parameter in self.named_parameters()]

    def modules(self) -> Iterator["Module"]:
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator["Module"]:
        """The modules directly below this one."""
        return (part for _, part in _parts(self._fields()) if isinstance(part, Module))

    def _children(self) -> list["Module"]:
        """All modules below this one, by the course's name."""
        return [module for name, module in self.named_modules() if name]

    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters())

    # Modes and places.

    def train(self, mode: bool = True) -> Self:
        """Enter training (or, with False, evaluation), here and below."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Enter evaluation, here and below."""
        return self.train(False)

    def apply(self, function: Callable[["Module"], Any]) -> Self:
        """Call a function with each module below, and last with this one; such as one that sets initial values."""
        for module in self._children():
            function(module)
        function(self)
        return self

    def requires_grad_(self, flag: bool = True) -> Self:
        """Freeze all parameters (with False), or free them."""
        for parameter in self.parameters():
            parameter.requires_grad_(flag)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: Device | str | None = None, dtype: Any = None) -> Self:
        """Move all Tensors to a device, and those of floating point to a dtype. They stay the same objects."""
        for _, part in _below(self):
            if isinstance(part, Tensor):
                target = dtype if part.dtype.is_float else None
                part.array = part.array.to(device, target)
                if part.grad is not None:
                    part.grad = part.grad.detach().to(device, target)
        return self

    # State.

    def _named_tensors(self) -> State:
        return {name: part for name, part in _below(self) if isinstance(part, Tensor)}

    def state_dict(self) -> State:
        """Parameters and buffers by name, detached, sharing memory with the module."""
        return {name: tensor.detach() for name, tensor in self._named_tensors().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Difference:
        """Copy values (Tensors or NumPy arrays) into parameters and buffers; nothing is written if they do not fit.

        Without `strict`, names in only one of the two are left alone. They are returned.
        """
        own, difference = self._named_tensors(), self.check_state(state, strict)
        for name in own.keys() & state.keys():
            assign(own[name], state[name])
        return difference

    def check_state(self, state: Mapping[str, Any], strict: bool = True) -> Difference:
        """Raise the error that `load_state_dict` would, if any."""
        kind, own = type(self).__name__, self._named_tensors()
        if not isinstance(state, Mapping):
            raise DTypeError(f"{kind}: a state is a mapping from names to Tensors, not a {type(state).__name__}")
        difference = Difference([n for n in own if n not in state], [n for n in state if n not in own])
        if strict and any(difference):
            raise DataError(f"{kind}: the state is of another model: {_describe(difference)}")
        shared = [name for name in own if name in state]
        for name in shared:
            _check_numbers(kind, name, state[name])
        check_shapes(kind, {n: own[n].shape for n in shared}, {n: np.shape(state[n]) for n in shared})
        return difference

    # Display.

    def _describe(self) -> str:
        """The arguments in the printed form."""
        return ""

    def __repr__(self) -> str:
        parts = [f"{n}: {part!r}" for n, part in _parts(self._fields()) if isinstance(part, Module)]
        head = f"{type(self).__name__}({self._describe()}"
        body = indent(",\n".join(parts), "  ")
        return f"{head}\n{body}\n)" if parts else f"{head})"


def _parts(fields: Iterable[tuple[Any, Any]], prefix: str = "") -> Iterator[tuple[str, Tensor | Module]]:
    """The Tensors and Modules among named values and in containers there, but not those inside Modules."""
    for key, value in fields:
        name = f"{prefix}{key}"
        if isinstance(value, Compiled):
            value = value.function
        if isinstance(value, Tensor | Module):
            yield name, value
        elif isinstance(value, Mapping):
            yield from _parts(value.items(), f"{name}.")
        elif isinstance(value, list | tuple):
            yield from _parts(enumerate(value), f"{name}.")


def _below(module: Module) -> Iterator[tuple[str, Tensor | Module]]:
    """All Tensors and Modules below a module, by dotted name, each once."""
    seen = {id(module)}

    def walk(module: Module, prefix: str) -> Iterator[tuple[str, Tensor | Module]]:
        for key, part in _parts(module._fields()):
            if id(part) not in seen:
                seen.add(id(part))
                yield prefix + key, part
                if isinstance(part, Module):
                    yield from walk(part, f"{prefix}{key}.")

    return walk(module, "")


def _about_numpy(error: Exception, args: tuple[Any, ...]) -> bool:
    """Whether a call failed because a NumPy array was given where a Tensor belongs."""
    told = isinstance(error, NotATensorError) or str(error).startswith("'numpy.")
    return told and any(isinstance(x, np.ndarray) for x in args)


def assign(tensor: Tensor, value: Any) -> None:
    """Give a Tensor the values of a Tensor or NumPy array; its device, dtype and memory stay."""
    source = value.detach().to(device=tensor.device, dtype=tensor.dtype) if isinstance(value, Tensor) else value
    tensor.array[...] = Tensor(source, device=tensor.device, dtype=tensor.dtype).array


def _check_numbers(owner: str, name: str, value: Any) -> None:
    """Raise DataError where a value of a state is text, or nested lists that are ragged, or else no numbers."""
    if isinstance(value, Tensor | NDArray):
        return
    try:
        dtype = np.asarray(value).dtype
    except ValueError:
        raise DataError(f"{owner}: {name} in the state is a ragged list, not numbers") from None
    if dtype.kind in "SUOMm":
        raise DataError(f"{owner}: {name} in the state holds {dtype}, not numbers")


def check_shapes(owner: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise ShapeError naming the entries whose shapes differ."""
    wrong = [f"{n} is {found[n]}, not {expected[n]}" for n in expected if tuple(found[n]) != tuple(expected[n])]
    if wrong:
        raise ShapeError(f"{owner}: the state is of another model: {listed(wrong)}")


def _describe(difference: Difference) -> str:
    named = [f"{kind} {listed(names)}" for kind, names in difference._asdict().items() if names]
    return "; ".join(named)


def listed(names: list[str], most: int = 5) -> str:
    """Names for an error message: all, or the first few and a count."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more)

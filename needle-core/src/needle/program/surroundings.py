"""Surroundings: the plain Python state that a function reads beside its arguments.

A replay does not run Python, so a number in a closure, a global or an attribute would be what it was during capture for
ever. What the code of a function names is looked up once: closure cells, globals and attributes, also those of the
functions and objects that it calls. Numbers and text are remembered by value, lists, sets, dicts and small NumPy arrays
by what is in them, all else by identity. Before each replay all must be as it was. What the layers and optimizers of
needle read is known otherwise (`tracing`); of needle's own code only what modules keep in attributes is looked at.
"""

import dis
import pickle
import random
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from functools import cache, partial
from io import IOBase
from typing import Any, NamedTuple, Protocol

import numpy as np

_GONE = object()
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
_CONTAINERS = (list, dict, set, deque, defaultdict, OrderedDict)
_LARGEST = 1000  # elements of a container that are remembered; more are data, not settings
_MOST = 5000  # objects and containers that are looked at
_DEEPEST = 60  # of them behind one another
_RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
_FOREIGN = frozenset({*sys.stdlib_module_names, "numpy", "torch", "pytest", "pluggy"})


class Names(NamedTuple):
    """What a piece of code looks up."""

    globals: tuple[str, ...]
    attributes: frozenset[str]


@cache
def names_in(code: types.CodeType) -> Names:
    """The globals and attributes that code names, nested functions included."""
    found: dict[str, None] = {}
    attributes: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found[step.argval] = None
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            attributes.add(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = names_in(constant)
            found.update(dict.fromkeys(inner.globals))
            attributes |= inner.attributes
        elif isinstance(constant, str) and "getattr" in found:
            attributes.add(constant)
    return Names(tuple(found), frozenset(attributes))


class Place(Protocol):
    """Where names have values: the dict of a module or object, or `_Attributes`."""

    def get(self, name: str, default: Any = None, /) -> Any: ...
    def __getitem__(self, name: str, /) -> Any: ...
    def __setitem__(self, name: str, value: Any, /) -> None: ...


class Surroundings:
    """What one function reads, as it is when this is made."""

    def __init__(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        self.items: list[tuple[Place, str, Any]] = []  # where, under which name, what
        self.cells: list[tuple[Any, str, Any]] = []
        self.containers: list[tuple[Any, str, Any]] = []
        self._visited: set[tuple[int, Any]] = set()
        self._depth = 0
        self._kept: list[Any] = []  # what was visited, so that its identity is no other's
        self._held: list[tuple[Any, str, bytes]] = []  # generators of random numbers, with their states
        self._generators = _generators()
        self.iterator = ""  # an iterator that the function may draw from, which a replay would not
        self._follow(function, None)
        code = _code(function)
        for argument in arguments:
            if code is not None:
                self._value(argument, names_in(code).attributes, type(argument).__name__)

    def changed(self) -> str:
        """What is not as it was, or nothing."""
        for where, name, value in self.items:
            now = where.get(name, _GONE)
            if now is not value and not _same(now, value):
                return name
        for cell, name, value in self.cells:
            now = _content(cell)
            if now is not value and not _same(now, value):
                return name
        for container, name, contents in self.containers:
            if not _equal_contents(_contents(container), contents):
                return name
        return ""

    def replaced(self) -> list[tuple[Place, str, Any]]:
        """Names under which something else stands now: where, the name, and what stood there."""
        found = {(id(where), name): (where, name, value) for where, name, value in self.items
                 if where.get(name, _GONE) is not value}  # fmt: skip
        return list(found.values())

    def ignore(self, where: Place, name: str) -> None:
        """Look at a name no more."""
        self.items = [item for item in self.items if item[0] is not where or item[1] != name]

    def drawn(self) -> str:
        """Whose random numbers were drawn since then: those of NumPy and of Python cannot be drawn by a replay."""
        now = _generators()
        held = (name for generator, name, state in self._held if pickle.dumps(generator) != state)
        return next((f"{name}'s" for name, state in self._generators.items() if now[name] != state), next(held, ""))

    # The search.

    def _follow(self, function: Any, owner: Any) -> None:
        """What a function, method or callable object reads."""
        while isinstance(function, partial):
            for value in (*function.args, *function.keywords.values()):
                self._value(value, frozenset(), "an argument of partial()")
            function = function.func
        if isinstance(function, types.MethodType):
            function, owner = function.__func__, function.__self__
        function = (
            getattr(function, "__wrapped__", function) if not isinstance(function, types.FunctionType) else function
        )
        if not isinstance(function, types.FunctionType):
            return self._callable_object(function)
        if not self._visit(function, id(owner)):
            return None
        names = names_in(function.__code__)
        if owner is not None:
            self._object(owner, names.attributes, type(owner).__name__)
        if _root(function.__module__) in ("needle", "needle_nn"):
            return None
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            value = _content(cell)
            self.cells.append((cell, name, value))
            self._value(value, names.attributes, name)
        for name in names.globals:
            if name in function.__globals__:
                value = function.__globals__[name]
                self.items.append((function.__globals__, name, value))
                self._value(value, names.attributes, name)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._value(value, names.attributes, "a default")
        return None

    def _callable_object(self, thing: Any) -> None:
        for name in ("__call__", "forward"):
            method = getattr(type(thing), name, None)
            if isinstance(method, types.FunctionType):
                self._follow(method, thing)

    def _value(self, value: Any, attributes: frozenset[str], name: str) -> None:
        """What can be read through a value that code has at hand."""
        if isinstance(value, _PLAIN) or self._depth > _DEEPEST or len(self._visited) > _MOST:
            return
        self._depth += 1
        self._look(value, attributes, name)
        self._depth -= 1

    def _look(self, value: Any, attributes: frozenset[str], name: str) -> None:
        if isinstance(value, tuple) or type(value) in _CONTAINERS:
            if not self._visit(value, attributes) or len(value) > _LARGEST:
                return
            if not isinstance(value, tuple):
                self.containers.append((value, name, _contents(value)))
            for part in value.values() if isinstance(value, dict) else value:
                self._value(part, attributes, name)
        elif isinstance(value, np.ndarray):
            if value.size <= _LARGEST:
                self.containers.append((value, name, _contents(value)))
        elif isinstance(value, _RANDOM) and not isinstance(value, random.SystemRandom):
            self._held.append((value, name, pickle.dumps(value)))
        elif isinstance(owner := getattr(value, "__self__", None), _RANDOM):
            self._value(owner, attributes, name)
        elif isinstance(value, Iterator) and not isinstance(value, IOBase):
            self.iterator = self.iterator or name
        elif isinstance(value, types.FunctionType | types.MethodType | partial):
            if _root(getattr(value, "__module__", None)) not in _FOREIGN:
                self._follow(value, None)
        elif "__wrapped__" in getattr(value, "__dict__", {}):  # another compiled function
            self._follow(value.__dict__["__wrapped__"], None)
        else:
            self._object(value, attributes, name)

    def _object(self, thing: Any, attributes: frozenset[str], name: str) -> None:
        """The attributes of an object, or module, that code names; and what its methods of these names read."""
        if isinstance(thing, type):
            return self._class(thing, attributes)
        if _is_known(thing):
            return None
        if not hasattr(thing, "__dict__"):
            return self._slots(thing, attributes, name)
        if not self._visit(thing, attributes):
            return None
        own = thing.__dict__
        for attribute in attributes:
            if attribute in own:
                self.items.append((own, attribute, own[attribute]))
                self._value(own[attribute], attributes, f"{name}.{attribute}")
            elif not isinstance(thing, types.ModuleType):
                member = getattr(type(thing), attribute, None)
                member = member.fget if isinstance(member, property) else member
                if isinstance(member, types.FunctionType):
                    self._follow(member, thing)
        if not isinstance(thing, types.ModuleType):
            self._class(type(thing), attributes)
            self._callable_object(thing)
        return None

    def _slots(self, thing: Any, attributes: frozenset[str], name: str) -> None:
        """The attributes of an object that keeps them in slots."""
        own = {slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())}
        if not own or not self._visit(thing, attributes):
            return
        for attribute in attributes & own:
            value = getattr(thing, attribute, _GONE)
            self.items.append((_Attributes(thing), attribute, value))
            self._value(value, attributes, f"{name}.{attribute}")
        self._class(type(thing), attributes)
        self._callable_object(thing)

    def _class(self, kind: type, attributes: frozenset[str]) -> None:
        """The numbers, text and containers that a class of the user's, or one above it, keeps for all its objects."""
        for one in kind.__mro__:
            if _root(one.__module__) in _FOREIGN | {"needle", "needle_nn"} or not self._visit(one, attributes):
                continue
            own = one.__dict__
            for attribute in attributes & own.keys():
                value = own[attribute]
                if isinstance(value, (*_PLAIN, tuple)) or type(value) in _CONTAINERS:
                    self.items.append((_Attributes(one), attribute, value))
                    self._value(value, attributes, f"{one.__name__}.{attribute}")

    def _visit(self, thing: Any, how: Any) -> bool:
        """Whether it is met in this way for the first time."""
        if (id(thing), how) in self._visited:
            return False
        self._visited.add((id(thing), how))
        self._kept.append(thing)
        return True


class _Attributes:
    """The attributes of an object with slots, or of a class, read and written as a dict's values are."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def get(self, name: str, default: Any = None, /) -> Any:
        return getattr(self.thing, name, default)

    def __getitem__(self, name: str, /) -> Any:
        return getattr(self.thing, name)

    def __setitem__(self, name: str, value: Any, /) -> None:
        setattr(self.thing, name, value)


def _code(function: Any) -> types.CodeType | None:
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType):
        kind = type(function)
        function = getattr(kind, "forward", None) or kind.__call__
    return getattr(function, "__code__", None)


def _root(module: Any) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""


def _is_known(thing: Any) -> bool:
    """Whether its state is not plain: tensors and their like, optimizers, whose numbers are live, and what other
    libraries keep."""
    if isinstance(thing, types.ModuleType):
        return _root(thing.__name__) in _FOREIGN or _root(thing.__name__) in ("needle", "needle_nn")
    kinds = [kind.__module__ for kind in type(thing).__mro__]
    own = any(_root(name) == "needle" or name.startswith("needle_nn.optim") for name in kinds)
    return own or _root(kinds[0]) in _FOREIGN - {"builtins", "types"}


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet bound
        return _GONE


def _contents(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [*container, *container.values()]
    if isinstance(container, np.ndarray):
        return [container.dtype.str, str(container.shape), container.tobytes()]
    return list(container)


def _equal_contents(now: list[Any], before: list[Any]) -> bool:
    return len(now) == len(before) and all(a is b or _same(a, b) for a, b in zip(now, before, strict=True))


def _same(now: Any, before: Any) -> bool:
    """Whether plain values are equal, in every bit."""
    if type(now) is not type(before) or not isinstance(now, _PLAIN):
        return False
    return repr(now) == repr(before) if isinstance(now, float | complex | np.generic) else bool(now == before)


def _generators() -> dict[str, Any]:
    name, keys, *place = np.random.get_state(legacy=True)
    return {"NumPy": (name, np.asarray(keys).tobytes(), place), "Python": random.getstate()}

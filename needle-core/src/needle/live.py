"""Live numbers: numbers that a captured function reads anew each time it is replayed.

While a function is captured (see `program`), a learning rate or a count of steps is a LiveFloat or LiveInt: a number
like any other, which also remembers how to read its next value. Arithmetic on it gives live numbers again, so
`1 - group.lr * group.weight_decay` follows the schedule although Python does not run it again.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

from needle import tracing

Read: TypeAlias = Callable[[], Any]


class LiveFloat(float):
    """A float that knows how to read its next value: `read` during a replay, `peek` before it."""

    read: Read
    peek: Read


class LiveInt(int):
    """An int that knows how to read its next value."""

    read: Read
    peek: Read


LIVE = (LiveFloat, LiveInt)


def live(value: float, read: Read, peek: Read) -> Any:
    """`value`, which `read` gives anew."""
    number: Any = LiveInt(value) if isinstance(value, int) else LiveFloat(value)
    number.read, number.peek = read, peek
    return number


def is_live(value: Any) -> bool:
    return type(value) in LIVE


def has_live(value: Any) -> bool:
    """Whether it is a live number, or a tuple with one."""
    return type(value) in LIVE or (type(value) is tuple and any(type(x) in LIVE for x in value))


def read(value: Any) -> Any:
    """The number as it is now; of a tuple, all its numbers."""
    if type(value) in LIVE:
        return value.read()
    return tuple([read(x) for x in value]) if type(value) is tuple else value


def peek(value: Any) -> Any:
    """The number as the next replay will read it."""
    return value.peek() if type(value) in LIVE else value


def _binary(function: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The operator on live numbers and plain ones, and the same with its operands swapped."""

    def forward(a: Any, b: Any) -> Any:
        if not isinstance(b, int | float):
            return NotImplemented
        now = function(_plain(a), _plain(b))
        return live(now, lambda: function(read(a), read(b)), lambda: function(peek(a), peek(b)))

    def swapped(a: Any, b: Any) -> Any:
        return NotImplemented if not isinstance(b, int | float) else forward(b, a)

    return forward, swapped


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, int) else float(value)


def _unary(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda a: live(function(_plain(a)), lambda: function(read(a)), lambda: function(peek(a)))


def _decision(function: Callable[..., bool]) -> Callable[..., bool]:
    """A comparison: what Python decides by it must be so at each replay."""

    def decide(*numbers: Any) -> bool:
        if tracing.active is not None:
            tracing.active.expecting("a number was compared", lambda: function(*map(peek, numbers)))
        return function(*map(_plain, numbers))

    return decide


for _cls in LIVE:
    for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
        _forward, _swapped = _binary(getattr(operator, _name))
        setattr(_cls, f"__{_name}__", _forward)
        setattr(_cls, f"__r{_name}__", _swapped)
    for _name in ("neg", "pos", "abs"):
        setattr(_cls, f"__{_name}__", _unary(getattr(operator, _name)))
    for _name in ("lt", "le", "gt", "ge"):
        setattr(_cls, f"__{_name}__", _decision(getattr(operator, _name)))
    _cls.__bool__ = _decision(bool)  # type: ignore[method-assign]  # as setattr does above

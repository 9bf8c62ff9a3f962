"""Whether a function is being captured, and what the layers below tell whoever captures it.

Everything that computes passes dispatch, where it is recorded; this module carries what dispatch does not see: memory
that was made, host data that was brought in, tensors that were read or changed, values that Python asked for.
`active` is None nearly always, so each of these costs one look at a global.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Tracer(Protocol):
    """What a capture is told."""

    def allocated(self, buffer: Any) -> None:
        """Memory was made; its elements are not yet written."""

    def uploaded(self, array: Any) -> None:
        """The host's elements were brought into an array."""

    def reading(self, array: Any, what: str) -> None:
        """Python wants the elements, or None: the state of a generator that cannot be replayed. May refuse."""

    def using(self, tensor: Any) -> None:
        """A tensor is about to be read or changed."""

    def forgetting(self, tensor: Any) -> None:
        """A tensor's gradient is about to be dropped."""

    def accumulating(self, tensor: Any) -> None:
        """A gradient is about to be added to a tensor's `grad`, or to become it."""

    def looking(self, tensor: Any, grad: Any) -> None:
        """A tensor's `grad` is about to be read."""

    def expecting(self, what: str, read: Callable[[], Any]) -> None:
        """What Python read now must be equal at each replay, or the function is captured again."""

    def holding(self, what: str, read: Callable[[], Any]) -> None:
        """`read` gives an array that belongs to some object, which may put another in its place."""

    def number(self, read: Callable[[], Any]) -> Any:
        """The number that `read` gives, as one that is read anew at each replay."""

    def repeating(self, action: Callable[[], None]) -> None:
        """An action of Python's that each replay repeats, at its beginning."""

    def once(self, what: str) -> None:
        """The function did what a replay does not, and must not be without: it is not to be replayed."""

    def pause(self) -> Any:
        """A context in which nothing is recorded: what is made there exists before the replay."""


active: Tracer | None = None


@contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """Make a tracer the active one."""
    global active
    before, active = active, tracer
    try:
        yield
    finally:
        active = before


@contextmanager
def paused() -> Iterator[None]:
    """Run what is done once and not at each replay, such as making an optimizer's state."""
    if active is None:
        yield
    else:
        with active.pause():
            yield

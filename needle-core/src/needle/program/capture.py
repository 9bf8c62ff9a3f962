"""Capture: run a function once, and note every primitive that passes dispatch.

The function computes as it always does; a Recorder, which is an observer of dispatch and a tracer, notes the nodes of
a Graph and what else a replay must know: which objects the memory outside belongs to, what Python looked at, which
numbers change from call to call.
"""

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from needle import dispatch, tracing
from needle.backend import View, map_views
from needle.dispatch import Call
from needle.errors import GraphError
from needle.layout import Layout
from needle.live import has_live, live
from needle.program.graph import Graph, Node, Operand, Role, Storage

_HERE = Path(__file__).parents[1]  # needle itself: its lines are not the user's
_LIBRARIES = ("needle_nn", "numpy")

# What stands for a whole in a graph although a device composes it: its parts cannot be recorded, or are others for
# other indices.
_WHOLE = frozenset({"random", "gather", "scatter_add"})


@dataclass(eq=False)
class Holder:
    """Who has the memory of a storage outside: `read` gives the array that is theirs now."""

    what: str
    read: Callable[[], Any]
    storage: Storage
    array: Any  # what `read` gave during capture


@dataclass(eq=False)
class Guard:
    """What Python saw during capture and must see again."""

    what: str
    read: Callable[[], Any]
    value: Any

    @property
    def holds(self) -> bool:
        return bool(self.read() == self.value)


@dataclass(eq=False)
class Seen:
    """A tensor from outside that the function used, as it was at that moment."""

    tensor: Any
    array: Any
    grad: Any  # the Tensor, or None
    requires_grad: bool
    forgotten: bool = False  # whether the function dropped the gradient before it looked at it
    looked: bool = False  # whether it is guarded that there was a gradient, or none


class Recorder:
    """The observer and tracer of one capture. `inputs` are the arrays of the arguments, in order."""

    def __init__(self, inputs: list[Any], known: list[Any]) -> None:
        self.nodes: list[Node] = []
        self.storages: dict[int, Storage] = {}
        self.kept: list[Any] = []  # buffers, so that no two have one identity while we look
        self.made: set[int] = set()  # identities of buffers that the function made
        self.seen: dict[int, Seen] = {}
        self.holders: dict[int, Holder] = {}
        self.guards: list[Guard] = []
        self.renewals: list[Callable[[], None]] = []  # what a replay does first, in this order
        self.device: Any = None  # of what is looked at now
        self.thread = threading.get_ident()
        self.passing = ""  # why there may be no replay
        self._muted = 0
        self.inputs: list[Storage] = []
        for array in inputs:
            self.device = array.device
            self.inputs.append(self._storage(array, Role.INPUT))
        self.before = {id(tensor): (tensor, tensor._grad) for tensor in known}
        self.arguments: list[Any] = []  # the tensors of the arguments, as weak references

    # As an observer of dispatch.

    def before_call(self, call: Call) -> bool:
        if not self._mine():
            return False
        self.device = call.device
        opens = call.path != "composed" or call.op in _WHOLE or any(map(has_live, call.args))
        if opens and not self._muted:
            node = Node(call.op, call.device, tuple(self._argument(arg) for arg in call.args))
            for x in node.writes:
                self.freshen(x)
            self.nodes.append(node)
        self._muted += opens
        return opens

    def after_call(self, call: Call, opened: bool) -> None:
        self._muted -= opened

    # As the tracer.

    def allocated(self, buffer: Any) -> None:
        if self._mine():
            self.kept.append(buffer)
            if not self._muted:
                self.made.add(id(buffer))

    def uploaded(self, array: Any) -> None:
        if self._mine():
            self.device = array.device
            self._storage(array, Role.CONSTANT)

    def reading(self, array: Any, what: str) -> None:
        if not self._mine() or self._muted:
            return
        storage = None if array is None else self.storages.get(id(array.buffer))
        if storage is not None and storage.role is Role.CONSTANT:
            return
        raise GraphError(
            f"compile: {what} at {_user_line()} is data that a replay would not see; compute with tensors "
            "(where, masks), or leave this part out of the compiled function"
        )

    def using(self, tensor: Any) -> None:
        if not self._mine() or id(tensor) in self.seen or tensor.node is not None:
            return
        buffer = tensor.array.buffer
        if id(buffer) in self.made:
            return
        grad = self.before[id(tensor)][1] if id(tensor) in self.before else tensor._grad
        self.seen[id(tensor)] = Seen(tensor, tensor.array, grad, tensor.requires_grad)
        storage = self.storages.get(id(buffer))
        if id(buffer) not in self.holders and (storage is None or storage.role is not Role.INPUT):
            self.holding(f"a tensor of shape {tensor.shape}", lambda: tensor.array)

    def forgetting(self, tensor: Any) -> None:
        self.using(tensor)
        if self._mine() and id(tensor) in self.seen:
            seen = self.seen[id(tensor)]
            seen.forgotten = not seen.looked

    def accumulating(self, tensor: Any) -> None:
        if not self._mine():
            return
        self.using(tensor)
        seen = self.seen.get(id(tensor))
        if seen is None or seen.forgotten:
            return
        self._gradient(tensor, tensor._grad, seen)

    def looking(self, tensor: Any, grad: Any) -> None:
        if self._mine() and not self._muted:
            self.using(tensor)
            seen = self.seen.get(id(tensor))
            if seen is not None and not seen.forgotten:
                self._gradient(tensor, grad, seen)

    def _gradient(self, tensor: Any, grad: Any, seen: Seen) -> None:
        """The gradient that a tensor from outside has is needed, or that it has none."""
        owner = self._owner(tensor)
        if grad is not None and grad is seen.grad:
            self.holding(f"the gradient of a tensor of shape {tensor.shape}", lambda: owner()._grad.array)
        if (grad is None) == (seen.grad is None) and not seen.looked:  # else the function set it itself
            has, seen.looked = grad is not None, True
            text = f"the gradient of a tensor of shape {tensor.shape} was {'there' if has else 'None'}"
            self.guards.append(Guard(text, lambda: owner()._grad is not None, has))

    def _owner(self, tensor: Any) -> Callable[[], Any]:
        """Whoever stands at a replay where this tensor stands now: the same, or the argument in its place."""
        arguments = self.arguments
        place = next((i for i, given in enumerate(arguments) if given() is tensor), None)
        return (lambda: tensor) if place is None else (lambda: arguments[place]())

    def expecting(self, what: str, read: Callable[[], Any]) -> None:
        if self._mine():
            self.guards.append(Guard(what, read, read()))

    def holding(self, what: str, read: Callable[[], Any]) -> None:
        if self._mine():
            array = read()
            self.device = array.device
            if id(array.buffer) not in self.made:
                self.holders.setdefault(id(array.buffer), Holder(what, read, self._storage(array), array))

    def number(self, read: Callable[[], Any]) -> Any:
        if not self._mine():
            return read()
        cell = _Cell(read)
        self.renewals.append(cell.renew)
        return live(cell.value, lambda: cell.value, read)

    def repeating(self, action: Callable[[], None]) -> None:
        if self._mine():
            self.renewals.append(action)

    def once(self, what: str) -> None:
        if self._mine() and not self._muted:
            self.passing = self.passing or what

    @contextmanager
    def pause(self) -> Iterator[None]:
        self._muted += 1
        try:
            yield
        finally:
            self._muted -= 1

    # What it makes of them.

    def _mine(self) -> bool:
        return threading.get_ident() == self.thread

    def _argument(self, arg: Any) -> Any:
        """An argument of a primitive, its views as operands, its lists as lists."""
        mapped = map_views(arg, self.operand)
        return list(mapped) if isinstance(arg, list | tuple) and any(isinstance(x, View) for x in arg) else mapped

    def freshen(self, x: Operand) -> None:
        """Host data that is written, or leaves the function, is not the program's own: each replay starts from it as
        it was brought in. A copy of it becomes the constant, and what it was a temporary."""
        storage = x.storage
        if storage.role is not Role.CONSTANT or not storage.nbytes:
            return
        flat = Layout((storage.nbytes // x.dtype.itemsize,), (1,))
        with self.pause():
            kept = dispatch.allocate(storage.device, storage.nbytes)
            dispatch.copy(storage.device, View(kept, flat, x.dtype), View(storage.buffer, flat, x.dtype))
        constant = Storage(Role.CONSTANT, storage.device, storage.nbytes, kept)
        storage.role = Role.TEMPORARY
        first = Node("copy", storage.device, (Operand(storage, flat, x.dtype), Operand(constant, flat, x.dtype)))
        self.nodes.insert(0, first)

    def is_foreign(self, view: View) -> bool:
        """Whether its memory comes from outside and nothing was done with it."""
        return id(view.buffer) not in self.made and id(view.buffer) not in self.storages

    def operand(self, view: View) -> Operand:
        return Operand(self._storage(view), view.layout, view.dtype)

    def _storage(self, view: Any, role: Role | None = None, name: str = "") -> Storage:
        """The storage behind a view; memory that the function did not make is a state."""
        found = self.storages.get(id(view.buffer))
        if found is None:
            self.kept.append(view.buffer)
            if role is None:
                role = Role.TEMPORARY if id(view.buffer) in self.made else Role.STATE
            found = Storage(role, self.device, view.buffer.nbytes, view.buffer, name)
            self.storages[id(view.buffer)] = found
        elif role is Role.CONSTANT and found.role is Role.TEMPORARY:
            found.role = role
        return found


class _Cell:
    """A live number's present value: read once at each replay, in the order of capture."""

    __slots__ = ("read", "value")

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read
        self.value = read()

    def renew(self) -> None:
        self.value = self.read()


def _user_line() -> str:
    """Where in the user's code we are."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if _HERE not in path.parents and not any(name in path.parts for name in _LIBRARIES):
            return f"{frame.filename}:{frame.lineno} ({(frame.line or '').strip()})"
    return "an unknown line"


_lock = threading.RLock()


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Record what runs inside. One capture at a time, in all threads."""
    with _lock:
        observer = _Observer(recorder)
        dispatch.observers.append(observer)
        try:
            with tracing.tracing(recorder):
                yield
        finally:
            dispatch.observers.remove(observer)


class _Observer:
    """A Recorder as dispatch knows observers."""

    def __init__(self, recorder: Recorder) -> None:
        self.before, self.after = recorder.before_call, recorder.after_call


def finished(recorder: Recorder, results: list[Operand]) -> Graph:
    """The graph of what was recorded."""
    return Graph(list(recorder.nodes), results)

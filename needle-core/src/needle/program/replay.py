"""Program: a captured function, ready to run again; and how it is captured."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

from needle.errors import ArgumentError, GraphError
from needle.face import Tensor
from needle.ndarray import NDArray
from needle.program.capture import Guard, Holder, Recorder, Seen, recording
from needle.program.graph import Graph, Operand, Role, Storage, verify
from needle.program.memory import alive
from needle.program.passes import PASSES
from needle.program.plan import Execution
from needle.program.rebinding import Rebound, rebound
from needle.program.surroundings import Surroundings
from needle.trees import flatten, unflatten


@dataclass(eq=False)
class Update:
    """A tensor from outside that gets a new array, or a new gradient, at each replay."""

    target: Callable[[list[Tensor]], Tensor]
    attribute: str  # "array" or "grad"
    result: int | None  # which of the graph's results it gets; None: no gradient
    forgotten: bool = False  # whether the function drops the gradient that was there, and does not look at it


@dataclass(eq=False)
class Program:
    """One captured function for arguments of one kind."""

    captured: Graph  # as it was recorded
    graph: Graph
    stages: list[tuple[str, int, int]]  # each pass, with the nodes and bytes after it
    execution: Execution
    inputs: list[Storage]
    holders: list[Holder]
    guards: list[Guard]
    renewals: list[Callable[[], None]]
    updates: list[Update]
    seen: list[Seen]
    shape: Any  # of what the function returns
    leaves: list[Any]  # what it returns: of tensors where they come from, other things as they are
    flags: list[tuple[Tensor, bool]]  # which tensors from outside required gradients
    surroundings: Surroundings
    rebindings: list[Rebound]  # names whose tensors each call replaces
    arguments: list[Any]  # the tensors of this call, as weak references
    passing: str  # why it may not be kept: what Python changed while it ran

    def __post_init__(self) -> None:
        written = {x.storage for node in self.captured.nodes for x in node.writes}
        self.written = [i for i, storage in enumerate(self.inputs) if storage in written]
        self.forgotten = [update for update in self.updates if update.forgotten]

    def fits(self, inputs: list[Tensor]) -> bool:
        """Whether the world outside is as it was during capture; memory that was replaced is bound anew."""
        self.arguments[:] = map(ref, inputs)
        return (
            all(one.fits for one in self.rebindings)
            and all(guard.holds for guard in self.guards)
            and not self._rebind()
            and all(tensor.requires_grad is flag for tensor, flag in self.flags)
            and not self.surroundings.changed()
        )

    def misfit(self) -> str:
        """Why it does not."""
        broken = [guard.what for guard in self.guards if not guard.holds]
        broken += [
            f"a tensor of shape {tensor.shape} {'required' if flag else 'did not require'} gradients"
            for tensor, flag in self.flags if tensor.requires_grad is not flag
        ]  # fmt: skip
        broken += [f"{one.name} held other tensors" for one in self.rebindings if not one.fits]
        changed = self.surroundings.changed()
        other = f"{changed} was another" if changed else "it fits"
        return f"{broken[0]} during capture and now is not" if broken else self._rebind() or other

    def _rebind(self) -> str:
        for holder in self.holders:
            array = holder.read()
            if array.buffer is not holder.array.buffer:
                if array.layout != holder.array.layout or array.dtype is not holder.array.dtype:
                    return f"{holder.what} was replaced by another"
                if array.device is not holder.array.device:
                    return f"{holder.what} was moved to {array.device}"
                self.execution.bind(holder.storage, array.buffer)
                holder.array = array
        return ""

    def run(self, inputs: list[Tensor]) -> Any:
        for storage, tensor in zip(self.inputs, inputs, strict=True):
            self.execution.bind(storage, tensor.array.buffer)
        for update in self.forgotten:  # so that its memory is free for the new one
            update.target(inputs).grad = None
        for renew in self.renewals:
            renew()
        results = self.execution.run()
        self.execution.release(self.inputs)
        for update in self.updates:
            tensor = update.target(inputs)
            if update.result is None:
                tensor.grad = None
            elif update.attribute == "array":
                tensor.array = results[update.result]
            else:
                tensor.grad = Tensor(results[update.result])
        for one in self.rebindings:
            one.assign(results)
        leaves = [leaf.made(results, inputs) if isinstance(leaf, _Leaf) else leaf for leaf in self.leaves]
        return unflatten(self.shape, leaves)

    def summary(self) -> str:
        memory = self.execution.memory
        return (
            f"{len(self.captured.nodes)} kernels became {len(self.graph.nodes)}, "
            f"{_mib(self.captured.nbytes)} became {_mib(self.graph.nbytes)}, planned memory {_mib(memory.nbytes)}"
        )

    def explain(self) -> str:
        memory = self.execution.memory
        lines = [f"  {'captured':24} {len(self.captured.nodes):6} kernels  {_mib(self.captured.nbytes)} moved"]
        lines += [f"  {name:24} {nodes:6} kernels  {_mib(nbytes)} moved" for name, nodes, nbytes in self.stages]
        lines.append(
            f"  memory of temporaries: {_mib(memory.unshared)} if each had its own, "
            f"{_mib(max(alive(self.captured), default=0))} alive at once as captured, {_mib(memory.nbytes)} planned"
        )
        lines += [f"  {note}" for note in getattr(self.execution, "notes", ())]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Leaf:
    """A leaf of what the function returns: one of its arguments, or a result of the graph."""

    argument: int | None
    result: int
    wrapped: bool  # a Tensor and not an NDArray

    def made(self, results: list[NDArray], inputs: list[Tensor]) -> Any:
        if self.argument is not None:
            return inputs[self.argument]
        return Tensor(results[self.result]) if self.wrapped else results[self.result]


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:.2f} MiB"


def capture(
    function: Callable[..., Any], arguments: tuple[Any, Any], inputs: list[Tensor], known: list[Tensor],
    by: "Making",
) -> tuple[Any, Program]:  # fmt: skip
    """Run a function and record it: what it returns, and the program. Inputs are compacted."""
    args, kwargs = arguments
    recorder = Recorder([tensor.array for tensor in inputs], known)
    recorder.arguments[:] = map(ref, inputs)
    surroundings = Surroundings(function, [x for x in flatten(arguments)[0] if not isinstance(x, Tensor)])
    with recording(recorder):
        result = function(*args, **kwargs)
    leaves, shape = flatten(result, lambda leaf: isinstance(leaf, Tensor | NDArray))
    operands: list[Operand] = []
    returned = [_returned(leaf, recorder, inputs, operands) for leaf in leaves]
    updates = _updates(recorder, inputs, operands)
    rebindings = rebound(surroundings, recorder, operands)
    for x in operands:
        recorder.freshen(x)
    changed, drawn = surroundings.changed(), surroundings.drawn()
    passing = f"{changed} changed while it ran" if changed else f"it draws {drawn} random numbers" if drawn else ""
    passing = passing or recorder.passing
    if surroundings.iterator and not passing:
        passing = f"{surroundings.iterator} is an iterator, from which no replay draws; pass what it gives instead"
    graph = verify(Graph(list(recorder.nodes), operands))
    improved, stages = improve(graph, by.disable, by.passes)
    execution = by.execution(improved)
    given = set(map(id, inputs))
    outside = [seen for seen in recorder.seen.values() if id(seen.tensor) not in given]  # arguments are not kept
    flags = [(seen.tensor, seen.requires_grad) for seen in outside]
    program = Program(
        graph, improved, stages, execution, recorder.inputs, list(recorder.holders.values()), recorder.guards,
        recorder.renewals, updates, outside, shape, returned, flags, surroundings, rebindings,
        recorder.arguments, passing,
    )  # fmt: skip
    _detach(graph, improved)
    return result, program


@dataclass(frozen=True)
class Making:
    """How a captured graph is made to run: the passes that it goes through, and what it is run by."""

    disable: frozenset[str] = frozenset()
    passes: tuple[str, ...] = tuple(PASSES)
    execution: Callable[[Graph], Any] = Execution


def known_passes(names: Any) -> frozenset[str]:
    """These names of passes; raises where one is none."""
    if not isinstance(names, Iterable):
        raise ArgumentError(f"compile: disable takes names of passes, not {names!r}")
    given: frozenset[str] = frozenset(names)
    unknown = sorted(map(str, given - PASSES.keys()))
    if unknown:
        raise GraphError(f"compile: no pass {unknown[0]!r}; there are {', '.join(PASSES)}")
    return given


def improve(
    graph: Graph, disable: frozenset[str] = frozenset(), passes: tuple[str, ...] = tuple(PASSES)
) -> tuple[Graph, list[tuple[str, int, int]]]:
    """Passes, one after another, and what each left."""
    stages, most_alive = [], max(alive(graph), default=0)
    for name, run in PASSES.items():
        if name in passes and name not in disable:
            graph = verify(run(replace(graph, most_alive=most_alive)))
            stages.append((name, len(graph.nodes), graph.nbytes))
    return graph, stages


def _returned(leaf: Any, recorder: Recorder, inputs: list[Tensor], operands: list[Operand]) -> Any:
    """A leaf of the function's result: an argument, a number among the graph's results, or what it is."""
    place = next((i for i, tensor in enumerate(inputs) if tensor is leaf), None)
    if place is not None or any(seen.tensor is leaf for seen in recorder.seen.values()):
        return leaf if place is None else _Leaf(place, 0, True)
    if isinstance(leaf, Tensor) and leaf.node is not None and not leaf.node.released:
        raise GraphError(
            f"compile: a result of shape {leaf.shape} could still be differentiated; call backward() inside the "
            "function, or run it under needle.no_grad()"
        )
    if isinstance(leaf, Iterator):
        raise GraphError("compile: a result is an iterator, which would be at its end after a replay; return a list")
    if isinstance(leaf, Tensor | NDArray):
        array = leaf.array if isinstance(leaf, Tensor) else leaf
        if recorder.is_foreign(array):
            return leaf
        operands.append(recorder.operand(array))
        return _Leaf(None, len(operands) - 1, isinstance(leaf, Tensor))
    if any(isinstance(value, Tensor) and id(value.array.buffer) in recorder.made for value in _attributes(leaf)):
        raise GraphError(
            f"compile: a result is a {type(leaf).__name__} that holds tensors, which a replay would not make anew; "
            "return tensors, or tuples, lists, dicts or dataclasses of them"
        )
    return leaf


def _attributes(thing: Any) -> list[Any]:
    return list(getattr(thing, "__dict__", {}).values())


def _updates(recorder: Recorder, inputs: list[Tensor], operands: list[Operand]) -> list[Update]:
    """What the function did to tensors from outside other than writing into their memory."""
    places = {id(tensor): i for i, tensor in enumerate(inputs)}
    updates = []
    for seen in recorder.seen.values():
        tensor, place = seen.tensor, places.get(id(seen.tensor))
        target = (lambda _, t=tensor: t) if place is None else (lambda given, i=place: given[i])
        if tensor.array is not seen.array:
            operands.append(recorder.operand(tensor.array))
            updates.append(Update(target, "array", len(operands) - 1))
        if tensor.grad is not seen.grad or (seen.forgotten and tensor.grad is not None):
            result = None
            if tensor.grad is not None:
                operands.append(recorder.operand(tensor.grad.array))
                result = len(operands) - 1
            updates.append(Update(target, "grad", result, seen.forgotten))
    return updates


def _detach(*graphs: Graph) -> None:
    """Let go of the memory that the capture used for temporaries and inputs."""
    for graph in graphs:
        for storage in graph.storages():
            if storage.role in (Role.TEMPORARY, Role.INPUT):
                storage.buffer = None

"""Program: a captured function, ready to run again; and how it is captured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from needle.errors import GraphError
from needle.face import Tensor
from needle.ndarray import NDArray
from needle.program.capture import Guard, Holder, Recorder, Seen, recording
from needle.program.graph import Graph, Operand, Role, Storage, verify
from needle.program.passes import PASSES
from needle.program.plan import Execution
from needle.trees import flatten, unflatten


@dataclass(eq=False)
class Update:
    """A tensor from outside that gets a new array, or a new gradient, at each replay."""

    target: Callable[[list[Tensor]], Tensor]
    attribute: str  # "array" or "grad"
    result: int | None  # which of the graph's results it gets; None: no gradient


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
    leaves: list[Any]  # what it returns: numbers of results, or other things as they are

    def fits(self) -> bool:
        """Whether the world outside is as it was during capture; memory that was replaced is bound anew."""
        return not self._rebind() and all(guard.holds for guard in self.guards)

    def misfit(self) -> str:
        """Why it does not."""
        broken = [guard.what for guard in self.guards if not guard.holds]
        return self._rebind() or (f"{broken[0]} during capture and now is not" if broken else "it fits")

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
        leaves = [Tensor(results[leaf.number]) if isinstance(leaf, _Result) else leaf for leaf in self.leaves]
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
            f"  memory of temporaries: {_mib(memory.unshared)} if each had its own, {_mib(memory.nbytes)} planned"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Result:
    number: int


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:.2f} MiB"


def capture(
    function: Callable[..., Any], arguments: tuple[Any, Any], inputs: list[Tensor], known: list[Tensor],
    disable: frozenset[str],
) -> tuple[Any, Program]:  # fmt: skip
    """Run a function and record it: what it returns, and the program. Inputs are compacted."""
    args, kwargs = arguments
    recorder = Recorder([tensor.array for tensor in inputs], known)
    with recording(recorder):
        result = function(*args, **kwargs)
    leaves, shape = flatten(result, lambda leaf: isinstance(leaf, Tensor | NDArray))
    operands: list[Operand] = []
    returned = [_returned(leaf, recorder, operands) for leaf in leaves]
    updates = _updates(recorder, inputs, operands)
    graph = verify(Graph(list(recorder.nodes), operands))
    improved, stages = improve(graph, disable)
    execution = Execution(improved)
    program = Program(
        graph, improved, stages, execution, recorder.inputs, list(recorder.holders.values()), recorder.guards,
        recorder.renewals, updates, list(recorder.seen.values()), shape, returned,
    )  # fmt: skip
    _detach(graph, improved)
    return result, program


def improve(graph: Graph, disable: frozenset[str] = frozenset()) -> tuple[Graph, list[tuple[str, int, int]]]:
    """All passes, one after another, and what each left."""
    unknown = disable - PASSES.keys()
    if unknown:
        raise GraphError(f"compile: no pass {min(unknown)!r}; there are {', '.join(PASSES)}")
    stages = []
    for name, run in PASSES.items():
        if name not in disable:
            graph = verify(run(graph))
            stages.append((name, len(graph.nodes), graph.nbytes))
    return graph, stages


def _returned(leaf: Any, recorder: Recorder, operands: list[Operand]) -> Any:
    """A leaf of the function's result: a number among the graph's results, or what it is."""
    if isinstance(leaf, Tensor) and leaf.node is not None and not leaf.node.released:
        raise GraphError(
            f"compile: a result of shape {leaf.shape} could still be differentiated; call backward() inside the "
            "function, or run it under needle.no_grad()"
        )
    if isinstance(leaf, Tensor | NDArray):
        operands.append(recorder.operand(leaf.array if isinstance(leaf, Tensor) else leaf))
        return _Result(len(operands) - 1)
    return leaf


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
            updates.append(Update(target, "grad", result))
    return updates


def _detach(*graphs: Graph) -> None:
    """Let go of the memory that the capture used for temporaries and inputs."""
    for graph in graphs:
        for storage in graph.storages():
            if storage.role in (Role.TEMPORARY, Role.INPUT):
                storage.buffer = None

"""Execution of a graph through dispatch, on any device: the plan of each node is found once and called again.

Temporaries lie in one arena per device, at the offsets that memory planning chose; results get memory of their own in
each run; inputs and states are bound to the buffers that hold them now.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any

from needle import dispatch
from needle.layout import Layout
from needle.live import has_live, read
from needle.ndarray import NDArray
from needle.program.graph import Graph, Node, Operand, Role, Storage, map_operands
from needle.program.memory import Plan, plan_memory


class Execution:
    """A graph made ready to run again and again."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.own = {x.storage for x in graph.results if x.storage.role is Role.TEMPORARY}
        self.memory: Plan = plan_memory(graph, self.own)
        self.views: dict[Storage, list[NDArray]] = {}
        self.arenas: dict[Any, Any] = {}
        self.steps = [self._step(node) for node in graph.nodes]
        self.results = [self._view(x) for x in graph.results]
        for storage, views in self.views.items():
            if storage.role is Role.TEMPORARY and storage not in self.own:
                self._set(views, self._arena(storage.device))
        self.runs = self._joined()

    def bind(self, storage: Storage, buffer: Any) -> None:
        """Let a storage from outside be this buffer from now on."""
        self._set(self.views.get(storage, []), buffer)

    def release(self, storages: Any) -> None:
        """Let go of the buffers of inputs and results."""
        for storage in storages:
            self._set(self.views.get(storage, []), None)

    def run(self) -> list[NDArray]:
        """Run all nodes; the results, each in fresh memory or in that of an input or state."""
        for storage in self.own:
            self.bind(storage, dispatch.dispatcher(storage.device).allocate(storage.nbytes))
        if dispatch.observers:
            for step in self.steps:
                dispatch.run(step.device, step.op, *step.arguments())
        else:
            for run in self.runs:
                run()
        found = [NDArray(v.buffer, v.layout, v.dtype, v.device) for v in self.results]
        self.release(self.own)
        return found

    @staticmethod
    def _set(views: list[NDArray], buffer: Any) -> None:
        for view in views:
            view.buffer = buffer

    def _arena(self, device: Any) -> Any:
        if device not in self.arenas:
            self.arenas[device] = dispatch.dispatcher(device).allocate(self.memory.sizes[device])
        return self.arenas[device]

    def _step(self, node: Node) -> "_Step":
        args = tuple(map_operands(arg, self._view) for arg in node.args)
        return _Step(node, args, *dispatch.dispatcher(node.device).route(node.op, args))

    def _view(self, x: Operand) -> NDArray:
        """A view that lies where its storage does; its buffer may come later."""
        offset = self.memory.offsets.get(x.storage, 0) // x.dtype.itemsize
        layout = Layout(x.layout.shape, x.layout.strides, x.layout.offset + offset) if offset else x.layout
        view = NDArray(x.storage.buffer, layout, x.dtype, x.storage.device)
        self.views.setdefault(x.storage, []).append(view)
        return view

    def _joined(self) -> list[Callable[[], None]]:
        """What to call: neighbouring native steps of one device as one call, where the backend joins them."""
        runs: list[Callable[[], None]] = []
        for (device, joins), steps in groupby(self.steps, lambda step: (step.device, step.joins)):
            group = list(steps)
            joined = self._sequence(device, group) if joins and len(group) > 1 else None
            runs += [step.run for step in group] if joined is None else [joined]
        return runs

    def _sequence(self, device: Any, steps: "list[_Step]") -> Callable[[], None] | None:
        moving = [
            view for storage, views in self.views.items() for view in views
            if storage.role in (Role.INPUT, Role.STATE) or storage in self.own
        ]  # fmt: skip
        before = [view.buffer for view in moving]
        self._set(moving, dispatch.dispatcher(device).backend.allocate(0))  # to be prepared with, and never touched
        try:
            return dispatch.dispatcher(device).backend.sequence([(step.op, step.args) for step in steps], moving)
        finally:
            for view, buffer in zip(moving, before, strict=True):
                view.buffer = buffer


class _Step:
    """A node ready to be called: the way that dispatch found, and the arguments."""

    __slots__ = ("args", "device", "fixed", "joins", "op", "plan")

    def __init__(self, node: Node, args: tuple[Any, ...], path: str, plan: Any) -> None:
        self.op, self.device, self.args, self.plan = node.op, node.device, args, plan
        self.fixed = not any(map(has_live, args))
        native = path == "native" and plan == getattr(dispatch.dispatcher(node.device).backend, node.op)
        self.joins = self.fixed and native

    def arguments(self) -> tuple[Any, ...]:
        return self.args if self.fixed else tuple(map(read, self.args))

    def run(self) -> None:
        self.plan(*self.arguments())

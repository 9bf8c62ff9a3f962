"""Execution of a graph through dispatch, on any device: the plan of each node is found once and called again.

Temporaries lie in one arena per device, at the offsets that memory planning chose; results get memory of their own in
each run; inputs and states are bound to the buffers that hold them now. On devices that record work, inputs and results
stay where they are as far as that goes (`steady.py`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from needle import dispatch
from needle.backend import Recording
from needle.layout import Layout
from needle.live import has_live, read
from needle.ndarray import NDArray
from needle.program.graph import Graph, Node, Operand, Role, Storage, map_operands
from needle.program.memory import Plan, plan_memory
from needle.program.order import order
from needle.program.steady import Steady


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
        self.recorded: list[_Recorded] = []
        self.runs = self._joined()
        self.steady = Steady(graph) if self.recorded else None

    def bind(self, storage: Storage, buffer: Any) -> None:
        """Let a storage from outside be this buffer from now on."""
        views = self.views.get(storage)
        if views is None or views[0].buffer is buffer:
            return
        if self.steady is not None and storage.role is Role.INPUT:
            buffer = self.steady.input(storage, buffer)
        self._set(views, buffer)

    @property
    def notes(self) -> list[str]:
        """What the devices say of their recordings, and what they keep beside the buffers."""
        kept: dict[Any, int] = {}
        for storage, views in self.views.items():
            kept[storage.device] = kept.get(storage.device, 0) + getattr(views[0].buffer, "packed", 0)
        copies = [f"{d}: packed copies of weights, {n / 2**20:.2f} MiB" for d, n in kept.items() if n]
        return [recorded.note for recorded in self.recorded] + copies

    def release(self, storages: Any) -> None:
        """Let go of the buffers of inputs and results, unless a recording is to find them again."""
        if self.steady is None:
            for storage in storages:
                self._set(self.views.get(storage, []), None)

    def run(self) -> list[NDArray]:
        """Run all nodes; the results, each in fresh memory or in that of an input or state."""
        for storage in self.own:
            self.bind(storage, self._memory(storage))
        if dispatch.observers:
            for step in self.steps:
                dispatch.run(step.device, step.op, *step.arguments())
        else:
            for run in self.runs:
                run()
        found = [NDArray(v.buffer, v.layout, v.dtype, v.device) for v in self.results]
        if self.steady is not None:
            self.steady.copy_out(found, self.graph.results)
        self.release(self.own)
        return found

    def _memory(self, storage: Storage) -> Any:
        """For a result."""
        if self.steady is not None:
            return self.steady.result(storage, len(self.views[storage]))
        return dispatch.allocate(storage.device, storage.nbytes)

    @staticmethod
    def _set(views: list[NDArray], buffer: Any) -> None:
        for view in views:
            view.buffer = buffer

    def _arena(self, device: Any) -> Any:
        if device not in self.arenas:
            self.arenas[device] = dispatch.allocate(device, self.memory.sizes.get(device, 0))
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
        after: list[tuple[int, ...]] | None = None
        start = 0
        for (device, joins), steps in groupby(self.steps, lambda step: (step.device, step.joins)):
            group = list(steps)
            joined: Callable[[], None] | None = None
            if joins and len(group) > 1:
                if dispatch.dispatcher(device).backend.implements("recording"):
                    after = order(self.graph.nodes, self.memory) if after is None else after
                    within = [[i - start for i in those if i >= start] for those in after[start : start + len(group)]]
                    joined = self._recording(device, group, within)
                if joined is None and all(step.fixed for step in group):
                    joined = self._sequence(device, group)
            runs += [step.run for step in group] if joined is None else [joined]
            start += len(group)
        return runs

    def _sequence(self, device: Any, steps: "list[_Step]") -> Callable[[], None] | None:
        with self._prepared(device) as moving:
            return dispatch.dispatcher(device).backend.sequence([(step.op, step.args) for step in steps], moving)

    def _recording(self, device: Any, steps: "list[_Step]", after: list[list[int]]) -> Callable[[], None] | None:
        with self._prepared(device) as moving:
            calls = [(step.op, step.arguments()) for step in steps]
            recording = dispatch.dispatcher(device).backend.recording(calls, moving, after)
        if recording is None:
            return None
        self.recorded.append(_Recorded(recording, steps, f"{device}: "))
        return self.recorded[-1]

    @contextmanager
    def _prepared(self, device: Any) -> Iterator[list[NDArray]]:
        """The views whose buffers change between runs, with one that is never touched."""
        moving = [
            view for storage, views in self.views.items() for view in views
            if storage.role in (Role.INPUT, Role.STATE) or storage in self.own
        ]  # fmt: skip
        before = [view.buffer for view in moving]
        self._set(moving, dispatch.dispatcher(device).backend.allocate(0))
        try:
            yield moving
        finally:
            for view, buffer in zip(moving, before, strict=True):
                view.buffer = buffer


class _Recorded:
    """A recording, and the steps in it whose numbers are read anew at each run."""

    def __init__(self, recording: Recording, steps: "list[_Step]", prefix: str) -> None:
        self.recording, self.prefix = recording, prefix
        self.live = [(i, step) for i, step in enumerate(steps) if not step.fixed]
        self.numbers = [step.numbers() for _, step in self.live]

    @property
    def note(self) -> str:
        return self.prefix + self.recording.note

    def __call__(self) -> None:
        for at, (call, step) in enumerate(self.live):
            now = step.numbers()
            if now != self.numbers[at]:
                self.recording.update(call, step.arguments())
                self.numbers[at] = now
        self.recording.run()


class _Step:
    """A node ready to be called: the way that dispatch found, and the arguments."""

    __slots__ = ("args", "device", "fixed", "joins", "live", "op", "plan")

    def __init__(self, node: Node, args: tuple[Any, ...], path: str, plan: Any) -> None:
        self.op, self.device, self.args, self.plan = node.op, node.device, args, plan
        self.live = [arg for arg in args if has_live(arg)]
        self.fixed = not self.live
        backend = dispatch.dispatcher(node.device).backend
        native = path == "native" and plan == getattr(backend, node.op)
        self.joins = native and (self.fixed or backend.implements("recording"))

    def arguments(self) -> tuple[Any, ...]:
        return self.args if self.fixed else tuple(map(read, self.args))

    def numbers(self) -> list[Any]:
        """The arguments that are read anew, as they are now."""
        return [read(arg) for arg in self.live]

    def run(self) -> None:
        self.plan(*self.arguments())

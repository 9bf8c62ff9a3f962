"""Running a translated graph in place of Needle's own plan.

Buffers go in without a copy, as tensors over the same memory, and results come out of the last functions straight into
Needle's buffers. Copies are left where a state is updated (other functions may still read what it was), and where
memory is not aligned to 64 bytes, which the device `numpy` does not promise.
"""

import os
from typing import Any

import numpy as np

from needle import dispatch, live
from needle.layout import Layout
from needle.ndarray import NDArray
from needle.program.graph import Graph, Operand, Role, Storage
from needle.program.memory import Plan
from needle_tvm import memory, pipeline
from needle_tvm.translate import Style, to_relax


class TvmExecution:
    """A graph on Relax's virtual machine, with the methods that a program asks of its execution.

    `module`, `fused` and `final` are the module as translated, after fusion, and as built.
    """

    def __init__(
        self, graph: Graph, *, style: Style = "te", tune: int = 0, folder: str | os.PathLike[str] = "needle-tvm",
        scheduled: bool = True, threads: int | None = None,
    ) -> None:  # fmt: skip
        for storage in graph.storages():
            memory.check_host(storage.device)
        self.graph = graph
        self.memory = Plan({}, {}, 0)  # the virtual machine plans its own
        self.translation = to_relax(graph, style, constants=False)
        self.module = self.translation.module
        self.fused = pipeline.fuse(self.module)
        self.final = pipeline.tune(self.fused, tune, folder, threads) if tune else self.fused
        self.final = pipeline.schedule(self.final) if scheduled else self.final
        places = [i for i, x in enumerate(graph.results) if x.storage.role is Role.TEMPORARY and x.layout.size]
        built, self.direct = pipeline.into_outputs(self.final, places)
        self.main = pipeline.build(built, threads)["main"]
        self.shapes = dict(zip(self.translation.parameters, self.translation.shapes, strict=True))
        self.buffers: dict[Storage, Any] = {s: s.buffer for s in self.shapes if s.role is Role.STATE}
        self.states: dict[Storage, Any] = {}  # tensors over states, which stay from call to call

    def bind(self, storage: Storage, buffer: Any) -> None:
        """Let a storage from outside be this buffer from now on."""
        self.buffers[storage] = buffer
        self.states.pop(storage, None)

    def release(self, storages: Any) -> None:
        """Let go of the buffers of inputs."""
        for storage in storages:
            self.buffers.pop(storage, None)

    def run(self) -> list[NDArray]:
        """Run it; the results, each in fresh memory or in that of an input or state."""
        results = [self._place(x) for x in self.graph.results]
        outputs = [memory.shared(_array(results[i])) for i in self.direct]
        spare = [memory.empty(_array(results[i])) if out is None else out
                 for i, out in zip(self.direct, outputs, strict=True)]  # fmt: skip
        arguments = [self._tensor(s) for s in self.translation.parameters]
        numbers = [memory.given(memory.one(live.read(number))) for number in self.translation.numbers]
        given = self.main(*arguments, *numbers, *spare)
        parts = list(given) if len(results) + len(self.translation.written) > 1 else [given]
        filled = {i for i, out in zip(self.direct, outputs, strict=True) if out is not None}
        for i, x in enumerate(self.graph.results):
            if x.storage.role is Role.TEMPORARY and i not in filled:
                np.copyto(_array(results[i]), parts[i].numpy())
        for storage, part in zip(self.translation.written, parts[len(results) :], strict=True):
            np.copyto(self._array(storage), part.numpy())
        return results

    def _tensor(self, storage: Storage) -> Any:
        if storage in self.states:
            return self.states[storage]
        array = self._array(storage)
        tensor = memory.shared(array)
        if tensor is None:
            return memory.given(array)
        if storage.role is Role.STATE:
            self.states[storage] = tensor
        return tensor

    def _array(self, storage: Storage) -> memory.Array:
        return memory.host_array(storage.device, self.buffers[storage], *self.shapes[storage])

    def _place(self, x: Operand) -> NDArray:
        """Where a result goes, or has always been."""
        if x.storage.role is Role.TEMPORARY:
            buffer = dispatch.allocate(x.storage.device, x.layout.size * x.dtype.itemsize)
            return NDArray(buffer, Layout.compact(x.layout.shape), x.dtype, x.storage.device)
        return NDArray(self.buffers.get(x.storage, x.storage.buffer), x.layout, x.dtype, x.storage.device)


def _array(x: NDArray) -> memory.Array:
    return memory.host_array(x.device, x.buffer, x.layout.shape, x.dtype)

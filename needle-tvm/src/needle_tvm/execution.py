"""Running a translated graph in place of Needle's own plan: buffers go in and out without a copy where they can."""

import os
from typing import Any

import numpy as np

import needle
from needle import dispatch
from needle.dtype import numpy_dtype
from needle.errors import DeviceError
from needle.layout import Layout
from needle.ndarray import NDArray
from needle.program.graph import Graph, Operand, Role, Storage
from needle.program.memory import Plan
from needle_tvm import pipeline
from needle_tvm.translate import Style, to_relax


class TvmExecution:
    """A graph on Relax's virtual machine, with the methods that a program asks of its execution."""

    def __init__(
        self, graph: Graph, *, style: Style = "te", tune: int = 0, folder: str | os.PathLike[str] = "needle-tvm",
        scheduled: bool = True, threads: int | None = None,
    ) -> None:  # fmt: skip
        devices = {s.device for s in graph.storages()}
        for device in devices:
            if dispatch.dispatcher(device).backend.host_view(dispatch.dispatcher(device).allocate(1)) is None:
                raise DeviceError(f"compile: tvm runs on the processor, and {device} has no memory on the host")
        self.graph = graph
        self.memory = Plan({}, {}, 0)
        self.translation = to_relax(graph, style, constants=False)
        self.module = self.translation.module
        self.fused = pipeline.fuse(self.module)
        self.final = pipeline.tune(self.fused, tune, folder, threads) if tune else self.fused
        self.final = pipeline.schedule(self.final) if scheduled else self.final
        self.machine = pipeline.build(self.final, threads)
        self.buffers: dict[Storage, Any] = {
            s: s.buffer for s in self.translation.parameters if s.role is Role.STATE
        }
        self.views: dict[Storage, NDArray] = {}

    def bind(self, storage: Storage, buffer: Any) -> None:
        self.buffers[storage] = buffer

    def release(self, storages: Any) -> None:
        for storage in storages:
            self.buffers.pop(storage, None)

    def run(self) -> list[NDArray]:
        import tvm  # noqa: PLC0415  here it is loaded long since

        arguments = [tvm.runtime.from_dlpack(self._host(s)) for s in self.translation.parameters]
        given = self.machine["main"](*arguments)
        parts = [given] if hasattr(given, "numpy") else list(given)
        results = [self._result(x, part) for x, part in zip(self.graph.results, parts, strict=False)]
        for storage, part in zip(self.translation.written, parts[len(results) :], strict=True):
            np.copyto(self._host(storage), part.numpy().reshape(self._host(storage).shape))
        return results

    def _host(self, storage: Storage) -> Any:
        """The memory of a storage as a NumPy array of the shape in which it is a parameter."""
        variable = self.translation.parameters.index(storage)
        kind = self.module["main"].params[variable].ty
        dtype = needle.dtype.as_dtype(str(kind.dtype))
        bytes_ = dispatch.dispatcher(storage.device).backend.host_view(self.buffers[storage])
        return np.frombuffer(bytes_, numpy_dtype(dtype)).reshape([int(n) for n in kind.shape])  # type: ignore[arg-type]

    def _result(self, x: Operand, part: Any) -> NDArray:
        """A result in memory of Needle's own."""
        out = needle.ndarray.empty(x.layout.shape, x.dtype, x.storage.device)
        bytes_ = dispatch.dispatcher(out.device).backend.host_view(out.buffer)
        if out.size:
            np.frombuffer(bytes_, numpy_dtype(x.dtype))[:] = part.numpy().reshape(-1)  # type: ignore[arg-type]
        return out.viewed(Layout.compact(x.layout.shape))

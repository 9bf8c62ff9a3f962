"""Memory that stays where it is: what a device has recorded repeats itself at the addresses of the recording.

An input that lies elsewhere again and again is from then on copied to a place of its own. A result is written where the
last one was, if nobody has that any more; a result that people keep is written to a place of its own and copied.
"""

import sys
from typing import Any

from needle import dispatch
from needle.backend import View
from needle.dtype import uint8
from needle.layout import Layout
from needle.ndarray import NDArray
from needle.program.graph import Graph, Operand, Role, Storage

PATIENCE = 2  # how often an input or a result may be elsewhere before it is copied
_REFERENCES = {"a buffer": object()}
_ALONE = sys.getrefcount(_REFERENCES["a buffer"])  # what is counted of an object that a dict alone has


class Steady:
    """Where the inputs and results of one graph lie."""

    def __init__(self, graph: Graph) -> None:
        written = {x.storage for node in graph.nodes for x in node.writes}
        returned = {x.storage for x in graph.results}
        self.fixed = written | returned  # inputs whose own memory is meant
        self.moves: dict[Storage, int] = {}
        self.last: dict[Storage, int] = {}  # the identity of an input's buffer at the last run
        self.kept: dict[Storage, Any] = {}  # the memory of results
        self.places: dict[Storage, Any] = {}  # of what is copied

    def input(self, storage: Storage, buffer: Any) -> Any:
        """The buffer to read an input from."""
        if storage not in self.places:
            if self.last.get(storage) == id(buffer):
                return buffer
            self.last[storage] = id(buffer)
            if storage in self.fixed or not self._moved(storage):
                return buffer
        _copy(storage, self.places[storage], buffer)
        return self.places[storage]

    def result(self, storage: Storage, views: int) -> Any:
        """The buffer to write a result to; so many views of the program hold the last one."""
        if storage in self.places:
            return self.places[storage]
        if storage not in self.kept:
            self.kept[storage] = _allocate(storage)
        elif sys.getrefcount(self.kept[storage]) > _ALONE + views:
            if self._moved(storage):
                del self.kept[storage]
                return self.places[storage]
            self.kept[storage] = _allocate(storage)
        return self.kept[storage]

    def copy_out(self, arrays: list[NDArray], results: list[Operand]) -> None:
        """Give the results that were written to a place of their own new memory, to which they are copied."""
        if not self.places:
            return
        made: dict[Storage, Any] = {}
        for array, result in zip(arrays, results, strict=True):
            storage = result.storage
            if storage.role is Role.TEMPORARY and storage in self.places:
                if storage not in made:
                    made[storage] = _allocate(storage)
                    _copy(storage, made[storage], self.places[storage])
                array.buffer = made[storage]

    def _moved(self, storage: Storage) -> bool:
        """Count a move; true if it was one too many, and there is a place for the storage now."""
        self.moves[storage] = self.moves.get(storage, 0) + 1
        if self.moves[storage] <= PATIENCE:
            return False
        self.places[storage] = _allocate(storage)
        return True


def _allocate(storage: Storage) -> Any:
    return dispatch.allocate(storage.device, storage.nbytes)


def _copy(storage: Storage, dst: Any, src: Any) -> None:
    if storage.nbytes:
        layout = Layout.compact((storage.nbytes,))
        dispatch.dispatcher(storage.device).backend.copy(View(dst, layout, uint8), View(src, layout, uint8))

"""Which ops a function of Tensors runs, with the shapes of their inputs and results."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

from needle.op import Op
from needle.shape import Shape

_TENSOR = import_module("needle.tensor")  # `needle.tensor` itself is the function that makes one

Seen = list[tuple[Op, tuple[Shape, ...], Shape]]


@contextmanager
def ops_seen() -> Iterator[Seen]:
    """Every op that is applied inside the block."""
    seen: Seen = []
    record = _TENSOR._recorded

    def watched(op: Op, result: Any, inputs: Any) -> Any:
        seen.append((op, tuple(x.shape for x in inputs), result.shape))
        return record(op, result, inputs)

    with patch.object(_TENSOR, "_recorded", watched):
        yield seen

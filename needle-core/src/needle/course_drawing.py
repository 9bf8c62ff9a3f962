"""A picture of the course's graph: its values as boxes, with the norms of the gradients that they have."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from needle.course_op import Adapted
from needle.drawing import Box, Picture, Role
from needle.graph import sum_of_squares


class Sketch:
    """Values in topological order, to be drawn. `names` are written into the leaves."""

    def __init__(self, order: Sequence[Any], names: Mapping[str, Any]) -> None:
        self.order = order
        self.titles = {id(tensor): name for name, tensor in names.items()}

    def picture(self, **limits: float) -> Picture:
        places = {id(value): i for i, value in enumerate(self.order)}
        arrows = [(places[id(x)], places[id(value)]) for value in self.order for x in dict.fromkeys(value.inputs)]
        return Picture([self._box(value) for value in self.order], arrows, **limits)

    def _box(self, value: Any) -> Box:
        data = value.realize_cached_data()
        detail = f"{len(data)} values" if isinstance(data, tuple) else f"{tuple(data.shape)} {data.dtype}"
        if value.op is not None:
            role, title = Role.OP, value.op.op.name if isinstance(value.op, Adapted) else type(value.op).__name__
        else:
            role, title = (Role.LEAF, "leaf") if value.requires_grad else (Role.CONSTANT, "data")
        return Box(self.titles.get(id(value), title), detail, role, title, _norm(value.grad))


def _norm(grad: Any) -> float | None:
    """Of a gradient; a TensorTuple's is that of all its parts together."""
    if grad is None:
        return None
    parts = grad.tuple() if hasattr(grad, "tuple") else (grad,)
    return math.sqrt(sum(sum_of_squares(part).item() for part in parts))

"""Tensors that a function puts into the place of others: an attribute or global such as a recurrent network's state."""

from functools import partial
from typing import Any

from needle.face import Tensor
from needle.ndarray import NDArray
from needle.program.capture import Recorder
from needle.program.graph import Operand
from needle.program.surroundings import Place, Surroundings
from needle.trees import flatten, unflatten


class Rebound:
    """A name whose tensors each call replaces by others of the same shapes. A replay reads those that are there, which
    somebody may have replaced meanwhile, and puts its own in their place."""

    def __init__(self, where: Place, name: str, shape: Any, results: list[int]) -> None:
        self.where, self.name, self.shape, self.results = where, name, shape, results

    @property
    def fits(self) -> bool:
        """Whether there still are tensors, nested as they were, that nobody could differentiate."""
        leaves, shape = flatten(self.where.get(self.name))
        return shape == self.shape and all(map(_is_plain, leaves))

    def array(self, number: int) -> NDArray:
        """Of one of the tensors that are there."""
        array: NDArray = flatten(self.where[self.name])[0][number].array
        return array

    def assign(self, results: list[NDArray]) -> None:
        self.where[self.name] = unflatten(self.shape, [Tensor(results[i]) for i in self.results])


def rebound(surroundings: Surroundings, recorder: Recorder, operands: list[Operand]) -> list[Rebound]:
    """What the function that was recorded put into the place of tensors; adds it to the graph's results, and lets the
    recorder's holders look where the tensors will be. What else changed stays with the surroundings."""
    found = []
    for where, name, before in surroundings.replaced():
        old, shape = flatten(before)
        new, shape_now = flatten(where.get(name))
        made = all(_is_plain(x) and not recorder.is_foreign(x.array) for x in new)
        if not old or shape != shape_now or not made or not all(map(_is_plain, old)):
            continue
        if any(a.array.layout != b.array.layout or a.dtype is not b.dtype for a, b in zip(old, new, strict=True)):
            continue
        first = len(operands)
        operands += [recorder.operand(x.array) for x in new]
        one = Rebound(where, name, shape, list(range(first, len(operands))))
        for number, tensor in enumerate(old):
            holder = recorder.holders.get(id(tensor.array.buffer))
            if holder is not None:
                holder.what, holder.read = f"{name}", partial(one.array, number)
        surroundings.ignore(where, name)
        found.append(one)
    return found


def _is_plain(x: Any) -> bool:
    """Whether it is a tensor that nothing could be differentiated through."""
    return isinstance(x, Tensor) and not x.requires_grad and getattr(x, "node", None) is None

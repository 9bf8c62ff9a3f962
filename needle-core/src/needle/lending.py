"""Arguments of compiled functions that lie in memory otherwise than programs take them: lent as copies for a call."""

from typing import Any

from needle.errors import GraphError
from needle.face import Tensor
from needle.ndarray import NDArray
from needle.trees import flatten, unflatten


class Lent:
    """The leaves of a call's arguments, those that are not contiguous, or not at the beginning of their memory, copied.

    A tensor that requires gradients stays itself, so that its gradient finds it, and has other memory for the time of
    the call; for any other a new tensor stands. What is written into a copy is written back.
    """

    def __init__(self, leaves: list[Any]) -> None:
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        self.own: dict[int, NDArray] = {}  # by the identity of the tensor that was given
        self.copies: dict[int, NDArray] = {}
        self.standing: dict[int, Tensor] = {}
        for tensor in tensors:
            if not tensor.array.layout.compacted and id(tensor) not in self.own:
                self.own[id(tensor)] = tensor.array
                self.copies[id(tensor)] = tensor.array.copy()
                self.standing[id(tensor)] = tensor if tensor.requires_grad else Tensor(self.copies[id(tensor)])
        self.given = tensors
        self.leaves = [self.standing.get(id(leaf), leaf) for leaf in leaves]

    def __enter__(self) -> "Lent":
        for tensor in self.given:
            if self.standing.get(id(tensor)) is tensor:
                tensor.array = self.copies[id(tensor)]
        return self

    def __exit__(self, *error: object) -> None:
        for tensor in self.given:
            if self.standing.get(id(tensor)) is tensor and tensor.array is self.copies[id(tensor)]:
                tensor.array = self.own[id(tensor)]

    def returned(self, result: Any, written: list[int]) -> Any:
        """The result with the tensors that were given in it, after what was written (into arguments of these numbers)
        has been written back."""
        for i in written:
            self._check_alone(i)
            tensor = self.given[i]
            if id(tensor) in self.own:
                self.own[id(tensor)].assign(self.copies[id(tensor)])
        leaves, shape = flatten(result, lambda leaf: isinstance(leaf, Tensor))
        stood_for = {id(self.standing[id(t)]): t for t in self.given if id(t) in self.standing}
        return unflatten(shape, [stood_for.get(id(leaf), leaf) for leaf in leaves])

    def _check_alone(self, i: int) -> None:
        """What is written into argument i would not be seen in another copy of its memory."""
        tensor = self.given[i]
        buffer = self.own.get(id(tensor), tensor.array).buffer
        for other in self.given:
            copied = id(tensor) in self.own or id(other) in self.own
            if other is not tensor and copied and self.own.get(id(other), other.array).buffer is buffer:
                raise GraphError(
                    f"compile: argument {i} is written into and shares memory with another argument; give a copy of it"
                )

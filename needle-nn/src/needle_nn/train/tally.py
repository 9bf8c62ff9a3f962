"""What is summed over the batches of a pass, and what is kept of its steps for the curves."""

from dataclasses import dataclass, field
from typing import Any

from needle import Tensor

POINTS = 20  # of an epoch on the curves of its steps


@dataclass
class Tally:
    """Sums over the batches of a pass. Values stay on the device until the end, so that no batch waits."""

    losses: list[Any] = field(default_factory=list)
    right: list[Any] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)  # of learning, in each step
    norms: list[Any] = field(default_factory=list)  # of the gradient in each step, where it was computed

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, counts: bool) -> None:
        self.losses.append(loss.detach())
        self.sizes.append(labels.size)
        if counts:
            self.right.append((logits.detach().argmax(-1) == labels).sum())

    def settle(self) -> None:
        """Fetch what is still on the device."""
        self.losses, self.right, self.norms = (_fetched(column) for column in (self.losses, self.right, self.norms))

    def results(self) -> tuple[float, float]:
        """Mean loss and the share of right answers, NaN if they were not counted."""
        self.settle()
        n = sum(self.sizes)
        loss = sum(loss * size for loss, size in zip(self.losses, self.sizes, strict=True)) / n
        return loss, sum(self.right) / n if self.right else float("nan")

    def steps(self) -> dict[str, list[float]]:
        """The learning rate, and mean, least and largest norm of the gradient, for up to POINTS parts of the pass."""
        width = max(1, -(-len(self.rates) // POINTS))
        found = {"lr": [part[-1] for part in _parts(self.rates, width)]}
        if len(self.norms) == len(self.rates):
            parts = _parts(self.norms, width)
            found["gradient_norm"] = [sum(part) / len(part) for part in parts]
            found["gradient_norm_least"] = [min(part) for part in parts]
            found["gradient_norm_largest"] = [max(part) for part in parts]
        return found


def _fetched(column: list[Any]) -> list[Any]:
    return [value.item() if isinstance(value, Tensor) else value for value in column]


def _parts(column: list[float], width: int) -> list[list[float]]:
    return [column[i : i + width] for i in range(0, len(column), width)]

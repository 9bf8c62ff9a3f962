"""Losses: how far predictions are from their targets, as one number."""

from collections.abc import Callable
from typing import ClassVar

import needle
from needle import Tensor
from needle.errors import ArgumentError, IndexRangeError, ShapeError
from needle_nn.nn.module import Module


class Loss(Module):
    """The mean of what `values` gives for each prediction; or its sum, or all of it: "none"."""

    reductions: ClassVar[dict[str, Callable[[Tensor], Tensor]]] = {
        "mean": Tensor.mean,
        "sum": Tensor.sum,
        "none": lambda values: values,
    }

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in self.reductions:
            raise ArgumentError(f"{type(self).__name__}: a reduction is 'mean', 'sum' or 'none', not {reduction!r}")
        self.reduction = reduction

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of each prediction."""
        raise NotImplementedError(f"{type(self).__name__} has no values")

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.reductions[self.reduction](self.values(x, y))

    def _check_equal(self, x: Tensor, y: Tensor) -> None:
        """Predictions and targets have one shape: nothing is broadcast in silence."""
        if x.shape != y.shape:
            raise ShapeError(f"{type(self).__name__}: predictions are {x.shape}, targets {y.shape}")


class MSELoss(Loss):
    """(x - y)**2."""

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        self._check_equal(x, y)
        return (x - y).square()


class L1Loss(Loss):
    """|x - y|."""

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        self._check_equal(x, y)
        return (x - y).abs()


class HuberLoss(Loss):
    """d**2 / 2 for d = |x - y| up to delta, and beyond it delta * (d - delta / 2) (Huber, 1964)."""

    def __init__(self, delta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if delta <= 0:
            raise ArgumentError(f"HuberLoss: delta is above 0, not {delta}")
        self.delta = delta

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        self._check_equal(x, y)
        d = (x - y).abs()
        near = d.minimum(self.delta)
        return near * (d - near * 0.5)


class BCEWithLogitsLoss(Loss):
    """-y * log(p) - (1 - y) * log(1 - p) for p = sigmoid(x), computed without overflow."""

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        self._check_equal(x, y)
        return needle.softplus(x) - x * y


class BCELoss(Loss):
    """-y * log(x) - (1 - y) * log(1 - x) for probabilities x, each log at least -100, as in PyTorch."""

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        self._check_equal(x, y)
        return -(y * x.log().maximum(-100.0) + (1 - y) * (-x).log1p().maximum(-100.0))


class KLDivLoss(Loss):
    """y * (log(y) - x): how far log-probabilities x are from probabilities y; its sum over n is the divergence."""

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        self._check_equal(x, y)
        some = needle.greater(y, 0)
        return some.where(y * (some.where(y, 1).log() - x), 0)


class NLLLoss(Loss):
    """-x[label]: log-probabilities x (n, classes), labels (n,)."""

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        return -_picked(type(self).__name__, x, y)


class CrossEntropyLoss(Loss):
    """logsumexp(x) - x[label]: logits x (n, classes), labels (n,).

    With label smoothing s the target is 1 - s at the label plus s / classes everywhere (Szegedy et al., 2016).
    """

    def __init__(self, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ArgumentError(f"CrossEntropyLoss: label_smoothing is from 0 to 1, not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        fused = not self.label_smoothing and self.reduction == "mean"
        return needle.cross_entropy(x, y) if fused else super().forward(x, y)

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        smoothing, log_p = self.label_smoothing, x.log_softmax()
        return log_p.mean(-1) * -smoothing - _picked(type(self).__name__, log_p, y) * (1 - smoothing)


class SoftmaxLoss(Module):
    """logits (n, classes), labels (n,) -> the mean of logsumexp(logits) - logits[label]."""

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        return needle.cross_entropy(logits, y)


def _picked(loss: str, x: Tensor, labels: Tensor) -> Tensor:
    """x[i, labels[i]] for each i."""
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ShapeError(f"{loss}: takes (n, classes) and (n,): predictions are {x.shape}, labels {labels.shape}")
    index = labels if labels.dtype.category == "int" else labels.astype("int32")
    try:
        return x.gather(index.reshape(-1, 1), 1).reshape(-1)
    except IndexRangeError as error:
        raise error.told_of(loss) from None

"""Activations as modules, to stand in a Sequential."""

import needle
from needle import Tensor
from needle_nn.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return needle.relu(x)


class Tanh(Module):
    """tanh(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return needle.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        return needle.sigmoid(x)


class GELU(Module):
    """x * P(N(0, 1) <= x), by erf, or by its approximation "tanh"."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return needle.gelu(x, self.approximate)


class SiLU(Module):
    """x * sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return needle.silu(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return needle.softplus(x)


class LeakyReLU(Module):
    """x where it is above 0, else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return needle.greater(x, 0).where(x, x * self.negative_slope)

    def _describe(self) -> str:
        return str(self.negative_slope)


class ELU(Module):
    """x where it is above 0, else alpha * (exp(x) - 1) (Clevert et al., 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        below = needle.expm1(needle.minimum(x, 0)) * self.alpha  # without the overflow of what is above 0
        return needle.greater(x, 0).where(x, below)

    def _describe(self) -> str:
        return str(self.alpha)


class Mish(Module):
    """x * tanh(log(1 + exp(x))) (Misra, 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * needle.tanh(needle.softplus(x))


class Hardswish(Module):
    """x * clip(x + 3, 0, 6) / 6 (Howard et al., 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * needle.clip(x + 3, 0, 6) * (1 / 6)


class _AlongAxis(Module):
    """The argument that softmax and its logarithm share."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def _describe(self) -> str:
        return f"axis={self.axis}"


class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) along an axis. Losses take logits: what ends in SoftmaxLoss needs none before it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(self.axis)


class LogSoftmax(_AlongAxis):
    """x - log(sum(exp(x))) along an axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.log_softmax(self.axis)

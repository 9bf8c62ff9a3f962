"""Dropout: in training, some elements are 0."""

import needle
from needle import Tensor
from needle.errors import ArgumentError, ShapeError
from needle_nn.nn.module import Module


class Dropout(Module):
    """In training each element is 0 with probability p, and the others are divided by 1 - p; in evaluation, x."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"{type(self).__name__}: a probability is from 0 to 1, not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return needle.dropout(x, self.p, self.training)

    def _describe(self) -> str:
        return str(self.p)


class Dropout2d(Dropout):
    """Dropout of whole channels of x (N, C, ...) (Tompson et al., 2015)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.ndim < 2:
            raise ShapeError(f"Dropout2d: takes (N, C, ...): x is {x.shape}")
        shape = x.shape[:2] + (1,) * (x.ndim - 2)
        return x * needle.dropout(needle.ones(*shape, device=x.device, dtype=x.dtype), self.p)

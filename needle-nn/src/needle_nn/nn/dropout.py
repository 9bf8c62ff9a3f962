"""Dropout: in training, some elements are 0."""

import needle
from needle import Tensor
from needle.errors import ArgumentError
from needle_nn.nn.module import Module


class Dropout(Module):
    """In training each element is 0 with probability p, and the others are divided by 1 - p; in evaluation, x."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: a probability is from 0 to 1, not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return needle.dropout(x, self.p, self.training)

    def _describe(self) -> str:
        return str(self.p)

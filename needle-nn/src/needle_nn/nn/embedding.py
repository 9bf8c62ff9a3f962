"""Embedding: a vector for each number of a vocabulary."""

from typing import Any

import needle
from needle import Device, Tensor, init
from needle_nn.nn.module import Module, Parameter


class Embedding(Module):
    """ids (...), floats too, -> (..., embedding_dim): the weight's rows, drawn from N(0, 1)."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, device: Device | str | None = None, dtype: Any = "float32"
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(init.normal(num_embeddings, embedding_dim, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return needle.embedding(x, self.weight)

    def _describe(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"

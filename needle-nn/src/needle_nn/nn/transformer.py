"""Transformer: layers of attention and of a small network at each position, normalized first."""

from typing import Any

import needle
from needle import Device, Tensor, init
from needle.errors import ShapeError
from needle_nn.nn.attention import AttentionLayer
from needle_nn.nn.container import Sequential, with_relu
from needle_nn.nn.dropout import Dropout
from needle_nn.nn.embedding import Embedding
from needle_nn.nn.linear import Linear
from needle_nn.nn.module import Module
from needle_nn.nn.norm import LayerNorm1d


class TransformerLayer(Module):
    """x + Drop(Attn(x)), then x + Drop(Lin2(Drop(ReLU(Lin1(Norm(x)))))): (B, T, q_features) -> the same shape."""

    def __init__(
        self,
        q_features: int,
        num_head: int,
        dim_head: int,
        hidden_size: int,
        *,
        dropout: float = 0.0,
        causal: bool = True,
        device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        self.attn = AttentionLayer(
            q_features, num_head, dim_head, dropout=dropout, causal=causal, device=device, dtype=dtype
        )
        self.norm = LayerNorm1d(q_features, device=device, dtype=dtype)
        self.linear1 = Linear(q_features, hidden_size, device=device, dtype=dtype)
        self.linear2 = Linear(hidden_size, q_features, device=device, dtype=dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        drop = self.dropout
        x = x + drop(self.attn(x))
        normal = self.norm(x)
        hidden = with_relu(self.linear1, normal)
        hidden = self.linear1(normal).relu() if hidden is None else hidden
        y: Tensor = drop(self.linear2(drop(hidden)))
        return x + y


class Transformer(Module):
    """TransformerLayers over x plus an embedding of each position: (T, B, E), or (B, T, E) if batch_first.

    The second result is zeros like the first: the state that recurrent networks have.
    """

    def __init__(
        self,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        num_head: int = 8,
        dim_head: int = 32,
        dropout: float = 0.0,
        causal: bool = True,
        device: Device | str | None = None,
        dtype: Any = "float32",
        batch_first: bool = False,
        sequence_len: int = 2048,
    ) -> None:
        super().__init__()
        self.embedding_size, self.batch_first, self.sequence_len = embedding_size, batch_first, sequence_len
        self.positions = Embedding(sequence_len, embedding_size, device=device, dtype=dtype)
        options: dict[str, Any] = {"dropout": dropout, "causal": causal, "device": device, "dtype": dtype}
        self.layers = Sequential(
            *(TransformerLayer(embedding_size, num_head, dim_head, hidden_size, **options) for _ in range(num_layers))
        )

    def forward(self, x: Tensor, h: Any = None) -> tuple[Tensor, Tensor]:
        if x.ndim != 3 or x.shape[2] != self.embedding_size:
            axes = "(B, T, {})" if self.batch_first else "(T, B, {})"
            raise ShapeError(f"Transformer: takes {axes.format(self.embedding_size)}: x is {x.shape}")
        x = x if self.batch_first else x.permute(1, 0, 2)
        if x.shape[1] > self.sequence_len:
            raise ShapeError(f"Transformer: {x.shape[1]} positions, sequence_len is {self.sequence_len}")
        x = self.layers(x + self.positions(needle.arange(x.shape[1], device=x.device)))
        x = x if self.batch_first else x.permute(1, 0, 2)
        return x, init.zeros_like(x)

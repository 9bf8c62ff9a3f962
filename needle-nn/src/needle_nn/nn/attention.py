"""Attention: each position of a sequence looks at others, several heads at once (Vaswani et al., 2017)."""

from typing import Any

import numpy as np

import needle
from needle import Device, NDArray, Tensor, ndarray
from needle.errors import ShapeError
from needle_nn.nn.dropout import Dropout
from needle_nn.nn.linear import Linear
from needle_nn.nn.module import Module
from needle_nn.nn.norm import LayerNorm1d


class MultiHeadAttention(Module):
    """softmax(q @ k.T / sqrt(D)) @ v: q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D), (B, H, T, S).

    The second result is what each row looks at, with dropout applied. Without `need_probs` it is None, and one fused
    kernel computes the first wherever there is no dropout.
    """

    def __init__(
        self, *, dropout: float = 0.0, causal: bool = False, device: Device | str | None = None, dtype: Any = "float32"
    ) -> None:
        super().__init__()
        self.device, self.dtype = device, dtype
        self.causal = causal
        self.dropout = Dropout(dropout)
        self.need_probs = True

    def create_causal_mask(self, i: int, j: int, device: Device | str | None = None) -> NDArray:
        """(1, 1, i, j): 0 where row r may look, at columns up to r + j - i; the lowest float32 elsewhere."""
        hidden = np.triu(np.ones((1, 1, i, j), np.float32), j - i + 1)
        return ndarray.from_numpy(-np.finfo(np.float32).max * hidden, device)

    def matmul(self, a: Tensor, b_transpose: Tensor) -> Tensor:
        """(..., m, k), (..., n, k) -> (..., m, n): a @ b for b transposed."""
        return a @ b_transpose.mT

    def softmax(self, logit: Tensor) -> Tensor:
        """Over the last axis."""
        return logit.softmax(-1)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
        _check(q, k, v)
        rows, columns = q.shape[-2], k.shape[-2]
        dropping = self.training and self.dropout.p > 0
        if not (self.need_probs or dropping or (self.causal and rows != columns)):
            return needle.scaled_dot_product_attention(q, k, v, is_causal=self.causal), None
        logits = self.matmul(q, k) * q.shape[-1] ** -0.5
        if self.causal:
            logits = logits + Tensor(self.create_causal_mask(rows, columns, q.device)).astype(logits.dtype)
        probs = self.dropout(self.softmax(logits))
        return probs @ v, probs if self.need_probs else None

    def _describe(self) -> str:
        return "causal" if self.causal else ""


def _check(q: Tensor, k: Tensor, v: Tensor) -> None:
    if q.shape[:-2] != k.shape[:-2] or k.shape[:-2] != v.shape[:-2]:
        raise ShapeError(f"attention: batches differ: q is {q.shape}, k is {k.shape}, v is {v.shape}")
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention: q and k share D, k and v share S: q is {q.shape}, k is {k.shape}, v is {v.shape}")


class AttentionLayer(Module):
    """Attention between projections of normalized q (B, T, q_features), k and v (B, S, ...) -> (B, T, out_features).

    k and v are q unless given, and so are their features.
    """

    def __init__(
        self,
        q_features: int,
        num_head: int,
        dim_head: int,
        *,
        k_features: int | None = None,
        v_features: int | None = None,
        out_features: int | None = None,
        dropout: float = 0.0,
        causal: bool = True,
        device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        self.q_features, self.num_head, self.dim_head = q_features, num_head, dim_head
        self.k_features = q_features if k_features is None else k_features
        self.v_features = q_features if v_features is None else v_features
        self.out_features = q_features if out_features is None else out_features
        inner = num_head * dim_head
        self.prenorm_q = LayerNorm1d(self.q_features, device=device, dtype=dtype)
        self.prenorm_k = LayerNorm1d(self.k_features, device=device, dtype=dtype)
        self.prenorm_v = LayerNorm1d(self.v_features, device=device, dtype=dtype)
        self.q_projection = Linear(self.q_features, inner, bias=False, device=device, dtype=dtype)
        self.k_projection = Linear(self.k_features, inner, bias=False, device=device, dtype=dtype)
        self.v_projection = Linear(self.v_features, inner, bias=False, device=device, dtype=dtype)
        self.attn = MultiHeadAttention(dropout=dropout, causal=causal, device=device, dtype=dtype)
        self.attn.need_probs = False
        self.out_projection = Linear(inner, self.out_features, bias=False, device=device, dtype=dtype)

    def forward(self, q: Tensor, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        k = q if k is None else k
        v = q if v is None else v
        if not q.ndim == k.ndim == v.ndim == 3:
            raise ShapeError(f"AttentionLayer: takes (B, T, features): q is {q.shape}, k is {k.shape}, v is {v.shape}")
        query = self._heads(self.q_projection(self.prenorm_q(q)))
        key = self._heads(self.k_projection(self.prenorm_k(k)))
        value = self._heads(self.v_projection(self.prenorm_v(v)))
        result, _ = self.attn(query, key, value)
        joined = result.permute(0, 2, 1, 3).reshape(*q.shape[:2], self.num_head * self.dim_head)
        projected: Tensor = self.out_projection(joined)
        return projected

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, H * D) -> (B, H, T, D)."""
        return x.reshape(*x.shape[:2], self.num_head, self.dim_head).permute(0, 2, 1, 3)

    def _describe(self) -> str:
        return f"{self.q_features}, {self.num_head}, {self.dim_head}"

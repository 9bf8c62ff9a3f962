"""The functions that layers are made of: activations, dropout, embedding, attention. Compositions of ops."""

import numpy as np

from needle import init
from needle.errors import ArgumentError, IndexRangeError, ShapeError
from needle.functions import as_tensor
from needle.fused import floating, promoted
from needle.ops.curves import GELU, SiLU, TanhGELU
from needle.ops.recurrent import CELL, HIDDEN, LSTM, LSTMResult
from needle.random import Generator
from needle.tensor import Tensor, TensorLike, apply


def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    """x * P(N(0, 1) <= x) (Hendrycks and Gimpel, 2016), by erf; or by the approximation "tanh"."""
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: the approximation is 'none' or 'tanh', not {approximate!r}")
    return apply(GELU() if approximate == "none" else TanhGELU(), floating(as_tensor(x)))


def silu(x: TensorLike) -> Tensor:
    """x * sigmoid(x)."""
    return apply(SiLU(), floating(as_tensor(x)))


def lstm(inputs: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's walk through a sequence (Hochreiter and Schmidhuber, 1997): h of all times (T, B, H), and the last c.

    `inputs` (T, B, 4H) is what each time gives to the gates i, f, g, o; h @ weight (H, 4H) + bias (4H,) is added. h
    and c (B, H) are the state before.
    """
    kept = apply(LSTM(), *promoted(inputs, h, c, weight, bias))
    return apply(LSTMResult(HIDDEN), kept), apply(LSTMResult(CELL), kept)


def dropout(x: TensorLike, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """Each element 0 with probability p, the others divided by 1 - p (Srivastava et al., 2014)."""
    y = as_tensor(x)
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout: a probability is from 0 to 1, not {p}")
    if not training or p == 0:
        return y
    kept = init.randb(*y.shape, p=1 - p, device=y.device, dtype=y.dtype, generator=generator)
    return y * (kept * (1 / (1 - p))) if p < 1 else y * 0.0


def embedding(ids: TensorLike, weight: TensorLike) -> Tensor:
    """weight[ids]: ids (...) of any number type, weight (n, d) -> (..., d). Ids out of range raise on the host."""
    weight = as_tensor(weight)
    index = ids if isinstance(ids, Tensor) else Tensor(ids, device=weight.device)
    index = index if index.dtype.category == "int" else index.astype("int32")
    if weight.ndim != 2:
        raise ShapeError(f"embedding: takes a weight (n, d): weight is {weight.shape}")
    try:
        rows = weight.gather(index.reshape(-1, 1), 0)
    except IndexRangeError as error:
        raise error.told_of("embedding") from None
    return rows.reshape(*index.shape, weight.shape[1])


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(q @ k.mT * scale) @ v: (..., T, D), (..., S, D), (..., S, E) -> (..., T, E); scale 1 / sqrt(D).

    `attn_mask` (T, S), or broadcasting to (..., T, S), is true where a row may look, or is added to the scores.
    """
    if attn_mask is None and dropout_p == 0:
        return query.attention(key, value, is_causal, scale)
    return dropout(attention_weights(query, key, attn_mask, is_causal, scale), dropout_p) @ value


def attention_weights(
    query: Tensor, key: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """softmax(q @ k.mT * scale), (..., T, S): what each row looks at."""
    if query.shape[-1] != key.shape[-1]:
        raise ShapeError(f"attention: q and k share D: q is {query.shape}, k is {key.shape}")
    scores = (query @ key.mT) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = query.like(np.tri(*scores.shape[-2:], dtype=bool)).where(scores, float("-inf"))
    if attn_mask is not None and attn_mask.dtype == "bool":
        scores = attn_mask.where(scores, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1)

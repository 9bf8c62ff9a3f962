"""Normalization and attention: fused forward, and backward by one kernel; second derivatives by composition."""

from typing import Any

import numpy as np

import needle as ndl
from needle.tensor import Tensor
from needle_conformance.case import Case, Options
from needle_conformance.inputs import Input, bools, floats

_EPS = 1e-3
# Deviations from a mean that may be rounded; sums of exponentials and products of them.
_NEAR = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-2, "bfloat16": 1.5e-1}
_SUMS = {"float64": 1e-12, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}


def _standard(x: Any, axes: Any) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + _EPS)


def _layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    return _standard(x, -1) * weight + bias


def _rms_norm(x: Any, weight: Any) -> Any:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + _EPS) * weight


def _trained(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, var = x.array.moments()
    return x.batch_norm(weight, bias, Tensor(mean), Tensor(var), _EPS, training=True)


_MEAN, _VAR = np.array([0.5, -1.0, 0.25, 0.0]), np.array([1.0, 2.25, 0.5, 4.0])  # exact in every float type


def _evaluated(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, var = (Tensor(v, device=x.device, dtype=x.dtype) for v in (_MEAN, _VAR))
    return x.batch_norm(weight, bias, mean, var, _EPS, training=False)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, var = x.array.moments()
    return Tensor(mean), Tensor(var)


# Not "broadcast": where all rows are alike the variance is 0, and rounding of the mean is all that is divided by eps.
_VARYING = ("compact", "offset", "permuted", "sliced", "flipped", "mixed")


def _rows_row(name: str, rows: Input, n: int, **row: Any) -> list[Case]:
    """The two norms of rows of n elements."""
    weight, bias = Input((n,), 0.5, 2), floats(n)
    return [
        Case(lambda x, w, b: x.layer_norm(w, b, _EPS), _layer_norm, [rows, weight, bias], name=f"layer_norm{name}",
             atol=_NEAR, **row),
        Case(lambda x, w: x.rms_norm(w, _EPS), _rms_norm, [rows, weight], name=f"rms_norm{name}", atol=_NEAR, **row),
    ]  # fmt: skip


NORMS = [
    *_rows_row("", floats(2, 3, 4), 4),
    *_rows_row("_one", floats(3, 1), 1),
    *_rows_row("_none", floats(0, 4), 4, orders=1),
    *_rows_row("_large", floats(37, 1003), 1003, orders=0),
    Case(_trained, lambda x, w, b: _standard(x, (0, 1)) * w + b, [floats(3, 2, 4), Input((4,), 0.5, 2), floats(4)],
         name="batch_norm", atol=_NEAR, layouts=_VARYING),
    Case(_trained, lambda x, w, b: _standard(x, 0) * w + b, [floats(257, 19), Input((19,), 0.5, 2), floats(19)],
         name="batch_norm_large", orders=0, atol=_NEAR, layouts=_VARYING),
    Case(_evaluated, lambda x, w, b: (x - _MEAN) / np.sqrt(_VAR + _EPS) * w + b,
         [floats(3, 2, 4), Input((4,), 0.5, 2), floats(4)], name="batch_norm_evaluated", atol=_NEAR),
    Case(_moments, lambda x: (x.mean((0, 1)), x.var((0, 1))), [floats(5, 3, 4)], name="moments", orders=0, atol=_NEAR),
]  # fmt: skip


def _attention(q: Any, k: Any, v: Any, causal: bool = False, scale: float | None = None, mask: Any = True) -> Any:
    """Row by row: the mean of v, by weights exp(q . k)."""
    weights = np.exp(np.einsum("...td,...sd->...ts", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale))
    weights = weights * mask * (np.arange(k.shape[-2]) <= np.arange(q.shape[-2])[:, None] if causal else 1)
    return np.einsum("...ts,...se->...te", weights / weights.sum(-1, keepdims=True), v)


def _attention_row(name: str, q: Input, k: Input, v: Input, **row: Any) -> Case:
    return Case(lambda q, k, v, **options: q.attention(k, v, **options), _attention, [q, k, v],
                [{}, {"causal": True, "scale": 0.25}], name, atol=_NEAR, rtol=_SUMS, **row)  # fmt: skip


def _masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Each row may look at its first column at least."""
    first = mask.like(np.arange(mask.shape[-1]) == 0)
    return ndl.scaled_dot_product_attention(q, k, v, mask.logical_or(first.broadcast_to(*mask.shape)))


def _expected_masked(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return _attention(q, k, v, mask=mask | (np.arange(mask.shape[-1]) == 0))


def _expected_weights(q: Any, k: Any, is_causal: bool = False, scale: float | None = None) -> Any:
    """What attention gives for the rows of a unit matrix."""
    unit = np.broadcast_to(np.eye(k.shape[-2]), (*k.shape[:-1], k.shape[-2]))
    return _attention(q, k, unit, is_causal, scale)


_CAUSAL: list[Options] = [{"is_causal": True}]

ATTENTION = [
    _attention_row("attention", floats(2, 3, 4), floats(2, 4, 4), floats(2, 4, 3)),
    _attention_row("attention_heads", floats(2, 2, 4, 2), floats(2, 2, 2, 2), floats(2, 2, 2, 3)),
    _attention_row("attention_matrix", floats(3, 2), floats(3, 2), floats(3, 2)),
    _attention_row("attention_large", floats(3, 67, 33), floats(3, 71, 33), floats(3, 71, 35), orders=0),
    Case(ndl.scaled_dot_product_attention, lambda q, k, v, is_causal: _attention(q, k, v, is_causal),
         [floats(2, 3, 2), floats(2, 3, 2), floats(2, 3, 2)], _CAUSAL, atol=_NEAR, rtol=_SUMS),
    Case(_masked, _expected_masked, [floats(2, 3, 2), floats(2, 4, 2), floats(2, 4, 2), bools(3, 4)],
         name="attention_masked", atol=_NEAR, rtol=_SUMS),
    Case(ndl.attention_weights, _expected_weights, [floats(2, 3, 2), floats(2, 4, 2)],
         [{}, {"is_causal": True, "scale": 0.5}], atol=_NEAR, rtol=_SUMS),
]  # fmt: skip

CASES = [*NORMS, *ATTENTION]

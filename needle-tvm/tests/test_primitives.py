"""Every primitive that has a translation, in both styles, against NumPy."""

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle_tvm.rules import RULES

Row = tuple[Callable[..., Any], Callable[..., Any], list[Any]]
rng = np.random.default_rng(0)


def f(*shape: int) -> Any:
    return rng.standard_normal(shape).astype("float32")


def positive(*shape: int) -> Any:
    return rng.uniform(0.1, 3, shape).astype("float32")


def i(*shape: int, low: int = -9, high: int = 9) -> Any:
    return rng.integers(low, high, shape).astype("int32")


def b(*shape: int) -> Any:
    return rng.integers(0, 2, shape).astype(bool)


SPECIAL = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5, 2.5, 1e-6, -1e-6]], "float32")
OTHERS = np.array([[0.5, 1, 1, np.nan, 0.0, 1.5, np.nan, -1, 2, 3]], "float32")
EDGES = np.array([[-100.0, -20, -1, -1e-4, 0, 1e-4, 0.3, 1, 20, 80]], "float32")


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def normalized(x: Any, eps: float = 1e-5) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)


def convolved(x: Any, w: Any, stride: int, padding: int, dilation: int = 1, groups: int = 1) -> Any:
    """(N, C, H, W) and (O, C / groups, k, k), by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    n, c, h, _ = x.shape
    o, k = w.shape[0], w.shape[-1]
    size = (h - dilation * (k - 1) - 1) // stride + 1
    out = np.zeros((n, o, size, size), "float32")
    for at in np.ndindex(size, size):
        rows = [slice(p * stride, p * stride + dilation * (k - 1) + 1, dilation) for p in at]
        window = x[:, :, rows[0], rows[1]].reshape(n, groups, c // groups, k, k)
        weight = w.reshape(groups, o // groups, c // groups, k, k)
        out[:, :, at[0], at[1]] = np.einsum("ngckl,gockl->ngo", window, weight).reshape(n, o)
    return out


def conv2d(**options: Any) -> Any:
    """Needle's, of a weight (O, C / groups, k, k)."""
    return lambda x, w: ndl.conv2d(x, w.permute((2, 3, 1, 0)), **options)


def pooled(x: Any, size: int, fold: Callable[..., Any]) -> Any:
    n, c, h, w = x.shape
    return fold(x.reshape(n, c, h // size, size, w // size, size), axis=(3, 5))


def attended(q: Any, k: Any, v: Any, causal: bool) -> Any:
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    return softmax(scores) @ v


def assigned(x: Any, y: Any) -> Any:
    z = np.zeros((4, 6), "float32")
    z[:, 1::2] = x
    z[1] = y
    return z + 1


def filled(x: Any, y: Any) -> Any:
    z = ndl.zeros(4, 6, device=x.device)
    z[:, 1::2] = x
    z[1] = y
    return z + 1


UNARY: dict[str, Row] = {
    name: (getattr(ndl, name), numpy or getattr(np, name), [values])
    for name, numpy, values in [
        ("negative", None, SPECIAL), ("abs", None, SPECIAL), ("square", None, SPECIAL), ("sign", None, SPECIAL),
        ("relu", lambda x: np.maximum(x, 0), SPECIAL), ("exp", None, EDGES), ("expm1", None, EDGES),
        ("log", None, positive(3, 7)), ("log1p", None, positive(3, 7) - 0.09), ("sqrt", None, positive(3, 7)),
        ("rsqrt", lambda x: 1 / np.sqrt(x), positive(3, 7)), ("reciprocal", None, positive(3, 7)),
        ("sin", None, f(3, 7)), ("cos", None, f(3, 7)), ("tanh", None, EDGES),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x.astype("float64"))), EDGES), ("erf", np.vectorize(erf), f(3, 7)),
        ("floor", None, SPECIAL), ("ceil", None, SPECIAL), ("round", None, SPECIAL), ("trunc", None, SPECIAL),
        ("isnan", None, SPECIAL), ("isinf", None, SPECIAL), ("isfinite", None, SPECIAL),
        ("logical_not", None, b(3, 7)), ("bitwise_not", np.invert, i(3, 7)),
        ("softplus", lambda x: np.logaddexp(x, 0), EDGES),
    ]
}  # fmt: skip

BINARY: dict[str, Row] = {
    name: (getattr(ndl, name), getattr(np, name), values)
    for name, values in [
        ("add", [f(3, 7), f(3, 7)]), ("subtract", [f(3, 7), f(7)]), ("multiply", [f(3, 1), f(1, 7)]),
        ("divide", [f(3, 7), positive(3, 7)]), ("power", [positive(3, 7), f(3, 7)]), ("maximum", [SPECIAL, OTHERS]),
        ("minimum", [SPECIAL, OTHERS]), ("floor_divide", [i(3, 7), i(3, 7, low=1)]), ("atan2", [f(3, 7), f(3, 7)]),
        ("equal", [SPECIAL, OTHERS]), ("not_equal", [SPECIAL, OTHERS]), ("less", [SPECIAL, OTHERS]),
        ("less_equal", [SPECIAL, OTHERS]), ("greater", [i(3, 7), i(3, 7)]), ("greater_equal", [i(3, 7), i(3, 7)]),
        ("logical_and", [b(3, 7), b(3, 7)]), ("logical_or", [b(3, 7), b(3, 7)]), ("logical_xor", [b(3, 7), b(3, 7)]),
        ("bitwise_and", [i(3, 7), i(3, 7)]), ("bitwise_or", [i(3, 7), i(3, 7)]), ("bitwise_xor", [i(3, 7), i(3, 7)]),
    ]
}  # fmt: skip

OTHER: dict[str, Row] = {
    "a scalar before": (lambda x: 2 - x, lambda x: 2 - x, [f(3, 7)]),
    "a scalar behind": (lambda x: x * 3 > 1, lambda x: x * 3 > 1, [f(3, 7)]),
    "shifts": (lambda x: (x << 2) + (x >> 1), lambda x: (x << 2) + (x >> 1), [i(3, 7)]),
    "where": (ndl.where, np.where, [b(3, 7), f(3, 7), f(3, 7)]),
    "to int": (lambda x: (x * 10).astype("int32"), lambda x: (x * 10).astype("int32"), [f(3, 7)]),
    "to bool": (lambda x: x.astype("bool"), lambda x: x.astype(bool), [i(3, 7, low=0, high=2)]),
    "double": (lambda x: x.astype("float64").exp(), lambda x: np.exp(x.astype("float64")), [f(3, 7)]),
    "sum of rows": (lambda x: x.sum(1), lambda x: x.sum(1), [f(3, 70)]),
    "sum of columns": (lambda x: x.sum(0), lambda x: x.sum(0), [f(70, 3)]),
    "sum of all": (lambda x: x.sum(), lambda x: x.sum(), [f(5, 7)]),
    "prod": (lambda x: x.prod(1), lambda x: x.prod(1), [f(3, 7)]),
    "max with NaN": (lambda x: (x.max(1), x.max(0)), lambda x: (x.max(1), x.max(0)), [SPECIAL]),
    "min of ints": (lambda x: x.min(1), lambda x: x.min(1), [i(3, 7)]),
    "argmax": (lambda x: x.argmax(1), lambda x: x.argmax(1), [i(20, 7, low=0, high=3)]),
    "argmax of NaN": (lambda x: x.argmax(1), lambda x: x.argmax(1), [np.concatenate([SPECIAL, OTHERS, EDGES])]),
    "matmul": (lambda x, y: x @ y, lambda x, y: x @ y, [f(5, 33), f(33, 20)]),
    "matmul, transposed": (lambda x, y: x.T @ y.T, lambda x, y: x.T @ y.T, [f(33, 5), f(20, 33)]),
    "matmul, batches": (lambda x, y: x @ y, lambda x, y: x @ y, [f(3, 5, 33), f(3, 33, 8)]),
    "matmul, one for all": (lambda x, y: x @ y, lambda x, y: x @ y, [f(3, 5, 33), f(33, 8)]),
    "linear": (ndl.functions.linear, lambda x, w, c: x @ w + c, [f(5, 33), f(33, 20), f(20)]),
    "views": (
        lambda x: (x[:, ::2].T * 1, x.flip(1) + 0, x.reshape(7, 3).T + 1, x[1:, 2] * 1),
        lambda x: (x[:, ::2].T, x[:, ::-1], x.reshape(7, 3).T + 1, x[1:, 2]), [f(3, 7)],
    ),
    "concatenate": (lambda x, y: ndl.concatenate([x, y], 1) * 2, lambda x, y: np.concatenate([x, y], 1) * 2,
                    [f(3, 4), f(3, 5)]),
    "writing in parts": (filled, assigned, [f(4, 3), f(6)]),
    "gather": (lambda x, j: x[j], lambda x, j: x[j], [f(9, 5), i(4, low=0)]),
    "softmax": (lambda x: x.softmax(1), softmax, [f(5, 40)]),
    "log_softmax": (lambda x: x.log_softmax(1), lambda x: np.log(softmax(x)), [f(5, 40)]),
    "cross_entropy": (ndl.cross_entropy, lambda x, j: -np.log(softmax(x))[np.arange(5), j].mean(),
                      [f(5, 9), i(5, low=0)]),
    "layer_norm": (
        lambda x, w, c: x.layer_norm(w, c, 1e-5), lambda x, w, c: normalized(x) * w + c,
        [f(2, 5, 40), f(40), f(40)],
    ),
    "rms_norm": (
        lambda x, w: x.rms_norm(w, 1e-5),
        lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w, [f(5, 40), f(40)],
    ),
    "conv2d": (conv2d(padding=1), lambda x, w: convolved(x, w, 1, 1), [f(2, 5, 8, 8), f(7, 5, 3, 3)]),
    "conv2d, strided": (conv2d(stride=2, padding=2), lambda x, w: convolved(x, w, 2, 2),
                        [f(2, 3, 9, 9), f(16, 3, 5, 5)]),
    "conv2d, grouped and dilated": (conv2d(dilation=2, groups=2), lambda x, w: convolved(x, w, 1, 0, 2, 2),
                                    [f(2, 4, 8, 8), f(6, 2, 3, 3)]),
    "max_pool2d": (lambda x: ndl.max_pool2d(x, 2), lambda x: pooled(x, 2, np.max), [f(2, 3, 8, 8)]),
    "avg_pool2d": (lambda x: ndl.avg_pool2d(x, 2), lambda x: pooled(x, 2, np.mean), [f(2, 3, 8, 8)]),
    "attention": (ndl.scaled_dot_product_attention, lambda q, k, v: attended(q, k, v, False),
                  [f(2, 3, 5, 8), f(2, 3, 6, 8), f(2, 3, 6, 4)]),
    "attention, causal": (
        lambda q, k, v: ndl.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k, v: attended(q, k, v, True),
        [f(2, 3, 5, 8), f(2, 3, 5, 8), f(2, 3, 5, 8)],
    ),
}  # fmt: skip

ROWS: dict[str, Row] = {**UNARY, **BINARY, **OTHER}


@pytest.mark.parametrize("style", ["te", "relax"])
@pytest.mark.parametrize("name", ROWS)
def test_equals_numpy(name: str, style: str, device: Any) -> None:
    function, numpy, arrays = ROWS[name]
    if (name, style) == ("relu", "relax"):
        arrays = [np.nan_to_num(SPECIAL)]  # relu of a NaN is 0 to Relax
    with ndl.use_device(device), np.errstate(all="ignore"):
        inputs = [ndl.Tensor(a) for a in arrays]
        compiled = ndl.compile(function, compiler="tvm", style=style)
        compiled(*inputs)  # as it always ran
        found, expected = compiled(*inputs), numpy(*arrays)
    assert compiled.captures == 1
    found, expected = (x if isinstance(x, tuple) else (x,) for x in (found, expected))
    for y, z in zip(found, expected, strict=True):
        np.testing.assert_allclose(y.numpy(), z, rtol=1e-5, atol=1e-5)
        assert y.shape == np.shape(z)


def test_every_rule_has_a_row() -> None:
    ops = {"batch_norm", "sgd_step", "cross_entropy_grad", "softmax_grad", "log_softmax_grad"}  # in test_models
    for function, _, arrays in ROWS.values():
        captured = ndl.compile(function, disable=("fuse_elementwise", "epilogues"))
        captured(*[ndl.Tensor(a, device="cpu") for a in arrays])
        ops |= {node.op for graph in captured.graphs() for node in graph.nodes}
    assert set(RULES) <= ops

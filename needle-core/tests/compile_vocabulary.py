"""Words that the random functions of test_compile_fuzz.py are made of: what shapes each takes, and what it does."""

from collections.abc import Callable
from typing import Any

import needle as ndl

Shape = tuple[int, ...]


def anything(shape: Shape) -> bool:
    return True


def nonempty(shape: Shape) -> bool:
    return 0 not in shape


def rows(shape: Shape) -> bool:
    return len(shape) >= 1 and 0 not in shape


def matrix(shape: Shape) -> bool:
    return len(shape) == 2 and 0 not in shape and shape[1] < 50


def small(shape: Shape) -> bool:
    return len(shape) >= 2 and 0 not in shape and shape[-1] < 50 and shape[-2] < 50


def ids(x: Any, n: int) -> Any:
    """Whole numbers from 0 to n - 1 that depend on x; 0 for NaN and numbers that no integer holds."""
    y = ndl.where(ndl.less(x.abs(), 1e4), x * 3, 0.0).detach()
    return ndl.remainder(y.astype("int32"), n)


def image(x: Any) -> Any:
    """(a, b) -> (1, 1, a, b), and so on: what convolutions and pools take."""
    return x.reshape((1,) * (4 - x.ndim) + x.shape)


def kernel(x: Any, outputs: int) -> Any:
    """(3, 3, channels, outputs), made of x itself, so that both gradients are asked for."""
    return ndl.ones(3, 3, image(x).shape[1], outputs, device=x.device) * x.mean()


def conv(x: Any) -> Any:
    return ndl.conv2d(image(x), kernel(x, 2), stride=2, padding=1)


def norm(x: Any) -> Any:
    return x.layer_norm(x[..., :1].mean() + ndl.ones(x.shape[-1], device=x.device), x.reshape(-1, x.shape[-1])[0], 1e-5)


def assigned_rows(x: Any) -> Any:
    """A gather, and a scatter back in place: repeated ids add up."""
    index = ids(x, x.shape[-1])
    return x.scatter_add(index, x, x.ndim - 1)


def integers(x: Any) -> Any:
    """Through whole numbers and bits and back."""
    n = ids(x, 100)
    bits = ndl.bitwise_xor(ndl.bitwise_left_shift(n, 3), ndl.bitwise_and(n, 6))
    return (ndl.floor_divide(bits, 5) - ndl.remainder(n, 7)).astype("float32")


def masks(x: Any) -> Any:
    some, every = ndl.any(ndl.greater(x, 0)), ndl.all(ndl.less(x, 9))
    return ndl.masked_fill(x, ndl.logical_xor(some, ndl.logical_not(every)), -1.5)


WORDS: dict[str, tuple[Callable[[Shape], bool], Callable[[Any], Any]]] = {
    "integers": (anything, integers),
    "masks": (nonempty, masks),
    "clip": (anything, lambda x: ndl.clip(x, -0.5, 1.5)),
    "doubles": (anything, lambda x: (x.astype("float64") * 1.1).astype("float32")),
    "halves": (anything, lambda x: (x.astype("bfloat16") + 0.3).tanh().astype("float32")),
    "powers": (anything, lambda x: ndl.power(x.abs() + 0.5, 1.5) + x**3),
    "atan2": (anything, lambda x: ndl.atan2(x, x * x + 1)),
    "gelu": (anything, ndl.gelu),
    "silu": (anything, ndl.silu),
    "softplus": (anything, ndl.softplus),
    "log1p": (anything, lambda x: ndl.log1p(x.abs())),
    "normal": (anything, lambda x: x * ndl.randn(*x.shape, device=x.device)),
    "dropout": (anything, lambda x: ndl.dropout(x, 0.4)),
    "var": (rows, lambda x: ndl.var(x, -1, keepdims=True) + x),
    "std": (rows, lambda x: ndl.std(x, 0)),
    "prod": (rows, lambda x: ndl.prod(x, -1)),
    "min": (rows, lambda x: ndl.min(x, 0)),
    "logsumexp": (rows, lambda x: ndl.logsumexp(x, -1)),
    "argmax": (rows, lambda x: ndl.argmax(x, -1).astype("float32")),
    "sort": (rows, lambda x: ndl.sort(x, -1)[0] if isinstance(ndl.sort(x, -1), tuple) else ndl.sort(x, -1)),
    "argsort": (rows, lambda x: ndl.argsort(x, -1).astype("float32")),
    "topk": (rows, lambda x: ndl.topk(x, 1)[0]),
    "gather": (rows, lambda x: x.gather(ids(x, x.shape[-1]), x.ndim - 1)),
    "scatter": (rows, assigned_rows),
    "embedding": (matrix, lambda x: ndl.embedding(ids(x[:, 0], x.shape[0]), x)),
    "indexed": (rows, lambda x: x[-1]),
    "picked": (rows, lambda x: x[ids(x.reshape(-1)[:3], x.shape[0])]),
    "one_hot": (rows, lambda x: ndl.one_hot(5, ids(x, 5))),
    "split": (rows, lambda x: ndl.split(x, [1, x.shape[-1] - 1], axis=x.ndim - 1)[1] * 2),
    "stack": (lambda s: len(s) < 3, lambda x: ndl.stack([x, x * 2], 0)),
    "pad": (matrix, lambda x: ndl.pad(x, ((1, 0), (2, 1)))),
    "dilate": (matrix, lambda x: ndl.dilate(x, (0,), 1)),
    "spread": (lambda s: len(s) < 3, lambda x: ndl.broadcast_to(x, (2, *x.shape)) * 1.5),
    "einsum": (matrix, lambda x: ndl.einsum("ij,kj->ik", x, x)),
    "linear": (matrix, lambda x: ndl.linear(x, x.mT, x[:, 0], relu=True)),
    "layer_norm": (rows, norm),
    "rms_norm": (rows, lambda x: x.rms_norm(x.reshape(-1, x.shape[-1])[0], 1e-5)),
    "cross_entropy": (matrix, lambda x: ndl.cross_entropy(x, ids(x[:, 0], x.shape[1]))),
    "attention": (small, lambda x: ndl.scaled_dot_product_attention(x, x, x, is_causal=True)),
    "conv": (small, conv),
    "max_pool": (small, lambda x: ndl.max_pool2d(image(x), 3, stride=1, padding=1)),
    "avg_pool": (small, lambda x: ndl.avg_pool2d(image(x), 3, stride=2, padding=1)),
}

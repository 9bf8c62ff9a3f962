"""Mixed precision: which ops change their operands inside autocast, and what reaches the parameters."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import needle as ndl
from needle.dispatch import dispatcher
from needle.errors import ArgumentError, DTypeError

X, W = ndl.full((4, 3), 1.0), ndl.full((3, 3), 2.0)
IMAGE, KERNEL = ndl.full((1, 2, 4, 4), 1.0), ndl.full((3, 3, 2, 5), 1.0)
LABELS = ndl.tensor([0, 1, 2, 0], dtype="int32")

WAYS: list[tuple[str, Callable[[], ndl.Tensor], str]] = [
    ("matmul", lambda: X @ W, "bfloat16"),
    ("conv2d", lambda: ndl.conv2d(IMAGE, KERNEL), "bfloat16"),
    ("attention", lambda: ndl.scaled_dot_product_attention(X, X, X), "bfloat16"),
    ("softmax of a half", lambda: (X @ W).softmax(-1), "float32"),
    ("log_softmax of a half", lambda: (X @ W).log_softmax(-1), "float32"),
    ("cross_entropy of a half", lambda: (X @ W).cross_entropy(LABELS).mean(), "float32"),
    ("layer_norm of a half", lambda: (X @ W).layer_norm(W[0], W[0]), "float32"),
    ("add", lambda: X + X, "float32"),
    ("a half plus float32", lambda: X @ W + W[0], "float32"),
    ("float64 stays", lambda: X.astype("float64") @ W.astype("float64"), "float64"),
]


@pytest.mark.parametrize(("call", "dtype"), [row[1:] for row in WAYS], ids=[row[0] for row in WAYS])
def test_autocast(call: Callable[[], Any], dtype: str) -> None:
    with ndl.autocast("bfloat16"):
        assert call().dtype == dtype
    with ndl.autocast("bfloat16"), ndl.autocast("bfloat16", enabled=False):
        assert (X @ W).dtype == "float32"
    assert (X @ W).dtype == "float32"


def test_autocast_gives_gradients_in_the_parameters_type() -> None:
    w = ndl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    x = ndl.tensor([[1.0, 1.0]])
    with ndl.autocast("float16"):
        y = x @ w
    assert y.dtype == "float16"
    y.astype("float32").sum().backward()
    assert w.grad is not None
    assert w.grad.dtype == "float32"
    assert w.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_autocast_takes_halves() -> None:
    with pytest.raises(DTypeError, match="autocast: takes float16 or bfloat16, not float32"), ndl.autocast("float32"):
        pass


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the NumPy backend is told of precision."""
    backend, heard = dispatcher(ndl.device("numpy")).backend, []
    backend.set_matmul_precision = heard.append  # type: ignore[method-assign]
    yield heard
    del backend.set_matmul_precision
    ndl.set_matmul_precision("highest")


def test_matmul_precision_reaches_backends(told: list[str]) -> None:
    assert ndl.get_matmul_precision() == "highest"
    ndl.set_matmul_precision("high")
    assert told == ["high"]
    assert ndl.get_matmul_precision() == "high"
    with pytest.raises(ArgumentError, match="takes 'highest' or 'high', not 'medium'"):
        ndl.set_matmul_precision("medium")

"""Losses against their formulas in NumPy, in a table."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn
from needle.errors import ArgumentError, ShapeError


def log_softmax(x: Any) -> Any:
    return x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True)


def huber(x: Any, y: Any, delta: float) -> Any:
    d = abs(x - y)
    return np.where(d < delta, d * d / 2, delta * (d - delta / 2))


def cross_entropy(x: Any, labels: Any, smoothing: float = 0.0) -> Any:
    target = np.eye(x.shape[1])[labels] * (1 - smoothing) + smoothing / x.shape[1]
    return -(target * log_softmax(x)).sum(1)


LABELS = np.array([0, 4, 2, 2, 1, 3])
RANDOM = np.random.default_rng(1)
SHARES = RANDOM.random((6, 5))
SPARSE = np.where(SHARES < 0.3, 0, SHARES)
TARGETS = RANDOM.standard_normal((6, 5))

# name, loss, targets, formula of one value for each prediction
LOSSES: list[tuple[str, Any, Any, Any]] = [
    ("mse", nn.MSELoss, TARGETS, lambda x, y: (x - y) ** 2),
    ("l1", nn.L1Loss, TARGETS, lambda x, y: abs(x - y)),
    ("huber", nn.HuberLoss, TARGETS, lambda x, y: huber(x, y, 1.0)),
    ("huber of another delta", lambda **kw: nn.HuberLoss(0.3, **kw), TARGETS, lambda x, y: huber(x, y, 0.3)),
    ("bce of logits", nn.BCEWithLogitsLoss, SHARES, lambda x, y: np.logaddexp(0, x) - x * y),
    ("kl", nn.KLDivLoss, SPARSE, lambda x, y: np.where(y > 0, y * (np.log(np.where(y > 0, y, 1)) - x), 0)),
    ("nll", nn.NLLLoss, LABELS, lambda x, y: -x[np.arange(6), y]),
    ("cross entropy", nn.CrossEntropyLoss, LABELS, cross_entropy),
    ("smoothed", lambda **kw: nn.CrossEntropyLoss(0.1, **kw), LABELS, lambda x, y: cross_entropy(x, y, 0.1)),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("make", "targets", "formula"), [r[1:] for r in LOSSES], ids=[r[0] for r in LOSSES])
def test_loss_against_its_formula(
    make: Any, targets: Any, formula: Any, reduction: str, device: needle.Device, rng: np.random.Generator
) -> None:
    values = rng.standard_normal((6, 5)) * 3
    dtype = "int64" if targets is LABELS else "float32"
    loss = make(reduction=reduction)(
        Tensor(values, device=device, dtype="float32"), Tensor(targets, device=device, dtype=dtype)
    )
    expected = {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](formula(values, targets))
    assert loss.shape == expected.shape
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("make", "targets"), [(r[1], r[2]) for r in LOSSES], ids=[r[0] for r in LOSSES])
def test_gradient_against_differences(make: Any, targets: Any, rng: np.random.Generator) -> None:
    x = Tensor(rng.standard_normal((6, 5)) * 3, device="numpy", requires_grad=True)
    y, loss = Tensor(targets, device="numpy"), make()
    loss(x, y).backward()
    start, direction = x.numpy(), rng.standard_normal((6, 5))
    ends = [loss(Tensor(start + step * direction, device="numpy"), y).item() for step in (1e-6, -1e-6)]
    np.testing.assert_allclose((x.grad.numpy() * direction).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_softmax_loss(dtype: str, device: needle.Device, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((6, 5)).astype(np.float32)
    x = Tensor(logits, device=device, requires_grad=True)
    loss = nn.SoftmaxLoss()(x, Tensor(LABELS, device=device, dtype=dtype))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert loss.shape == ()
    np.testing.assert_allclose(loss.item(), -np.log(shares[np.arange(6), LABELS]).mean(), rtol=1e-5)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), (shares - np.eye(5)[LABELS]) / 6, rtol=1e-4, atol=1e-6)


def test_losses_do_not_overflow() -> None:
    x = needle.tensor([[1000.0, -1000.0]])
    assert nn.CrossEntropyLoss(0.5)(x, needle.tensor([0])).item() == 500
    assert nn.BCEWithLogitsLoss()(x, needle.tensor([[1.0, 0.0]])).item() == 0


def test_bce_of_probabilities(device: needle.Device) -> None:
    """At 0 and 1 the logarithm is taken as -100; in between it is the loss of logits."""
    x = needle.tensor([0.25, 0.5, 0.0, 1.0, 0.0], device=device, requires_grad=True)
    y = needle.tensor([1.0, 0.5, 1.0, 1.0, 0.0], device=device)
    values = nn.BCELoss("none")(x, y)
    np.testing.assert_allclose(values.numpy(), [np.log(4), np.log(2), 100, 0, 0], rtol=1e-6)
    values[:2].sum().backward()
    np.testing.assert_allclose(x.grad.numpy()[:2], [-4, 0], atol=1e-6)


FAILS: list[tuple[Any, type[Exception], str]] = [
    (lambda: nn.MSELoss()(needle.ones(3, 1), needle.ones(3)), ShapeError,
     "MSELoss: predictions are (3, 1), targets (3,)"),
    (lambda: nn.NLLLoss()(needle.ones(3, 2), needle.ones(4)), ShapeError,
     "NLLLoss: takes (n, classes) and (n,): predictions are (3, 2), labels (4,)"),
    (lambda: nn.L1Loss("median"), ArgumentError, "L1Loss: a reduction is 'mean', 'sum' or 'none', not 'median'"),
    (lambda: nn.HuberLoss(0), ArgumentError, "HuberLoss: delta is above 0, not 0"),
    (lambda: nn.CrossEntropyLoss(2), ArgumentError, "CrossEntropyLoss: label_smoothing is from 0 to 1, not 2"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), FAILS)
def test_what_does_not_fit(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text

"""Initial values: the course's numbers under one NumPy seed, and what the distributions promise."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

from needle import Tensor, init

UNIFORM: list[tuple[str, Callable[[], Tensor], tuple[int, ...], float]] = [
    ("xavier", lambda: init.xavier_uniform(3, 5), (3, 5), sqrt(6 / 8)),
    ("xavier gain", lambda: init.xavier_uniform(3, 5, gain=1.5), (3, 5), 1.5 * sqrt(6 / 8)),
    ("kaiming", lambda: init.kaiming_uniform(3, 5), (3, 5), sqrt(2) * sqrt(3 / 3)),
    ("kaiming shape", lambda: init.kaiming_uniform(18, 5, shape=(3, 3, 2, 4)), (3, 3, 2, 4), sqrt(2) * sqrt(3 / 18)),
]
NORMAL: list[tuple[str, Callable[[], Tensor], tuple[int, ...], float]] = [
    ("xavier", lambda: init.xavier_normal(3, 5), (3, 5), sqrt(2 / 8)),
    ("xavier gain", lambda: init.xavier_normal(3, 5, gain=1.5), (3, 5), 1.5 * sqrt(2 / 8)),
    ("kaiming", lambda: init.kaiming_normal(3, 5), (3, 5), sqrt(2) / sqrt(3)),
    ("kaiming shape", lambda: init.kaiming_normal(18, 5, shape=(3, 3, 2, 4)), (3, 3, 2, 4), sqrt(2) / sqrt(18)),
]


@pytest.mark.parametrize(("make", "shape", "bound"), [row[1:] for row in UNIFORM], ids=[row[0] for row in UNIFORM])
def test_uniform_draws(make: Any, shape: Any, bound: float) -> None:
    np.random.seed(1)
    found = make().numpy()
    np.random.seed(1)
    draws = np.random.rand(*shape).astype(np.float32)
    np.testing.assert_array_equal(found, draws * np.float32(2 * bound) + np.float32(-bound))


@pytest.mark.parametrize(("make", "shape", "std"), [row[1:] for row in NORMAL], ids=[row[0] for row in NORMAL])
def test_normal_draws(make: Any, shape: Any, std: float) -> None:
    np.random.seed(1)
    found = make().numpy()
    np.random.seed(1)
    np.testing.assert_array_equal(found, np.random.randn(*shape).astype(np.float32) * np.float32(std))


def test_places_and_types() -> None:
    made = [
        init.uniform(2, 3, device="numpy", dtype="float64", requires_grad=True),
        init.orthogonal(2, 3, device="numpy", dtype="float64", requires_grad=True),
        init.xavier_normal(2, 3, device="numpy", dtype="float64", requires_grad=True),
    ]
    for tensor in made:
        assert (tensor.shape, tensor.dtype, str(tensor.device)) == ((2, 3), "float64", "numpy:0")
        assert tensor.requires_grad


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    np.random.seed(0)
    q = init.orthogonal(*shape, gain=2.0, dtype="float64", device="numpy").numpy()
    product = q @ q.T if shape[0] <= shape[1] else q.T @ q
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-12)


def test_truncated_normal() -> None:
    np.random.seed(0)
    values = init.truncated_normal(20_000, mean=1.0, std=2.0, low=-1.0, high=3.0).numpy()
    assert values.min() >= -1
    assert values.max() <= 3
    np.testing.assert_allclose(values.mean(), 1, atol=0.03)
    np.testing.assert_allclose(values.std(), 2 * 0.5396, rtol=0.02)  # of N(0, 1) in [-1, 1]: sqrt(1 - 2 f(1) / P)
    np.random.seed(0)
    np.testing.assert_array_equal(values, init.truncated_normal(20_000, mean=1.0, std=2.0, low=-1.0, high=3.0).numpy())


def test_constants() -> None:
    np.testing.assert_array_equal(init.constant(2, 3, c=1.5).numpy(), np.full((2, 3), 1.5))
    np.testing.assert_array_equal(init.ones(2).numpy(), [1, 1])
    np.testing.assert_array_equal(init.zeros_like(init.ones(2, dtype="int32")).numpy(), [0, 0])

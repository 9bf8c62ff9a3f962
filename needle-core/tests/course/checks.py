"""Ways to test an op as course homework does: against NumPy, and its gradient against finite differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import needle as ndl
from needle import course

NUMPY = course.NUMPY
EPS = 1e-5 if NUMPY else 1e-2
RTOL = 1e-6 if NUMPY else 2e-2


def tensors(*shapes: tuple[int, ...], low: float = 0.5, high: float = 2.0) -> list[Any]:
    """Leaves of numbers away from 0, where logarithms, quotients and kinks are."""
    return [ndl.Tensor(np.random.uniform(low, high, shape)) for shape in shapes]


def assert_same(found: Any, expected: Any) -> None:
    tolerance = 1e-12 if NUMPY else 1e-5
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def differences(f: Callable[..., Any], weights: Any, args: Sequence[Any]) -> list[Any]:
    """The gradient of (f(*args) * weights).sum(), by changing one element of an argument at a time, in place."""
    grads = []
    for arg in args:
        grad = np.zeros(arg.shape)
        for j in range(int(np.prod(arg.shape))):
            values = []
            for step in (EPS, -2 * EPS):
                arg.realize_cached_data().flat[j] += step
                values.append(float((f(*args).numpy().astype(np.float64) * weights).sum()))
            arg.realize_cached_data().flat[j] += EPS
            grad.reshape(-1)[j] = (values[0] - values[1]) / (2 * EPS)
        grads.append(grad)
    return grads


def check_gradient(f: Callable[..., Any], *args: Any) -> None:
    """By the op's own `gradient_as_tuple`, and by `backward` through what follows."""
    out = f(*args)
    weights = np.random.uniform(0.5, 1.5, out.shape)
    expected = differences(f, weights, args)
    if list(out.inputs) == list(args):
        for found, grad in zip(out.op.gradient_as_tuple(ndl.Tensor(weights), out), expected, strict=True):
            compare(found, grad)
    (f(*args) * ndl.Tensor(weights)).sum().backward()
    for arg, grad in zip(args, expected, strict=True):
        compare(arg.grad, grad)
        assert arg.grad.shape == arg.shape


def compare(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=RTOL, atol=RTOL)

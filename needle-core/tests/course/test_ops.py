"""Every op of the course against NumPy, and its gradient against finite differences."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from checks import NUMPY, assert_same, check_gradient, tensors

import needle as ndl


class Case(NamedTuple):
    f: Callable[..., Any]
    expected: Callable[..., Any]
    shapes: list[tuple[int, ...]]
    low: float = 0.5


def conv_reference(image: Any, kernel: Any, stride: int, padding: int) -> Any:
    p, k = padding, kernel.shape[0]
    padded = np.pad(image, [(0, 0), (p, p), (p, p), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwckl,klco->nhwo", windows, kernel)


def dilated(x: Any, axes: tuple[int, ...], d: int) -> Any:
    out = np.zeros([n * (d + 1) if a in axes else n for a, n in enumerate(x.shape)])
    out[tuple(slice(None, None, d + 1 if a in axes else 1) for a in range(x.ndim))] = x
    return out


CASES = {
    "add": Case(ndl.add, np.add, [(3, 4), (3, 4)]),
    "+": Case(lambda a, b: a + b, np.add, [(3, 4), (3, 4)]),
    "+ broadcast": Case(lambda a, b: a + b, np.add, [(3, 4), (4,)]),
    "add_scalar": Case(lambda a: ndl.add_scalar(a, 2.5), lambda a: a + 2.5, [(3, 4)]),
    "add_scalar of an array": Case(lambda a: ndl.add_scalar(a, np.array([2.5])), lambda a: a + 2.5, [(3, 4)]),
    "radd": Case(lambda a: 2 + a, lambda a: a + 2, [(3, 4)]),
    "-": Case(lambda a, b: a - b, np.subtract, [(3, 4), (3, 4)]),
    "- scalar": Case(lambda a: a - 2, lambda a: a - 2, [(3, 4)]),
    "scalar -": Case(lambda a: 2 - a, lambda a: 2 - a, [(3, 4)]),
    "multiply": Case(ndl.multiply, np.multiply, [(3, 4), (3, 4)]),
    "mul_scalar": Case(lambda a: ndl.mul_scalar(a, -3), lambda a: a * -3, [(3, 4)]),
    "rmul": Case(lambda a: 3 * a, lambda a: a * 3, [(3, 4)]),
    "power": Case(ndl.power, np.power, [(3, 4), (3, 4)]),
    "power broadcast": Case(ndl.power, np.power, [(3, 4), (1, 4)]),
    "power_scalar": Case(lambda a: ndl.power_scalar(a, 3), lambda a: a**3, [(3, 4)]),
    "power 0": Case(lambda a: a**0, np.ones_like, [(3, 4)], low=-1.0),
    "divide": Case(ndl.divide, np.divide, [(3, 4), (3, 4)]),
    "divide broadcast": Case(lambda a, b: a / b, np.divide, [(3, 4), (3, 1)]),
    "divide_scalar": Case(lambda a: ndl.divide_scalar(a, 3), lambda a: a / 3, [(3, 4)]),
    "scalar /": Case(lambda a: 3 / a, lambda a: 3 / a, [(3, 4)]),
    "negate": Case(ndl.negate, np.negative, [(3, 4)]),
    "neg": Case(lambda a: -a, np.negative, [(3, 4)]),
    "log": Case(ndl.log, np.log, [(3, 4)]),
    "exp": Case(ndl.exp, np.exp, [(3, 4)]),
    "relu": Case(ndl.relu, lambda a: np.maximum(a, 0), [(3, 4)], low=-2.0),
    "tanh": Case(ndl.tanh, np.tanh, [(3, 4)], low=-2.0),
    "transpose": Case(ndl.transpose, lambda a: np.swapaxes(a, -1, -2), [(2, 3, 4)]),
    "transpose axes": Case(lambda a: ndl.transpose(a, axes=(0, 2)), lambda a: np.swapaxes(a, 0, 2), [(2, 3, 4)]),
    "transpose method": Case(lambda a: a.transpose((0, 1)), lambda a: np.swapaxes(a, 0, 1), [(2, 3, 4)]),
    "reshape": Case(lambda a: ndl.reshape(a, (4, 3)), lambda a: a.reshape(4, 3), [(3, 4)]),
    "reshape -1": Case(lambda a: a.reshape((2, -1)), lambda a: a.reshape(2, -1), [(3, 4)]),
    "reshape transposed": Case(lambda a: a.transpose().reshape((12,)), lambda a: a.T.reshape(12), [(3, 4)]),
    "broadcast_to": Case(lambda a: ndl.broadcast_to(a, (3, 4)), lambda a: np.broadcast_to(a, (3, 4)), [(3, 1)]),
    "broadcast_to rank": Case(lambda a: a.broadcast_to((2, 3, 4)), lambda a: np.broadcast_to(a, (2, 3, 4)), [(4,)]),
    "broadcast_to of 0-d": Case(lambda a: a.broadcast_to((2, 3)), lambda a: np.broadcast_to(a, (2, 3)), [()]),
    "broadcast_to itself": Case(lambda a: a.broadcast_to((3, 4)), lambda a: a, [(3, 4)]),
    "summation": Case(ndl.summation, lambda a: a.sum(), [(3, 4)]),
    "summation axis": Case(lambda a: ndl.summation(a, axes=1), lambda a: a.sum(1), [(3, 4)]),
    "summation negative": Case(lambda a: a.sum(axes=-1), lambda a: a.sum(-1), [(2, 3, 4)]),
    "summation axes": Case(lambda a: a.sum((0, 2)), lambda a: a.sum((0, 2)), [(2, 3, 4)]),
    "summation tuple of one": Case(lambda a: a.sum((1,)), lambda a: a.sum(1), [(3, 4)]),
    "matmul": Case(ndl.matmul, np.matmul, [(3, 4), (4, 2)]),
    "@ batched": Case(lambda a, b: a @ b, np.matmul, [(2, 3, 4), (2, 4, 2)]),
    "@ broadcast left": Case(lambda a, b: a @ b, np.matmul, [(3, 4), (2, 2, 4, 2)]),
    "@ broadcast right": Case(lambda a, b: a @ b, np.matmul, [(2, 2, 3, 4), (4, 2)]),
    "@ broadcast both": Case(lambda a, b: a @ b, np.matmul, [(2, 1, 3, 4), (1, 2, 4, 2)]),
    "@ of a vector": Case(lambda a, b: a @ b, np.matmul, [(3, 4), (4,)]),
    "logsoftmax": Case(ndl.logsoftmax, lambda a: a - np.log(np.exp(a).sum(1, keepdims=True)), [(3, 4)]),
    "logsumexp": Case(ndl.logsumexp, lambda a: np.log(np.exp(a).sum()), [(3, 4)]),
    "logsumexp axes": Case(lambda a: ndl.logsumexp(a, (0, 2)), lambda a: np.log(np.exp(a).sum((0, 2))), [(2, 3, 4)]),
    "logsumexp axis": Case(lambda a: ndl.logsumexp(a, axes=1), lambda a: np.log(np.exp(a).sum(1)), [(3, 4)]),
    "flip axis": Case(lambda a: ndl.flip(a, axis=(0, 1)), lambda a: np.flip(a, (0, 1)), [(2, 3, 2)]),
    "summation NumPy's axis": Case(lambda a: a.sum(axis=(0, 2)), lambda a: a.sum((0, 2)), [(2, 3, 4)]),
    "logsumexp NumPy's axis": Case(lambda a: a.logsumexp(axis=1), lambda a: np.log(np.exp(a).sum(1)), [(3, 4)]),
    "needle.logsumexp axis": Case(lambda a: ndl.logsumexp(a, axis=1), lambda a: np.log(np.exp(a).sum(1)), [(3, 4)]),
    "mean axis": Case(lambda a: ndl.mean(a, axis=1), lambda a: a.mean(1), [(3, 4)]),
    "flip": Case(lambda a: ndl.flip(a, (0, 1)), lambda a: np.flip(a, (0, 1)), [(2, 3, 2)]),
    "dilate": Case(lambda a: ndl.dilate(a, (0, 1), 1), lambda a: dilated(a, (0, 1), 1), [(2, 3)]),
    "dilate beyond": Case(lambda a: ndl.dilate(a, axes=(1, 5), dilation=2), lambda a: dilated(a, (1,), 2), [(2, 3)]),
    "dilate by 0": Case(lambda a: ndl.dilate(a, (0,), 0), lambda a: a, [(2, 3)]),
    "undilate": Case(lambda a: ndl.undilate(a, (0, 1), 1), lambda a: a[::2, ::2], [(4, 6)]),
    "conv": Case(lambda a, b: ndl.conv(a, b), lambda a, b: conv_reference(a, b, 1, 1), [(2, 4, 4, 2), (3, 3, 2, 2)]),
    "conv stride": Case(
        lambda a, b: ndl.conv(a, b, stride=2, padding=0),
        lambda a, b: conv_reference(a, b, 2, 0),
        [(1, 5, 6, 2), (2, 2, 2, 1)],
    ),
    "class Conv": Case(
        lambda a, b: ndl.ops.Conv(padding=2)(a, b),
        lambda a, b: conv_reference(a, b, 1, 2),
        [(1, 3, 3, 1), (3, 3, 1, 2)],
    ),
    "stack": Case(lambda a, b: ndl.stack([a, b], axis=1), lambda a, b: np.stack([a, b], 1), [(3, 4), (3, 4)]),
    "stack of a tuple": Case(
        lambda a, b: ndl.stack(ndl.make_tuple(a, b), 2), lambda a, b: np.stack([a, b], 2), [(3, 4), (3, 4)]
    ),
    "split": Case(lambda a: ndl.split(a, axis=1)[2], lambda a: a[:, 2], [(3, 4)]),
    "split and stack": Case(lambda a: ndl.stack(ndl.split(a, 0), 1), lambda a: a.T, [(3, 4)]),
    "fused_add_scalars": Case(
        lambda a: (lambda t: t[0] * t[1])(ndl.fused_add_scalars(a, 1, 2)), lambda a: (a + 1) * (a + 2), [(3, 4)]
    ),
    "a longer way": Case(
        lambda a, b, c: ndl.log(ndl.exp(a @ b + c).sum(1) / 2.0) * 3 - (b * b).sum(),
        lambda a, b, c: np.log(np.exp(a @ b + c).sum(1) / 2) * 3 - (b * b).sum(),
        [(3, 4), (4, 2), (2,)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_value(name: str) -> None:
    case = CASES[name]
    inputs = tensors(*case.shapes, low=case.low)
    result, expected = case.f(*inputs), case.expected(*(x.numpy() for x in inputs))
    if not NUMPY and np.shape(expected) == ():
        expected = np.reshape(expected, 1)  # in nd mode a sum of everything is (1,)
    assert isinstance(result, ndl.Tensor)
    assert result.shape == np.shape(expected)
    assert result.dtype == ("float64" if NUMPY else "float32")
    assert_same(result.numpy(), expected)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    case = CASES[name]
    check_gradient(case.f, *tensors(*case.shapes, low=case.low))


@pytest.mark.parametrize("name", ["divide", "@ broadcast left", "logsumexp axes", "tanh", "conv", "summation axes"])
def test_gradient_of_the_gradient(name: str) -> None:
    case = CASES[name]

    def slope(x: Any, *others: Any) -> Any:
        (case.f(x, *others) ** 2).sum().backward()
        return x.grad

    inputs = tensors(*case.shapes, low=case.low)
    check_gradient(lambda x: slope(x, *inputs[1:]), inputs[0])


def test_relu_at_0() -> None:
    x = ndl.Tensor([-1.0, 0.0, 1.0])
    ndl.relu(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 1])


def test_power_0_at_0() -> None:
    x = ndl.Tensor([0.0, 2.0])
    (x**0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0])


def test_large_numbers_do_not_overflow() -> None:
    x = ndl.Tensor([[1e5, 1e5 + 1, 0.0]])
    assert_same(ndl.logsoftmax(x).numpy()[0, :2], [-1.3132617, -0.3132617] if not NUMPY else _two(1e5))
    far = ndl.Tensor([[1e10, 9e9, 1e8], [1e-10, 9e9, 1e8]])
    np.testing.assert_allclose(ndl.logsumexp(far, (0,)).numpy(), [1e10, 9e9 + np.log(2), 1e8 + np.log(2)], rtol=1e-6)
    ndl.logsumexp(far).sum().backward()
    np.testing.assert_allclose(far.grad.numpy(), [[1, 0, 0], [0, 0, 0]], atol=1e-6)


def _two(base: float) -> Any:
    total = np.log1p(np.exp(-1.0))
    return [-1 - total, -total]


def test_numbers_leave_the_dtype_alone() -> None:
    x = ndl.Tensor(np.ones(3), dtype="float32")
    for result in (x + 1, x * 2.0, x / np.sqrt(2), x - np.float64(1), x ** np.int64(2), x * np.array([3.0])):
        assert result.dtype == "float32"
        assert result.numpy().dtype == np.float32


@pytest.mark.skipif(not NUMPY, reason="nd mode holds float32 alone")
def test_integers_are_kept() -> None:
    x = ndl.Tensor([1, 2, 3])
    assert x.numpy().dtype == np.int64
    assert (x * x + 1).numpy().dtype == np.int64
    (x**2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 4, 6])


@pytest.mark.skipif(NUMPY, reason="np mode holds NumPy's arrays")
def test_everything_is_float32() -> None:
    x = ndl.Tensor(np.arange(3))
    assert x.dtype == "float32"
    assert isinstance(x.realize_cached_data(), ndl.NDArray)
    assert ndl.Tensor([1, 2]).numpy().dtype == np.float32

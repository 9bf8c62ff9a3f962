"""The members of the course's Tensor, and TensorTuples."""

import copy
from typing import Any

import numpy as np
import pytest
from checks import NUMPY, assert_same, tensors

import needle as ndl


def test_it_wants_a_gradient_unless_told_otherwise() -> None:
    assert ndl.Tensor([1.0]).requires_grad
    assert not ndl.Tensor([1.0], requires_grad=False).requires_grad
    assert ndl.Tensor(np.ones(2), device=ndl.cpu(), dtype="float32", requires_grad=True).requires_grad


def test_a_numpy_array_is_copied() -> None:
    source = np.ones((2, 2), np.float32)
    x = ndl.Tensor(source)
    source[0, 0] = 5
    assert_same(x.numpy(), np.ones((2, 2)))
    x.numpy()[0, 0] = 7
    assert_same(x.numpy(), np.ones((2, 2)))


def test_a_tensor_shares_what_it_is_made_of() -> None:
    x = ndl.Tensor([1.0, 2.0], dtype="float32")
    y = ndl.Tensor(x)
    assert y.op is None
    assert y.cached_data is x.cached_data
    assert ndl.Tensor(x, device=x.device, dtype="float32").cached_data is x.cached_data
    assert ndl.Tensor(x * 2).op is None


def test_writing_in_place() -> None:
    for values in ([1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]], 5.0):
        x = ndl.Tensor(np.array(values))
        before = x.numpy()
        for j in range(before.size):
            x.realize_cached_data().flat[j] += 0.5
        assert_same(x.numpy(), before + 0.5)
    total = ndl.Tensor([1.0, 2.0]).sum()
    total.realize_cached_data().flat[0] += 1
    assert_same(total.numpy().item(), 4.0)


def test_data_and_detach() -> None:
    x = ndl.Tensor([1.0, 2.0])
    y = x * 2
    for detached in (y.data, y.detach()):
        assert detached.op is None
        assert not detached.requires_grad
        assert detached.cached_data is y.cached_data
    x.data = x.data - 1 * ndl.Tensor([1.0, 1.0], requires_grad=False)
    assert_same(x.numpy(), [0, 1])
    assert x.requires_grad
    assert x.op is None
    with pytest.raises(AssertionError, match="data: takes a Tensor of dtype"):
        x.data = np.ones(2)
    with pytest.raises(TypeError, match="not int32"):
        x.data = x.detach().astype("int32")


def test_equality_is_identity() -> None:
    x, y = ndl.Tensor([1.0]), ndl.Tensor([1.0])
    assert (x == y) is False
    assert (x == x) is True
    assert (x != y) is True
    assert {x: 1, y: 2}[x] == 1
    assert y not in [x]


def test_what_it_is() -> None:
    x = ndl.Tensor(np.ones((2, 3)), dtype="float32")
    assert x.shape == (2, 3)
    assert isinstance(x.shape, tuple)
    assert x.dtype == "float32"
    assert x.device == ndl.cpu()
    assert x.grad is None
    assert x.ndim == 2
    assert x.size == 6
    assert isinstance(x.numpy(), np.ndarray)
    assert "needle.Tensor" in repr(x)
    assert "1." in str(x)
    assert np.asarray(x).shape == (2, 3)
    np.testing.assert_allclose(x.realize_cached_data(), np.ones((2, 3)))


def test_methods_have_the_course_s_arguments() -> None:
    (x,) = tensors((2, 3, 4))
    values = x.numpy()
    assert_same(x.sum(axes=(0, 1)).numpy(), values.sum((0, 1)))
    assert_same(x.reshape((6, 4)).numpy(), values.reshape(6, 4))
    assert_same(x.reshape(6, 4).numpy(), values.reshape(6, 4))
    assert_same(x.transpose((0, 1)).numpy(), values.swapaxes(0, 1))
    assert_same(x.sum((2,)).broadcast_to((5, 2, 3)).shape, (5, 2, 3))
    assert_same(x.matmul(x.transpose()).numpy(), values @ values.swapaxes(1, 2))
    assert_same((2 + x).numpy(), values + 2)
    assert_same((2 * x - x / 2 + x**2 - -x).numpy(), 2 * values - values / 2 + values**2 + values)


def test_the_whole_of_needle_s_tensor_is_there_too() -> None:
    (x,) = tensors((3, 4))
    values = x.numpy()
    results = [x.mean(0, keepdims=True), x.max(1), x[1:, ::2], x.permute(1, 0), x.sigmoid(), x.softmax(), x.maximum(1)]
    expected = [
        values.mean(0, keepdims=True), values.max(1), values[1:, ::2], values.T, 1 / (1 + np.exp(-values)),
        np.exp(values) / np.exp(values).sum(1, keepdims=True), np.maximum(values, 1),
    ]  # fmt: skip
    for found, value in zip(results, expected, strict=True):
        assert isinstance(found, ndl.Tensor)
        assert found.requires_grad
        assert_same(found.numpy(), value)
    sum(r.sum() for r in results).backward()
    assert x.grad.shape == (3, 4)
    assert not (x < 1).requires_grad
    assert_same((x < 1).numpy(), values < 1)


def test_assignment_to_a_part() -> None:
    x = ndl.Tensor(np.zeros((2, 3)))
    x[0, 1:] = 4.0
    assert_same(x.numpy(), [[0, 4, 4], [0, 0, 0]])


def test_a_value_on_another_dtype() -> None:
    x = ndl.Tensor([1.0, 2.5])
    assert x.astype("int32").numpy().dtype == np.int32
    y = x.astype("float64" if NUMPY else "float32")
    assert y is x
    assert copy.copy(x).shape == (2,)


def test_tensors_meet_numpy_arrays() -> None:
    (x,) = tensors((2, 3))
    other = np.arange(6.0).reshape(2, 3)
    assert_same((x + other).numpy(), x.numpy() + other)
    assert_same((other - x).numpy(), other - x.numpy())
    assert_same((x * np.float32(2)).numpy(), x.numpy() * 2)
    assert_same((np.float64(2) * x).numpy(), x.numpy() * 2)


# TensorTuples.


def test_tuple() -> None:
    a, b = tensors((2, 3), (4,))
    t = ndl.make_tuple(a, b)
    assert isinstance(t, ndl.TensorTuple)
    assert len(t) == 2
    assert t[0] is a
    assert t.tuple() == (a, b)
    assert [x.shape for x in t] == [(2, 3), (4,)]
    assert ndl.tuple_get_item(t, 1) is b
    with pytest.raises(IndexError):
        t[2]


def test_tuples_add_up_and_detach() -> None:
    a, b = tensors((2,), (2,))
    total = ndl.make_tuple(a, b) + ndl.make_tuple(b, b)
    assert_same(total[0].numpy(), a.numpy() + b.numpy())
    detached = total.detach()
    assert detached.op is None
    assert not detached.requires_grad
    assert detached[1].op is None
    assert_same(detached[1].numpy(), 2 * b.numpy())
    with pytest.raises(AssertionError):
        total + ndl.make_tuple(a)


def test_gradients_through_tuples() -> None:
    a, b = tensors((2, 3), (2, 3))
    first, second = ndl.split(ndl.stack((a, b), 0), 0)
    (first * 2 + second * second).sum().backward()
    assert_same(a.grad.numpy(), np.full((2, 3), 2.0))
    assert_same(b.grad.numpy(), 2 * b.numpy())
    (x,) = tensors((3, 4))
    ndl.split(x, 1)[2].sum().backward()
    assert_same(x.grad.numpy(), np.eye(4)[[2]].repeat(3, 0))
    t = ndl.fused_add_scalars(x, 2, 5)
    (t[0] + t[1] * 3).sum().backward()
    assert_same(x.grad.numpy(), np.full((3, 4), 4.0))


def test_tuple_get_item_of_what_is_not_made_of_parts() -> None:
    (x,) = tensors((2, 3))
    t = ndl.split(x, 0)
    assert isinstance(t.op, ndl.ops.Split)
    part = ndl.tuple_get_item(t, 1)
    assert isinstance(part.op, ndl.ops.TupleGetItem)
    zero, one = part.op.gradient(ndl.Tensor([1.0, 2.0, 3.0]), part)
    assert_same(zero.numpy(), [0, 0, 0])
    assert_same(one.numpy(), [1, 2, 3])


def test_split_takes_needle_s_arguments_too() -> None:
    (x,) = tensors((4, 6))
    assert isinstance(ndl.split(x, 1), ndl.TensorTuple)
    parts: Any = ndl.split(x, 3, axis=1)
    assert [part.shape for part in parts] == [(4, 2)] * 3

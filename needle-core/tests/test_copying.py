"""`copy`, `deepcopy` and `pickle` of arrays and tensors, on every host device."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle.errors import GraphError
from needle.ndarray import from_numpy

DEVICES = [name for name in ("numpy", "cpu") if any(d.backend == name for d in ndl.devices())]
VALUES = np.arange(12).reshape(3, 4)
COPIES: dict[str, Callable[[Any], Any]] = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
VIEWS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda x: x,
    "permuted": lambda x: x.permute(1, 0),
    "sliced": lambda x: x[::2, ::-1],
    "scalar": lambda x: x[1, 2],
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
def test_arrays(device: str, how: str, view: str, dtype: str) -> None:
    x = VIEWS[view](from_numpy(VALUES, device, dtype))
    found = COPIES[how](x)
    assert (found.dtype, found.device, found.shape) == (x.dtype, x.device, x.shape)
    np.testing.assert_array_equal(found.numpy(), x.numpy())
    before = x.numpy()
    found[...] = 0
    np.testing.assert_array_equal(x.numpy(), before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("how", COPIES)
def test_leaves_with_their_gradients(device: str, how: str) -> None:
    x = ndl.tensor([1.0, 2.0], device=device, requires_grad=True)
    x.square().sum().backward()
    found = COPIES[how](x)
    assert type(found) is ndl.Tensor
    assert found.requires_grad
    assert found.is_leaf
    assert found.grad.tolist() == [2.0, 4.0]
    found.square().sum().backward()
    assert found.grad.tolist() == [4.0, 8.0]
    assert x.grad.tolist() == [2.0, 4.0]
    assert not COPIES[how](x.detach()).requires_grad


@pytest.mark.parametrize("device", DEVICES)
def test_a_shallow_copy_shares_memory(device: str) -> None:
    x = ndl.tensor([1.0, 2.0], device=device)
    for found in (copy.copy(x), copy.copy(x.array)):
        found[0] = 5.0
        assert x.tolist() == [5.0, 2.0]
        x[0] = 1.0


def test_what_was_deep_copied_twice_is_one() -> None:
    x = ndl.tensor([1.0])
    first, second = copy.deepcopy([x, x])
    assert first is second


@pytest.mark.parametrize("how", [*COPIES.values(), copy.copy])
def test_a_graph_is_not_copied(how: Callable[[Any], Any]) -> None:
    x = ndl.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(GraphError, match=r"copy: this tensor was computed and has a graph; .* its \.detach\(\)"):
        how(x)


def test_a_gradient_that_has_a_graph_is_copied_without() -> None:
    x = ndl.tensor([3.0], requires_grad=True)
    (x * x * x).backward(create_graph=True)
    found = copy.deepcopy(x)
    assert found.grad.is_leaf
    assert found.grad.tolist() == [27.0]

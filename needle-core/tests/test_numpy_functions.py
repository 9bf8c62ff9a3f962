"""NumPy's functions of Tensors are Needle's: against NumPy, on each device, with gradients."""

from typing import Any

import numpy as np
import pytest

import needle
from needle.errors import ArgumentError

DEVICES = [str(device) for device in needle.devices()]
X = np.random.default_rng(4).permutation(24).reshape(2, 3, 4).astype("float32")

CALLS: dict[str, Any] = {
    "argmax": lambda x: np.argmax(x),
    "argmax of an axis": lambda x: np.argmax(x, 1, keepdims=True),
    "argmin": lambda x: np.argmin(x, axis=-1),
    "cumsum": lambda x: np.cumsum(x),
    "cumsum of an axis": lambda x: np.cumsum(x, axis=1),
    "sort": lambda x: np.sort(x, 0),
    "sort of all": lambda x: np.sort(x, axis=None, kind="stable"),
    "argsort": lambda x: np.argsort(x),
    "concatenate": lambda x: np.concatenate([x, x[:1]]),
    "concatenate with NumPy": lambda x: np.concatenate([X, x], axis=2),
    "concatenate flat": lambda x: np.concatenate((x, x), None),
    "stack": lambda x: np.stack([x, X + 1], axis=1),
    "where": lambda x: np.where(x > 11, x, -1),
    "where of NumPy's": lambda x: np.where(X > 11, 0.5, x),
    "where of a list": lambda x: np.where([True, False, True, False], x, X),
    "clip": lambda x: np.clip(x, 3, 12.5),
    "clip above": lambda x: np.clip(x, None, 7),
    "einsum": lambda x: np.einsum("bij,bkj->bik", x, X, optimize=True),
    "reshape": lambda x: np.reshape(x, (4, -1)),
    "ravel": lambda x: np.ravel(x),
    "split": lambda x: np.split(x, 2, axis=2)[1],
    "split at": lambda x: np.split(x, [1, 3], -1)[1],
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "broadcast_to": lambda x: np.broadcast_to(x, (5, 2, 3, 4)),
    "transpose": lambda x: np.transpose(x),
    "transpose of axes": lambda x: np.transpose(x, (2, 0, 1)),
    "swapaxes": lambda x: np.swapaxes(x, 0, -1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "moveaxis of two": lambda x: np.moveaxis(x, (0, 1), (2, 0)),
    "tile": lambda x: np.tile(x, (2, 1, 3)),
    "repeat": lambda x: np.repeat(x, 2, axis=1),
    "roll": lambda x: np.roll(x, (1, -1), (0, 2)),
    "tril": lambda x: np.tril(x, 1),
    "triu": lambda x: np.triu(x),
    "flip": lambda x: np.flip(x, (0, 2)),
    "squeeze": lambda x: np.squeeze(x[:, :1], 1),
    "zeros_like": lambda x: np.zeros_like(x),
    "ones_like": lambda x: np.ones_like(x),
}
NO_GRADIENT = ("argmax", "argmin", "argsort", "zeros_like", "ones_like")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CALLS)
def test_against_numpy(name: str, device: str) -> None:
    x = needle.tensor(X, device=device, requires_grad=True)
    found, expected = CALLS[name](x), CALLS[name](X)
    assert isinstance(found, needle.Tensor)
    assert (found.device, found.shape) == (x.device, expected.shape)
    assert found.requires_grad == (not name.startswith(NO_GRADIENT))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_gradient() -> None:
    x = needle.tensor(X, requires_grad=True)
    np.concatenate([np.cumsum(x, axis=2), np.where(x > 11, x * 2, 0)]).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), np.arange(4, 0, -1) + 2.0 * (X > 11))


@pytest.mark.parametrize(("call", "text"), [
    (lambda x: np.argmax(x, out=np.zeros(())), "argmax: out is an"),
    (lambda x: np.cumsum(x, dtype="float64"), "cumsum: dtype is an"),
    (lambda x: np.concatenate([x], dtype="float64"), "concatenate: dtype is an"),
    (lambda x: np.clip(x, 0, 1, dtype="float64"), "clip: dtype is an"),
    (lambda x: np.reshape(x, -1, order="F"), "reshape: arrays of Needle are in row-major order"),
])  # fmt: skip
def test_arguments_of_numpy_alone(call: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        call(needle.tensor(X))


def test_others_are_of_numpy() -> None:
    x = needle.tensor(X)
    assert np.median(x) == np.median(X)
    assert np.allclose(x, X)
    assert np.shape(x) == X.shape
    np.testing.assert_array_equal(np.kron(x, x), np.kron(X, X))
    np.testing.assert_array_equal(np.where(x > 11), np.where(X > 11))

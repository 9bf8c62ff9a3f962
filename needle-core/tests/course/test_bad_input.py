"""What is wrong is said in one line, whatever lies in the Tensors."""

from collections.abc import Callable
from typing import Any

import pytest
from checks import NUMPY

import needle as ndl
from needle.errors import DeviceError, DTypeError, ShapeError

X = ndl.Tensor([[1.0, 2.0], [3.0, 4.0]])
Case = tuple[Callable[[], Any], type[Exception], str]

CASES: dict[str, Case] = {
    "add": (lambda: ndl.add(X, ndl.Tensor([1.0, 2.0, 3.0])), ShapeError, r"add: cannot broadcast \(2, 2\) with \(3,\)"),
    "divide": (lambda: X / ndl.Tensor([[1.0], [2.0], [3.0]]), ShapeError, r"divide: cannot broadcast"),
    "power": (lambda: ndl.power(X, ndl.Tensor([1.0] * 5)), ShapeError, r"power: cannot broadcast"),
    "stack of nothing": (lambda: ndl.stack([], 0), ShapeError, "stack: takes at least one Tensor"),
    "stack of shapes": (lambda: ndl.stack([X, ndl.Tensor([1.0])], 0), ShapeError, r"stack: \(2, 2\) and \(1,\) differ"),
    "stack axis": (lambda: ndl.stack([X, X], 3), ShapeError, "stack: axis 3 is out of range for rank 3"),
    "split axis": (lambda: ndl.split(X, 2), ShapeError, "split: axis 2 is out of range for rank 2"),
    "transpose axis": (lambda: ndl.transpose(X, (0, 5)), ValueError, "axis 5 is out of"),
    "tuple index": (lambda: ndl.split(X, 0)[2], IndexError, "TensorTuple: 2 is out of range of 2"),
    "text": (lambda: ndl.Tensor("text"), DTypeError, r"array: takes numbers, not <U4 of shape \(\)"),
    "None": (lambda: ndl.Tensor(None), DTypeError, r"array: takes numbers, not object of shape \(\)"),
    "words": (lambda: ndl.Tensor(["a", "b"]), DTypeError, r"array: takes numbers, not <U1 of shape \(2,\)"),
}


@pytest.mark.parametrize("name", CASES)
def test_messages(name: str) -> None:
    f, error, text = CASES[name]
    with pytest.raises(error, match=text) as caught:
        f()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(ndl.cuda().enabled(), reason="takes a device that is not there")
@pytest.mark.parametrize("make", [
    lambda d: ndl.Tensor([1.0], device=d), lambda d: ndl.Tensor(X, device=d), lambda d: d.zeros(2),
    lambda d: d.randn(2), lambda d: d.one_hot(3, 1), lambda d: d.full((2,), 1.0),
])  # fmt: skip
def test_devices_that_are_not_there(make: Callable[[Any], Any]) -> None:
    with pytest.raises(DeviceError, match="NEEDLE_BACKEND=np" if NUMPY else "no device 'cuda'"):
        make(ndl.cuda())

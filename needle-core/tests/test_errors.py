"""Bad input: each a one-line error of the taxonomy that names the op, what clashes, and the remedy."""

import re

import numpy as np
import pytest

import needle as ndl
from needle import dispatch, errors, habits
from needle.device import Device
from needle.errors import (
    ArgumentError,
    DeviceError,
    DTypeError,
    IndexRangeError,
    NeedleError,
    OutOfMemoryError,
    ShapeError,
)
from needle.reference import NumpyBackend
from needle.registry import registry


@pytest.fixture(autouse=True)
def other(monkeypatch):
    """A second device, "other:0"."""
    device = Device("other")
    monkeypatch.setitem(registry._backends, device, NumpyBackend())
    yield device
    dispatch._dispatchers.pop(device, None)


def x(*shape, dtype="float32"):
    return ndl.ones(*shape, dtype=dtype, device="numpy")


def there(*shape):
    return ndl.Tensor(ndl.ndarray.full(shape, 1.0, device=Device("other")))


ROWS = [
    (lambda: x(64, 128) + x(64, 10), ShapeError,
     "add: cannot broadcast (64, 128) with (64, 10): 128 and 10 differ and neither is 1"),
    (lambda: ndl.maximum(x(3), x(4)), ShapeError, "maximum: cannot broadcast (3,) with (4,): 3 and 4 differ"),
    (lambda: ndl.where(x(3) > 0, x(4), 0.0), ShapeError, "where: cannot broadcast (3,) with (4,) with ()"),
    (lambda: x(64, 128) @ x(256, 10), ShapeError,
     "matmul: inner sizes differ, 128 != 256: a is (64, 128), b is (256, 10)"),
    (lambda: x(2, 3, 4) @ x(3, 4, 5), ShapeError, "matmul: cannot broadcast (2,) with (3,)"),
    (lambda: x() @ x(3), ShapeError, "matmul: takes rank 1 or more: a is (), b is (3,)"),
    (lambda: ndl.linear(x(2, 3), x(4, 5), x(5)), ShapeError,
     "linear: inner sizes differ, 3 != 4: x is (2, 3), weight is (4, 5)"),
    (lambda: ndl.linear(x(2, 3), x(3, 5), x(4)), ShapeError, "linear: bias is (4,), expected (5,) or (1, 5)"),
    (lambda: x(2, 3).reshape(4, 2), ShapeError, "reshape: (2, 3) has 6 elements, (4, 2) has 8"),
    (lambda: x(2, 3).broadcast_to(2, 4), ShapeError, "broadcast_to: (2, 3) does not broadcast to (2, 4)"),
    (lambda: x(2, 3).permute(0, 0), ShapeError, "permute: (0, 0) is no order of the axes of (2, 3)"),
    (lambda: x(2, 3).squeeze(1), ShapeError, "squeeze: axis 1 has size 3, not 1: shape is (2, 3)"),
    (lambda: x(2, 3).sum(2), ShapeError, "sum: axis 2 is out of range for rank 2"),
    (lambda: x(0, 3).max(), ShapeError, "max: nothing to choose from"),
    (lambda: x(2, 0).argmax(1), ShapeError, "argmax: nothing to choose from along axis 1: shape is (2, 0)"),
    (lambda: ndl.concatenate([x(2, 3), x(2, 4)]), ShapeError,
     "concatenate: (2, 3) and (2, 4) differ in more than axis 0"),
    (lambda: x(2, 3).max(np.ones((9, 9))), ShapeError, "max: an axis is an int, not ndarray(...)"),
    (lambda: x(2, 3).gather(x(2, dtype="int32"), 1), ShapeError,
     "gather: an index of shape (2,) does not fit (2, 3)"),
    (lambda: x(2).matmul(None), DTypeError, "matmul: cannot take a NoneType; give an array, a number, or a NumPy"),
    (lambda: x(2, 3).linear(np.ones((3, 4)), x(4)), DTypeError,
     "takes Tensors, not ndarray(...); pass needle.Tensor(...) of it"),
    (lambda: ndl.conv2d(np.ones((1, 1, 4, 4)), x(3, 3, 1, 1)), DTypeError, "conv2d: takes Tensors, not ndarray"),
    (lambda: ndl.einsum(x(2), "i"), ShapeError, "einsum: the equation comes first, as in einsum('ij,jk->ik', a, b)"),
    (lambda: ndl.full(3, [1]), DTypeError, "full: takes a number, not [1]"),
    (lambda: ndl.eye(-1), ShapeError, "eye: negative size in (-1,)"),
    (lambda: ndl.linspace(0, 1, -1), ShapeError, "linspace: negative size in (-1,)"),
    (lambda: ndl.arange("x"), ArgumentError, "arange: takes finite numbers for start, stop and step, not 0, 'x', 1"),
    (lambda: ndl.arange(2**50), OutOfMemoryError, "out of memory: 9,007,199,254,740,992 bytes asked for"),
    (lambda: ndl.concatenate([]), ShapeError, "concatenate: takes at least one tensor"),
    (lambda: ndl.stack([x(2), x(3)]), ShapeError, "stack: (2,) and (3,) differ"),
    (lambda: ndl.split(x(5), 2), ShapeError, "split: 5 do not divide into 2 parts along axis 0: shape is (5,)"),
    (lambda: ndl.split(x(5), [2, 2]), ShapeError, "split: parts [2, 2] add up to 4, axis 0 has 5"),
    (lambda: ndl.cross_entropy(x(3, 4), x(2, dtype="int32")), ShapeError,
     "cross_entropy: takes (rows, classes) and (rows,): logits is (3, 4), labels is (2,)"),
    (lambda: ndl.cross_entropy(x(0, 4), x(0, dtype="int32")), ShapeError, "cross_entropy: the mean of nothing"),
    (lambda: ndl.cross_entropy(x(1, 4), ndl.tensor([4], device="numpy")), IndexRangeError,
     "cross_entropy: index 4 is out of range for size 4"),
    (lambda: ndl.gather(x(3, 4), ndl.tensor([[5]], device="numpy"), 0), IndexRangeError,
     "gather: index 5 is out of range for size 3"),
    (lambda: ndl.gather(x(3, 4), x(1, 1), 0), DTypeError, "gather: the index holds ints, not float32"),
    (lambda: ndl.gather(x(3, 4), ndl.tensor([0], device="numpy"), 0), ShapeError,
     "gather: an index of shape (1,) does not fit (3, 4)"),
    (lambda: x(3) + there(3), DeviceError, "add: operands are on numpy:0 and other:0; move one with .to(device)"),
    (lambda: x(3, 3) @ there(3, 3), DeviceError,
     "matmul: operands are on numpy:0 and other:0; move one with .to(device)"),
    (lambda: ndl.where(x(3) > 0, there(3), 0.0), DeviceError, "where: operands are on numpy:0 and other:0"),
    (lambda: x(3).array.assign(there(3).array), DeviceError, "assign: operands are on numpy:0 and other:0"),
    (lambda: ndl.concatenate([x(3), there(3)]), DeviceError, "concatenate: operands are on numpy:0 and other:0"),
    (lambda: ndl.zeros(2**40, 2**40), ShapeError, "more elements than a 64-bit size in bytes can count"),
    (lambda: x(1).broadcast_to(2**31, 1) + x(1).broadcast_to(2**31), ShapeError,
     "more elements than a 64-bit size in bytes can count"),
    (lambda: ndl.device("warp9"), DeviceError, "no device 'warp9'; ready: "),
    (lambda: ndl.device("numpy:1"), DeviceError, "no device 'numpy:1'; numpy has only 0"),
    (lambda: ndl.device("cuda one"), DeviceError, "device: cannot read 'cuda one'; write a name and perhaps an index"),
    (lambda: ndl.device(3), DeviceError, "device: expected a Device or text such as 'cuda:1', not int"),
    (lambda: ndl.arange(0, 3, 0), ShapeError, "arange: the step is 0"),
    (lambda: x(3).to(dtype="float99"), DTypeError, "no dtype 'float99'; there are bool"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), ROWS, ids=[text[:40] for _, _, text in ROWS])
def test_one_line_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_taxonomy_is_what_python_users_would_catch():
    assert issubclass(ShapeError, ValueError)
    assert issubclass(DTypeError, TypeError)
    assert issubclass(IndexRangeError, IndexError)
    assert issubclass(errors.OutOfMemoryError, MemoryError)
    assert all(issubclass(e, NeedleError) for e in (ShapeError, DTypeError, DeviceError, IndexRangeError))


def test_running_out_of_memory_leaves_the_process_working():
    with pytest.raises(errors.OutOfMemoryError, match=r"out of memory: 4,398,046,511,104 bytes asked for"):
        ndl.empty(2**40, device="numpy")
    np.testing.assert_array_equal((x(3) * 2.0).numpy(), [2, 2, 2])


@pytest.mark.parametrize("name", habits._NAMES)
def test_names_of_pytorch_are_told_what_they_are_here(name):
    assert not (hasattr(ndl, name) and hasattr(ndl.Tensor, name))
    for owner in (ndl, x(2)):
        if not hasattr(owner, name):
            with pytest.raises(AttributeError) as caught:
                getattr(owner, name)
            told = str(caught.value).partition("; in Needle it is ")[2]
            module, word = re.match(r"(needle\.)?(\w+)", told).groups()  # a function, a method, or the operand x
            assert word == "x" or hasattr(ndl if module else ndl.Tensor, word)


def test_other_names_are_just_missing():
    with pytest.raises(AttributeError, match=r"^'Tensor' object has no attribute 'nothing'$"):
        x(2).nothing  # noqa: B018
    with pytest.raises(AttributeError, match=r"in Needle it is to\('cuda'\)$"):
        x(2).cuda()
    with pytest.raises(AttributeError, match=r"has no attribute 'add_'; Needle writes in place by x\[...\] = values"):
        x(2).add_(1)

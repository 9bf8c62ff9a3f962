"""`axis`, NumPy's name of `axes`: on Tensors, arrays and functions, against NumPy; and its own functions of them."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import backend_ndarray
from needle.errors import ArgumentError

DEVICES = [str(device) for device in needle.devices()]
X = np.random.default_rng(4).standard_normal((2, 1, 3, 1)).astype("float32")
AXES: list[Any] = [None, 0, -2, (0, 2), [1, -1], ()]


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis, keepdims=keepdims))


REDUCTIONS: dict[str, Any] = {
    "sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "mean": np.mean, "any": np.any, "all": np.all,
    "var": np.var, "std": np.std, "logsumexp": logsumexp,
}  # fmt: skip


def faces(name: str, device: str, values: Any = X) -> list[Any]:
    """All that is called `name`: a Tensor's method, an NDArray's if it has one, and the function."""
    x = needle.tensor(values, device=device)
    methods = [getattr(v, name) for v in (x, x.array) if hasattr(v, name)]
    return [*methods, lambda *args, **options: getattr(needle, name)(x, *args, **options)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=repr)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str, axis: Any, keepdims: bool, device: str) -> None:
    expected = REDUCTIONS[name](X, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    for function in faces(name, device):
        found = function(axis=axis, keepdims=keepdims)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


OF_NUMPY: list[tuple[Any, dict[str, Any]]] = [
    *((function, {}) for function in (np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.mean, np.any, np.all)),
    *((function, {"axis": 2, "keepdims": True}) for function in (np.sum, np.prod, np.max, np.min, np.mean, np.any)),
    *((function, {"axis": (0, -2)}) for function in (np.sum, np.max, np.mean, np.any)),
    (np.sum, {"out": None, "dtype": None}), (np.mean, {"where": True}),
    (np.var, {}), (np.std, {}), (np.var, {"axis": 0, "ddof": 1}),
    (np.std, {"axis": (0, 2), "keepdims": True, "ddof": 1}),
]  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("function", "options"), OF_NUMPY, ids=lambda part: getattr(part, "__name__", str(part)))
def test_functions_of_numpy(function: Any, options: dict[str, Any], device: str) -> None:
    """np.sum(x) is x.sum(): on a Tensor, recorded for its gradient; on an array; on the course's array."""
    expected, x = function(X, **options), needle.tensor(X, device=device, requires_grad=True)
    found = function(x, **options)
    assert isinstance(found, needle.Tensor)
    assert found.requires_grad == (function not in (np.any, np.all))
    array = function(x.array, **options)
    assert isinstance(array, needle.NDArray) or function in (np.var, np.std)  # of which arrays have none: NumPy's
    for result in (found, array):
        np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [np.sum, np.max])
def test_functions_of_numpy_on_the_course(function: Any) -> None:
    x = backend_ndarray.array(X)
    np.testing.assert_allclose(function(x, axis=2).numpy(), function(X, axis=2), rtol=1e-6)
    np.testing.assert_allclose(function(x).numpy(), function(X, keepdims=True).reshape(1), rtol=1e-6)


@pytest.mark.parametrize(("function", "options", "text"), [
    (np.sum, {"out": np.zeros(())}, "sum: out is"), (np.sum, {"dtype": "float64"}, "sum: dtype is"),
    (np.prod, {"initial": 2.0}, "prod: initial is"), (np.max, {"initial": 0.0}, "max: initial is"),
    (np.min, {"out": np.zeros(())}, "min: out is"), (np.mean, {"dtype": np.float64}, "mean: dtype is"),
    (np.mean, {"where": X > 0}, "mean: where is"), (np.any, {"where": X > 0}, "any: where is"),
    (np.all, {"out": np.zeros(())}, "all: out is"), (np.var, {"dtype": "float64"}, "var: dtype is"),
    (np.std, {"out": np.zeros(())}, "std: out is"),
])  # fmt: skip
def test_arguments_of_numpy_alone(function: Any, options: dict[str, Any], text: str) -> None:
    x = needle.tensor(X, device="numpy")
    for value in (x, x.array) if function not in (np.var, np.std) else (x,):
        with pytest.raises(ArgumentError) as failure:
            function(value, **options)
        assert str(failure.value) == f"{text} an argument of NumPy's that arrays of Needle do not take"


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "any", "all"])
def test_arguments_that_nobody_knows(name: str) -> None:
    x = needle.tensor(X, device="numpy")
    for value in (x, x.array):
        with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'axs'"):
            getattr(value, name)(axs=1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "reference", "axis"),
    [("flip", np.flip, None), ("flip", np.flip, 2), ("flip", np.flip, (0, -2)), ("squeeze", np.squeeze, None),
     ("squeeze", np.squeeze, 1), ("squeeze", np.squeeze, (1, -1))],
)  # fmt: skip
def test_movement(name: str, reference: Any, axis: Any, device: str) -> None:
    for function in faces(name, device):
        np.testing.assert_array_equal(function(axis=axis).numpy(), reference(X, axis=axis))


def test_flip_of_the_course() -> None:
    x = backend_ndarray.array(X)
    for found in (
        x.flip(axis=(0, 2)),
        backend_ndarray.flip(x, axis=(0, 2)),
        needle.ops.flip(needle.tensor(X), axis=(0, 2)),
    ):
        np.testing.assert_array_equal(found.numpy(), np.flip(X, (0, 2)))


@pytest.mark.parametrize("name", [*REDUCTIONS, "flip", "squeeze"])
def test_both_names_are_one_too_many(name: str) -> None:
    for function in faces(name, "numpy"):
        with pytest.raises(ArgumentError) as failure:
            function(1, axis=3)
        assert str(failure.value) == f"{name}: axes and axis are two names of one argument; give one, not 1 and 3"


def test_gradients() -> None:
    x = needle.tensor(X, requires_grad=True)
    (x.mean(axis=(0, 2)) * 3 + x.logsumexp(axis=0, keepdims=True).sum(axis=2)).sum().backward()
    assert x.grad is not None
    e = np.exp(X)
    np.testing.assert_allclose(x.grad.numpy(), 0.5 + e / e.sum(0, keepdims=True), rtol=1e-5)

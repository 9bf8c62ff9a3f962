"""Stage 6: first and second derivatives, against differences in float64 and against the reference."""

from collections.abc import Callable, Iterator

import pytest

import needle as ndl
from needle.device import Device
from needle.dispatch import dispatcher
from needle_conformance.cases import CASES
from needle_conformance.derivative import check_first, check_second
from needle_conformance.trial import Trial


def _first(device: Device) -> Iterator[Trial]:
    for case in CASES:
        for dtype in case.float_dtypes(dispatcher(device).backend.dtypes):
            for layout in ("compact", "permuted", "sliced"):
                yield Trial(case, device, dtype, layout)


def _second(device: Device) -> Iterator[Trial]:
    for trial in _first(device):
        if trial.case.orders > 1 and trial.dtype == "float64" and trial.layout != "sliced":
            yield trial


@pytest.mark.over.with_args(_first)
def test_first(device: Device, trial: Trial) -> None:
    check_first(trial)


@pytest.mark.over.with_args(_second)
def test_second(device: Device, trial: Trial) -> None:
    check_second(trial)


# Where a function has a kink: the values of its operands, and the gradient that Needle chooses there.
_KINKS: dict[str, tuple[Callable[..., ndl.Tensor], list[list[float]], list[list[float]]]] = {
    "relu": (ndl.relu, [[0.0, -0.0]], [[0.0, 0.0]]),
    "abs": (ndl.abs, [[0.0]], [[0.0]]),
    "max": (ndl.max, [[2.0, 1.0, 2.0]], [[0.5, 0.0, 0.5]]),
    "min": (ndl.min, [[1.0, 1.0, 1.0, 1.0]], [[0.25, 0.25, 0.25, 0.25]]),
    "maximum": (ndl.maximum, [[3.0, 1.0], [3.0, 2.0]], [[0.5, 0.0], [0.5, 1.0]]),
    "minimum": (ndl.minimum, [[3.0, 1.0], [3.0, 2.0]], [[0.5, 1.0], [0.5, 0.0]]),
    "clip": (lambda x: ndl.clip(x, -1.0, 2.0), [[-2.0, -1.0, 0.0, 2.0, 3.0]], [[0.0, 1.0, 1.0, 1.0, 0.0]]),
    "clip below": (lambda x: ndl.clip(x, low=0.0), [[-1.0, 0.0, 1.0]], [[0.0, 1.0, 1.0]]),
    "clip above": (lambda x: ndl.clip(x, high=0.0), [[-1.0, 0.0, 1.0]], [[1.0, 1.0, 0.0]]),
    "pow_0": (lambda x: x**0, [[0.0, 2.0]], [[0.0, 0.0]]),
    "pow_1": (lambda x: x**1, [[0.0]], [[1.0]]),
    "prod": (ndl.prod, [[0.0, 2.0, 3.0]], [[6.0, 0.0, 0.0]]),
    "max_pool2d": (lambda x: ndl.max_pool2d(x.reshape(1, 1, 1, 4), (1, 3), 1), [[0.0, 2.0, 2.0, 1.0]],
                   [[0.0, 2.0, 0.0, 0.0]]),
}  # fmt: skip


@pytest.mark.over.with_args(lambda device: _KINKS)
def test_kink(device: Device, trial: str) -> None:
    function, values, wanted = _KINKS[trial]
    inputs = [ndl.tensor(v, device=device, requires_grad=True) for v in values]
    function(*inputs).sum().backward()
    assert [x.grad.tolist() for x in inputs if x.grad is not None] == wanted


def test_accumulated(device: Device) -> None:
    """Two passes add up in `.grad`, and a tensor used twice gets both gradients."""
    x = ndl.tensor([1.0, 2.0], device=device, requires_grad=True)
    for _ in range(2):
        (x * x + x.exp() * 0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4.0, 8.0]

"""Stage 7: wrong operands are refused with the right error, in one line that tells what is wrong."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import needle as ndl
from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import DTYPES, DType
from needle.errors import DeviceError, DTypeError, GraphError, UnsupportedError
from needle_conformance.case import Fails
from needle_conformance.cases.errors import FAILS


@dataclass(frozen=True)
class Refusal:
    """One row on one device."""

    row: Fails

    def __str__(self) -> str:
        return self.row.name


@pytest.mark.over.with_args(lambda device: map(Refusal, FAILS))
def test_refused(device: Device, trial: Refusal) -> None:
    row = trial.row
    dtypes = row.dtypes or ["float32"] * len(row.inputs)
    operands = [ndl.zeros(*shape, dtype=d, device=device) for shape, d in zip(row.inputs, dtypes, strict=True)]
    with pytest.raises(row.error) as caught:
        row.function(*operands)
    text = str(caught.value)
    assert text.startswith(row.text), f"{text!r} does not begin with {row.text!r}"
    assert "\n" not in text


def _others(device: Device) -> Iterator[Device]:
    """Another device, if there is one."""
    yield from [d for d in ndl.devices() if d is not device][:1]


@pytest.mark.over.with_args(_others)
def test_two_devices(device: Device, trial: Device) -> None:
    a, b = ndl.ones(2, 2, device=device), ndl.ones(2, 2, device=trial)
    move = re.escape(f"operands are on {device} and {trial}; move one with .to(device)")
    for function, name in ((ndl.add, "add"), (ndl.matmul, "matmul"), (ndl.maximum, "maximum")):
        with pytest.raises(DeviceError, match=f"{name}: {move}"):
            function(a, b)


def _missing(device: Device) -> list[DType]:
    return [d for d in DTYPES if d not in dispatcher(device).backend.dtypes]


@pytest.mark.over.with_args(_missing)
def test_missing_dtype(device: Device, trial: DType) -> None:
    """A dtype that the device has not is refused, and the error names those that it has."""
    with pytest.raises(DTypeError, match=f"{device} has no {trial}; it has .*float32") as caught:
        ndl.zeros(3, dtype=trial, device=device)
    assert "numpy:0" in str(caught.value)
    with pytest.raises(DTypeError, match=f"{device} has no {trial}"):
        ndl.ones(3, device=device).astype(trial)


def test_freed_graph(device: Device) -> None:
    x = ndl.tensor(2.0, device=device, requires_grad=True)
    y = x.exp()
    y.backward()
    with pytest.raises(GraphError, match="backward: the graph behind exp was freed by an earlier backward pass"):
        y.backward()


def test_refused_fallback(device: Device) -> None:
    """Whatever is not native is refused on request, by name and with the reason."""
    x = ndl.ones(2, 3, device=device)
    native = dispatcher(device).backend.implements("softmax")
    with ndl.set_fallback("error"):
        if native:
            assert x.softmax().shape == (2, 3)
        else:
            with pytest.raises(UnsupportedError, match=f"float32 is not native on {device}"):
                x.softmax()

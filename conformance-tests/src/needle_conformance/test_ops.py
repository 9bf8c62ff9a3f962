"""Stage 5: every row's values, shapes and dtypes, against NumPy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import needle as ndl
from needle.device import Device
from needle.dispatch import dispatcher
from needle.testing import LAYOUTS, arrange, assert_close
from needle_conformance.cases import CASES
from needle_conformance.trial import Trial, trials
from needle_conformance.watch import ops_seen

_SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, database=None)
_VIEWS = st.sampled_from([name for name in LAYOUTS if name != "broadcast"])


@pytest.mark.over.with_args(lambda device: trials(CASES, device))
def test_values(device: Device, trial: Trial) -> None:
    trial.check()


def _compact(device: Device) -> Iterator[Trial]:
    """One trial of each row."""
    for case in CASES:
        yield from [Trial(case, device, d, "compact") for d in case.dtypes(dispatcher(device).backend.dtypes)[-1:]]


@pytest.mark.over.with_args(_compact)
def test_shapes(device: Device, trial: Trial) -> None:
    """Each op behind a row's function says before it runs which shape its result will have."""
    for options in trial.case.options:
        with ops_seen() as seen:
            trial.case.function(*trial.tensors(trial.values()), **options)
        for op, inputs, result in seen:
            assert op.shape(*inputs) == result, f"{op}.shape{inputs} is {op.shape(*inputs)}, the result {result}"


@_SETTINGS
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_side=5), views=st.tuples(_VIEWS, _VIEWS))
def test_broadcasting(device: Device, shapes: Any, views: tuple[str, str]) -> None:
    """Operands of any shapes that fit, in any two layouts."""
    a, b = (np.arange(np.prod(s)).reshape(s) for s in shapes.input_shapes)
    x, y = (ndl.Tensor(arrange(v, view, "float32", device)) for v, view in zip((a, b), views, strict=True))
    assert_close(x - y, a - b)


@_SETTINGS
@given(data=st.data(), view=_VIEWS)
def test_any_axes(device: Device, data: Any, view: str) -> None:
    """Sums over any axes of arrays of any shape."""
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=5)))
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1)))) if shape else ()
    values, keepdims = np.arange(np.prod(shape)).reshape(shape), data.draw(st.booleans())
    x = ndl.Tensor(arrange(values, view, "float32", device))
    assert_close(x.sum(axes, keepdims), values.sum(axes, keepdims=keepdims))

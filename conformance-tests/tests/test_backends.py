"""Right devices pass: of four functions, of ten, and without the wide types."""

from collections.abc import Callable

import pytest
from backends import memory, required
from conftest import Run

# Between them every dtype, and both kinds of index; fewer than all, because CI waits.
DEVICES = {
    "memory": memory("bool int32 float16 float32 float64"),
    "required": required("bool uint8 int32 int64 bfloat16 float32 float64"),
    "narrow": required("bool int32 float32"),
}


@pytest.mark.parametrize("name", DEVICES)
def test_passes(name: str, conform: Callable[..., Run]) -> None:
    run = conform(DEVICES[name])
    assert run.code == 0, run.text[-6000:]
    assert run.counts["passed"] > 2000
    assert set(run.counts) <= {"passed", "deselected"}
    assert "composed  the backend has no matmul: matmul" in run.text.replace("composed the", "composed  the")
    assert ("the backend has no unary" in run.text) == (name == "memory")

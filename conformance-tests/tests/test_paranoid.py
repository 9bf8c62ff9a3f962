"""Core keeps its promises to a device that trusts nobody."""

import numpy as np
import paranoid
import pytest
from conftest import Here

import needle as ndl
from needle.backend import View
from needle.dispatch import dispatcher
from needle.dtype import as_dtype
from needle.kinds import Unary
from needle.layout import Layout


def test_a_look_at_every_op(here: Here) -> None:
    """Every kernel is native there, though its memory is out of reach and its work is done at a wait."""
    card = here("paranoid", quick=True)
    assert card.passed, [f"{r.id}: {r.reason}" for r in card.failures()][:10]
    assert len(card.rows) > 2000


def test_work_is_late_and_memory_is_poisoned() -> None:
    """The device is as paranoid as it says, or the test above proves nothing."""
    backend = dispatcher(ndl.device("paranoid")).backend
    assert isinstance(backend, paranoid.ParanoidBackend)
    backend.synchronize()
    x = ndl.ones(3, device="paranoid")
    assert backend.waiting
    key = x.array.buffer.key
    y = x.exp()
    assert (backend.memory[y.array.buffer.key] == paranoid.POISON).all()
    memory = backend.memory[key]
    assert y.tolist() == pytest.approx([np.e] * 3, rel=1e-6)
    del x, y
    backend.synchronize()
    assert key not in backend.memory
    assert (memory == paranoid.POISON).all()


@pytest.mark.parametrize(("layout", "text"), [
    (Layout((3,), (2,), 0), "strides"), (Layout((30,), (1,), 0), "leaves its buffer"),
    (Layout((2,), (1,), -1), "begins before"), (Layout((3,), (1,), 1), "overlaps the result"),
])  # fmt: skip
def test_broken_promises_are_seen(layout: Layout, text: str) -> None:
    backend, f32 = dispatcher(ndl.device("paranoid")).backend, as_dtype("float32")
    buffer = backend.allocate(40)
    dst = View(buffer, Layout.compact((layout.shape[0],)), f32)
    with pytest.raises(AssertionError, match=text):
        backend.unary(Unary.EXP, dst, View(buffer, layout, f32))


def test_foreign_buffers_are_seen() -> None:
    backend, f32 = dispatcher(ndl.device("paranoid")).backend, as_dtype("float32")
    dst = View(backend.allocate(40), Layout.compact((3,)), f32)
    with pytest.raises(AssertionError, match="a buffer of another device"):
        backend.unary(Unary.EXP, dst, View(object(), dst.layout, f32))

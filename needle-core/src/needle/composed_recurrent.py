"""The composed defaults of recurrent layers: a product and one pass of elementwise functions for each time."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from needle import dispatch, formulas
from needle.dispatch import composes
from needle.layout import Layout
from needle.ndarray import NDArray
from needle.one_pass import one_pass


@composes("lstm")
def walk(dst: NDArray, inputs: NDArray, h: NDArray, c: NDArray, weight: NDArray, bias: NDArray) -> None:
    """See `Backend.lstm`."""
    for given, *into in zip(_items(inputs), *map(_items, _items(dst)), strict=True):
        sums = h.linear(weight, bias)
        h, c, *_ = one_pass(formulas.lstm_step, *_gates(given), *_gates(sums), c, into=into)


@composes("lstm_grad")
def _lstm_grad(
    dinputs: NDArray, dh: NDArray, dc: NDArray, wanted_h: Sequence[NDArray], wanted_c: Sequence[NDArray],
    kept: NDArray, c: NDArray, weight: NDArray,
) -> None:  # fmt: skip
    back, cell = walk_back(dinputs, wanted_h, wanted_c, kept, c, weight)
    dh.assign(back)
    dc.assign(cell)


def walk_back(
    dinputs: NDArray, wanted_h: Sequence[NDArray], wanted_c: Sequence[NDArray], kept: NDArray, c: NDArray,
    weight: NDArray,
) -> tuple[NDArray, NDArray]:  # fmt: skip
    """Fills dinputs; returns dh and dc. See `Backend.lstm_grad`."""
    _, steps, batch, n = kept.shape
    if not steps:
        return kept.filled(c.shape, 0, c.dtype), kept.filled(c.shape, 0, c.dtype)
    slopes, turned = kept.new((4, batch, n), kept.dtype), weight.mT
    of_gates, in_order = _items(slopes), slopes.permute(1, 0, 2)
    _, cells, *gates = (_items(x) for x in _items(kept))
    wanted = _items(wanted_h[0]) if wanted_h else None
    back: Any = None
    dc: Any = wanted_c[0] if wanted_c else None
    for t, into in reversed(list(enumerate(_items(dinputs)))):
        before, next_dc = cells[t - 1] if t else c, kept.new((batch, n), kept.dtype)
        values = [None if wanted is None else wanted[t], back, dc, *[gate[t] for gate in gates], cells[t], before]
        one_pass(formulas.lstm_step_grad, *values, into=[*of_gates, next_dc])
        dispatch.copy(kept.device, into.reshape(batch, 4, n), in_order)
        back, dc = into @ turned, next_dc
    return back, dc


def _items(x: NDArray) -> list[NDArray]:
    """x[0], x[1] and so on: views, at less cost than an index each."""
    return [x.viewed(layout) for layout in _layouts(x.layout, 0, x.shape[0], drop=True)]


def _gates(x: NDArray) -> list[NDArray]:
    """(B, 4H) as four views (B, H)."""
    return [x.viewed(layout) for layout in _layouts(x.layout, 1, 4, drop=False)]


@lru_cache(maxsize=1024)
def _layouts(layout: Layout, axis: int, count: int, drop: bool) -> tuple[Layout, ...]:
    """Equal parts along an axis; `drop` an axis of which each has one position."""
    n, step = layout.shape[axis] // count, layout.strides[axis]
    kept = () if drop else (n,)
    shape = (*layout.shape[:axis], *kept, *layout.shape[axis + 1 :])
    strides = (*layout.strides[:axis], *(() if drop else (step,)), *layout.strides[axis + 1 :])
    return tuple([Layout(shape, strides, layout.offset + i * n * step) for i in range(count)])

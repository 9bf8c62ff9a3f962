"""LSTM: a whole sequence as one op, whose results are handed out in parts (see `parts.py`)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from needle import dispatch, formulas
from needle.errors import ShapeError
from needle.layout import Layout
from needle.ndarray import NDArray
from needle.one_pass import one_pass
from needle.op import Array, Cotangents, Op, reads
from needle.ops.norm import each_of
from needle.ops.parts import Pieces
from needle.shape import Shape

HIDDEN, CELL = 0, 1  # of the six values that are kept of each time: h, c, i, f, g, o


@dataclass(frozen=True)
class LSTM(Op):
    """inputs (T, B, 4H), h (B, H), c (B, H), weight (H, 4H), bias (4H,) -> (6, T, B, H): h, c and the four gates of
    each time, of which `LSTMResult` gives what is wanted."""

    autocast = "lower"
    reads = reads(0, 1, 2, 3, 4, "y")

    def shape(self, inputs: Shape, h: Shape, c: Shape, weight: Shape, bias: Shape) -> Shape:
        if len(inputs) != 3 or not inputs[0] or len(weight) != 2:
            raise ShapeError(f"lstm: takes inputs (T, B, 4H) and a weight (H, 4H), not {inputs} and {weight}")
        (steps, batch, _), n = inputs, weight[0]
        if inputs[2] != 4 * n or weight[1] != 4 * n or bias != (4 * n,) or h != (batch, n) or c != (batch, n):
            raise ShapeError(
                f"lstm: with inputs {inputs} and weight {weight}, h and c are (B, H) and bias is (4H,), "
                f"not {h}, {c} and {bias}"
            )
        return 6, steps, batch, n

    def forward(self, inputs: NDArray, h: NDArray, c: NDArray, weight: NDArray, bias: NDArray) -> NDArray:
        kept = inputs.new((6, *inputs.shape[:2], weight.shape[0]), inputs.dtype)
        for given, *into in zip(_items(inputs), *map(_items, _items(kept)), strict=True):
            sums = h.linear(weight, bias)
            h, c, *_ = one_pass(formulas.lstm_step, *_gates(given), *_gates(sums), c, into=into)
        return kept

    def vjp(self, g: Pieces, y: Array, inputs: Array, h: Array, c: Array, weight: Array, bias: Array) -> Cotangents:
        wanted = g.get(HIDDEN), g.get(CELL)
        if isinstance(y, NDArray):
            return each_of(5, lambda: _gradients(*wanted, y, h, c, weight))
        return each_of(5, lambda: formulas.lstm_grad(*wanted, inputs, h, c, weight, bias))


@dataclass(frozen=True)
class LSTMResult(Op):
    """Of an LSTM's values h at all times, (T, B, H), or the last c, (B, H)."""

    part: int

    def shape(self, kept: Shape) -> Shape:
        return kept[1:] if self.part == HIDDEN else kept[2:]

    def forward(self, kept: NDArray) -> NDArray:
        return kept[HIDDEN] if self.part == HIDDEN else kept[CELL, -1]

    def vjp(self, g: Array, y: Array, kept: Array) -> Cotangents:
        return (Pieces({self.part: g}),)


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


def _gradients(dh: NDArray | None, dc: Any, kept: NDArray, h: Any, c: Any, weight: Any) -> tuple[Any, ...]:
    """Of all inputs, from those of h at all times and of the last c, either of which may be None."""
    _, steps, batch, n = kept.shape
    sums = kept.new((steps, batch, 4 * n), kept.dtype)  # cotangents of what goes into the gates
    slopes, back, turned = kept.new((4, batch, n), kept.dtype), None, weight.mT
    of_gates, in_order = _items(slopes), slopes.permute(1, 0, 2)
    _, cells, *gates = (_items(x) for x in _items(kept))
    wanted = None if dh is None else _items(dh)
    for t, into in reversed(list(enumerate(_items(sums)))):
        before, next_dc = cells[t - 1] if t else c, kept.new((batch, n), kept.dtype)
        values = [None if wanted is None else wanted[t], back, dc, *[gate[t] for gate in gates], cells[t], before]
        one_pass(formulas.lstm_step_grad, *values, into=[*of_gates, next_dc])
        dispatch.copy(kept.device, into.reshape(batch, 4, n), in_order)
        back, dc = into @ turned, next_dc
    rows = sums.reshape(steps * batch, 4 * n)
    weights = h.mT @ rows[:batch]
    if steps > 1:
        weights = weights + kept[HIDDEN, :-1].reshape(-1, n).mT @ rows[batch:]
    return sums, back, dc, weights, rows.sum(0)

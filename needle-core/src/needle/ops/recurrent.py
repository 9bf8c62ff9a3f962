"""LSTM: a whole sequence as one op, whose results are handed out in parts (see `parts.py`)."""

from dataclasses import dataclass
from typing import Any

from needle import dispatch, formulas, tracing
from needle.composed_recurrent import walk, walk_back
from needle.errors import ShapeError
from needle.ndarray import NDArray
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
        if _is_one_call(kept):
            dispatch.run(kept.device, "lstm", kept, inputs, h, c, weight, bias)
        else:
            walk(kept, inputs, h, c, weight, bias)
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


def _is_one_call(kept: NDArray) -> bool:
    """Whether the device walks by itself. A capture gets the steps, unless the device records: passes join them."""
    if not kept.dtype.is_float or not dispatch.offers(kept.device, "lstm"):
        return False
    return tracing.active is None or dispatch.offers(kept.device, "recording")


def _gradients(dh: NDArray | None, dc: NDArray | None, kept: NDArray, h: Any, c: Any, weight: Any) -> tuple[Any, ...]:
    """Of all inputs, from those of h at all times and of the last c, either of which may be None."""
    _, steps, batch, n = kept.shape
    wanted = [x for x in (dh,) if x is not None], [x for x in (dc,) if x is not None]
    sums = kept.new((steps, batch, 4 * n), kept.dtype)  # cotangents of what goes into the gates
    if _is_one_call(kept):
        back, of_c = kept.new(h.shape, h.dtype), kept.new(c.shape, c.dtype)
        dispatch.run(kept.device, "lstm_grad", sums, back, of_c, *wanted, kept, c, weight)
    else:
        back, of_c = walk_back(sums, *wanted, kept, c, weight)
    rows = sums.reshape(steps * batch, 4 * n)
    weights = h.mT @ rows[:batch]
    if steps > 1:
        weights = weights + kept[HIDDEN, :-1].reshape(-1, n).mT @ rows[batch:]
    return sums, back, of_c, weights, rows.sum(0)

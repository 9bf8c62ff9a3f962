"""The reference backend's walk through a sequence, in NumPy: other than in `formulas.py`, all gates at once."""

from collections.abc import Sequence

import numpy as np

from needle.backend import View
from needle.host_arrays import Array, read, write

_G = 2  # of the gates i, f, g, o the one that goes through tanh


class RecurrentReference:
    """The recurrent layers of the device `numpy`."""

    def lstm(self, dst: View, inputs: View, h: View, c: View, weight: View, bias: View) -> None:
        given, hidden, cell, w, b = (read(x) for x in (inputs, h, c, weight, bias))
        kept = np.empty(dst.shape, given.dtype)
        with np.errstate(all="ignore"):
            for t, x in enumerate(given):
                gates = _by_gate(x + hidden @ w + b)
                curves = 1 / (1 + np.exp(-gates))
                curves[_G] = np.tanh(gates[_G])
                cell = curves[1] * cell + curves[0] * curves[_G]
                hidden = curves[3] * np.tanh(cell)
                kept[0, t], kept[1, t], kept[2:, t] = hidden, cell, curves
        write(dst, kept)

    def lstm_grad(
        self, dinputs: View, dh: View, dc: View, wanted_h: Sequence[View], wanted_c: Sequence[View], kept: View,
        c: View, weight: View,
    ) -> None:  # fmt: skip
        values, first, w = read(kept), read(c), read(weight)
        of_h = sum((read(x) for x in wanted_h), np.zeros(values.shape[1:], values.dtype))
        of_c = sum((read(x) for x in wanted_c), np.zeros(first.shape, values.dtype))
        sums, back = np.empty(dinputs.shape, values.dtype), np.zeros(first.shape, values.dtype)
        with np.errstate(all="ignore"):
            for t in reversed(range(len(of_h))):
                cell, curves = values[1, t], values[2:, t]
                before = values[1, t - 1] if t else first
                back = back + of_h[t]
                of_c = of_c + back * curves[3] * (1 - np.tanh(cell) ** 2)
                slopes = curves * (1 - curves)
                slopes[_G] = 1 - curves[_G] ** 2
                of_gates = np.stack([of_c * curves[_G], of_c * before, of_c * curves[0], back * np.tanh(cell)])
                sums[t] = (slopes * of_gates).swapaxes(0, 1).reshape(sums.shape[1:])
                back, of_c = sums[t] @ w.T, of_c * curves[1]
        for dst, found in ((dinputs, sums), (dh, back), (dc, of_c)):
            write(dst, found)


def _by_gate(x: Array) -> Array:
    """(B, 4H) -> (4, B, H)."""
    return x.reshape(len(x), 4, x.shape[1] // 4).swapaxes(0, 1)

"""Recurrent networks: cells, which make one step in time, and stacks of cells that walk through a sequence.

A cell's product with its inputs does not depend on its state, so a stack computes it for all times at once.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import needle
from needle import Device, Tensor, functions, init
from needle.errors import ArgumentError, ShapeError
from needle_nn.nn.module import Module, Parameter


class _Cell(Module):
    """What cells share: W_ih, W_hh, bias_ih and bias_hh, drawn in this order from U(-b, b) with b = 1 / sqrt(H)."""

    gates: ClassVar[int] = 1  # how many times H the products are wide

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Device | str | None = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ShapeError(f"{type(self).__name__}: sizes are at least 1, not {input_size} and {hidden_size}")
        self.input_size, self.hidden_size = input_size, hidden_size
        bound, width = hidden_size**-0.5, self.gates * hidden_size

        def drawn(*shape: int) -> Parameter:
            return Parameter(init.uniform(*shape, low=-bound, high=bound, device=device, dtype=dtype))

        self.W_ih = drawn(input_size, width)
        self.W_hh = drawn(hidden_size, width)
        self.bias_ih = drawn(width) if bias else None
        self.bias_hh = drawn(width) if bias else None

    def inputs(self, x: Tensor) -> Tensor:
        """x @ W_ih + bias_ih, for one time (B, in) or all of them (T, B, in)."""
        if x.shape[-1] != self.input_size:
            raise ShapeError(f"{type(self).__name__}: takes (..., {self.input_size}): X is {x.shape}")
        return x @ self.W_ih if self.bias_ih is None else needle.linear(x, self.W_ih, self.bias_ih)

    def recurrence(self, h: Tensor) -> Tensor:
        """h @ W_hh + bias_hh."""
        return h @ self.W_hh if self.bias_hh is None else needle.linear(h, self.W_hh, self.bias_hh)

    def start(self, x: Tensor) -> Any:
        """The state before the first step: zeros, which go through W_hh like any other state."""
        return init.zeros(x.shape[-2], self.hidden_size, device=x.device, dtype=x.dtype)

    def step(self, inputs: Tensor, state: Any) -> Any:
        """The next state, from `inputs(x)` at one time and the state before."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def walk(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The hidden states (T, B, H) and the last state, from `inputs(x)` at all times and the state before."""
        hidden = []
        for part in functions.split(inputs, inputs.shape[0]):
            state = self.step(part.reshape(part.shape[1:]), state)
            hidden.append(state[0] if isinstance(state, tuple) else state)
        return functions.stack(hidden), state

    def forward(self, X: Tensor, h: Any = None) -> Any:
        if h is not None:
            self.check_hidden(X, h)
        return self.step(self.inputs(X), self.start(X) if h is None else h)

    def check_hidden(self, X: Tensor, h: Any) -> None:
        """Raise ShapeError for a state of another shape than this cell's, (B, H)."""
        expected = (*X.shape[:-1], self.hidden_size)
        if not isinstance(h, Tensor) or h.shape != expected:
            found = h.shape if isinstance(h, Tensor) else type(h).__name__
            raise ShapeError(f"{type(self).__name__}: a state is {expected}, not {found}: X is {X.shape}")

    def _describe(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + (", bias=False" if self.bias_ih is None else "")


class RNNCell(_Cell):
    """h' = tanh(x @ W_ih + bias_ih + h @ W_hh + bias_hh), or relu of it: (B, in), (B, H) -> (B, H)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: Device | str | None = None, dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, device, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNNCell: the nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
        self.nonlinearity = nonlinearity

    def step(self, inputs: Tensor, state: Tensor) -> Tensor:
        total = inputs + self.recurrence(state)
        return total.tanh() if self.nonlinearity == "tanh" else total.relu()


class LSTMCell(_Cell):
    """c' = f * c + i * g and h' = o * tanh(c') (Hochreiter and Schmidhuber, 1997): (B, in), (h, c) -> (h', c').

    i, f, g, o are x @ W_ih + bias_ih + h @ W_hh + bias_hh in four parts; g through tanh, the others a sigmoid.
    """

    gates = 4

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        zeros = super().start(x)
        return zeros, zeros

    def check_hidden(self, X: Tensor, h: Any) -> None:
        for part in both(type(self).__name__, h):
            super().check_hidden(X, part)

    def step(self, inputs: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h, c = state
        i, f, g, o = functions.split(inputs + self.recurrence(h), 4, axis=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def walk(self, inputs: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        h, c = state
        bias: Tensor | None = self.bias_hh
        if bias is None:
            bias = init.zeros(self.gates * self.hidden_size, device=inputs.device, dtype=inputs.dtype)
        hidden, c = needle.lstm(inputs, h, c, self.W_hh, bias)
        return hidden, (hidden[-1], c)


class GRUCell(_Cell):
    """h' = (1 - z) * n + z * h (Cho et al., 2014): (B, in), (B, H) -> (B, H).

    r and z are sigmoids of the two products' sum, in their first two parts; n = tanh(x's part + r * h's part).
    """

    gates = 3

    def step(self, inputs: Tensor, state: Tensor) -> Tensor:
        x_r, x_z, x_n = functions.split(inputs, 3, axis=-1)
        h_r, h_z, h_n = functions.split(self.recurrence(state), 3, axis=-1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        n = (x_n + r * h_n).tanh()
        return n + z * (state - n)


class _Stack(Module):
    """Cells one above the other; a sequence (T, B, in) goes through each in turn."""

    def __init__(self, cells: Sequence[_Cell]) -> None:
        super().__init__()
        if not cells:
            raise ArgumentError(f"{type(self).__name__}: takes at least one layer")
        self.input_size, self.hidden_size = cells[0].input_size, cells[0].hidden_size
        self.num_layers = len(cells)

    def walk(self, cells: Sequence[_Cell], X: Tensor, states: Sequence[Any] | None) -> tuple[Tensor, list[Any]]:
        """The top cell's hidden states (T, B, H), and the last state of each cell."""
        if X.ndim != 3 or not X.shape[0]:
            raise ShapeError(f"{type(self).__name__}: takes (T, B, {self.input_size}): X is {X.shape}")
        last = []
        for number, cell in enumerate(cells):
            X, state = cell.walk(cell.inputs(X), cell.start(X) if states is None else states[number])
            last.append(state)
        return X, last

    def layers_of(self, X: Tensor, h: Tensor, name: str) -> list[Tensor]:
        """A state (L, B, H) as one (B, H) for each cell."""
        expected = (self.num_layers, *X.shape[1:2], self.hidden_size)
        if h.shape != expected:
            raise ShapeError(f"{type(self).__name__}: {name} is {expected}, not {h.shape}: X is {X.shape}")
        return [part.reshape(part.shape[1:]) for part in functions.split(h, self.num_layers)]

    def _describe(self) -> str:
        layers = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        return f"{self.input_size}, {self.hidden_size}{layers}"


def both(layer: str, state: Any) -> tuple[Tensor, Tensor]:
    """The two parts of an LSTM's state."""
    if not isinstance(state, tuple | list) or len(state) != 2:
        raise ArgumentError(f"{layer}: a state is a tuple (h, c), not a {type(state).__name__}")
    return state[0], state[1]


def _widths(input_size: int, hidden_size: int, num_layers: int) -> list[int]:
    """The width of each cell's input."""
    return [input_size, *([hidden_size] * (num_layers - 1))][:num_layers]


class RNN(_Stack):
    """RNNCells: X (T, B, in), h0 (L, B, H) -> (T, B, H), (L, B, H)."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, nonlinearity: str = "tanh",
        device: Device | str | None = None, dtype: Any = "float32",
    ) -> None:  # fmt: skip
        widths = _widths(input_size, hidden_size, num_layers)
        cells = [RNNCell(width, hidden_size, bias, nonlinearity, device, dtype) for width in widths]
        super().__init__(cells)
        self.rnn_cells = cells

    def forward(self, X: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, last = self.walk(self.rnn_cells, X, None if h0 is None else self.layers_of(X, h0, "h0"))
        return output, functions.stack(last)


class GRU(_Stack):
    """GRUCells: X (T, B, in), h0 (L, B, H) -> (T, B, H), (L, B, H)."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        device: Device | str | None = None, dtype: Any = "float32",
    ) -> None:  # fmt: skip
        cells = [GRUCell(w, hidden_size, bias, device, dtype) for w in _widths(input_size, hidden_size, num_layers)]
        super().__init__(cells)
        self.gru_cells = cells

    def forward(self, X: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, last = self.walk(self.gru_cells, X, None if h0 is None else self.layers_of(X, h0, "h0"))
        return output, functions.stack(last)


class LSTM(_Stack):
    """LSTMCells: X (T, B, in), (h0, c0) each (L, B, H) -> (T, B, H), (h, c) each (L, B, H)."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        device: Device | str | None = None, dtype: Any = "float32",
    ) -> None:  # fmt: skip
        cells = [LSTMCell(w, hidden_size, bias, device, dtype) for w in _widths(input_size, hidden_size, num_layers)]
        super().__init__(cells)
        self.lstm_cells = cells

    def forward(self, X: Tensor, h: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        states = None
        if h is not None:
            h0, c0 = both("LSTM", h)
            states = list(zip(self.layers_of(X, h0, "h0"), self.layers_of(X, c0, "c0"), strict=True))
        output, last = self.walk(self.lstm_cells, X, states)
        return output, (functions.stack([state[0] for state in last]), functions.stack([state[1] for state in last]))

"""Walks of an LSTM at the sizes between which their way changes, against the device `numpy` in float64."""

from typing import Any

import numpy as np
import pytest
from test_layers import TOLERANCE, check, drawn

import needle as ndl
from needle import nn, optim
from needle.profiler import profile

# Times, rows, units. A cluster has 1, 2, 4 or 8 rows, as there are more of them; of many rows, of more units than its
# shared memory holds and in float64 each time is a product and a kernel.
WALKS = [(1, 1, 1), (5, 3, 33), (40, 12, 16), (4, 16, 128), (3, 32, 256), (3, 70, 64), (3, 190, 9), (2, 300, 40),
         (2, 13, 300), (2, 5, 400)]  # fmt: skip


def operands(steps: int, batch: int, units: int) -> list[np.ndarray]:
    inputs, h, c, weight, bias = drawn((steps, batch, 4 * units), (batch, units), (batch, units), (units, 4 * units),
                                       (4 * units,))  # fmt: skip
    return [inputs, h, c, weight * units**-0.5, bias]


def both(*given: Any) -> Any:
    """h of all times, and the last c below them."""
    hidden, c = ndl.lstm(*given)
    return ndl.concatenate([hidden, c.expand_dims(0)])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("row", WALKS, ids=str)
def test_lstm(gpu: ndl.Device, dtype: str, row: tuple[int, int, int]) -> None:
    given = operands(*row)
    check(gpu, dtype, both, given, 4, row=row)
    check(gpu, dtype, lambda *x: ndl.lstm(*x)[0], given, 4, row=row)
    check(gpu, dtype, lambda *x: ndl.lstm(*x)[1], given, 4, row=row)


def test_strided_operands(gpu: ndl.Device) -> None:
    inputs, h, c, weight, bias = operands(3, 6, 20)
    turned = [inputs.swapaxes(0, 1).copy(), h.T.copy(), c, weight.T.copy(), bias]
    check(gpu, "float32", lambda x, h, c, w, b: both(x.permute(1, 0, 2), h.T, c, w.T, b), turned, 4)


def test_a_walk_is_one_call(gpu: ndl.Device) -> None:
    x = ndl.tensor(np.ones((6, 4, 24), np.float32), device=gpu)
    with profile() as seen:
        nn.LSTM(24, 24, device=gpu)(x)[0].sum().backward()
    counts = {line.op: line.calls for line in seen.lines()}
    assert (counts["lstm"], counts["lstm_grad"]) == (1, 1)


@pytest.mark.parametrize(("batch", "units"), [(16, 64), (3, 400)])
def test_compiled_training_is_the_same(gpu: ndl.Device, batch: int, units: int) -> None:
    """A step of two layers, in clusters and by products, replayed as a graph."""
    x, y = drawn((7, batch, 12), (7, batch, units))
    losses = {}
    for compiled in (False, True):
        ndl.manual_seed(3)
        layer = nn.LSTM(12, units, 2, device=gpu)
        optimizer = optim.SGD(layer.parameters(), 0.1)
        given, wanted = (ndl.tensor(a.astype(np.float32), device=gpu) for a in (x, y))

        def step(given: Any, wanted: Any, layer: Any = layer, optimizer: Any = optimizer) -> Any:
            loss = ((layer(given)[0] - wanted) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = ndl.compile(step) if compiled else step
        losses[compiled] = [run(given, wanted).item() for _ in range(6)]
    assert losses[False][-1] < losses[False][0]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-5)

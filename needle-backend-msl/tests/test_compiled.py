"""Compiled training steps: the same numbers as eager ones, from kernels written while the program runs."""

import importlib

import numpy as np
import pytest

import needle as ndl
from needle.dispatch import dispatcher
from needle.expression import Expression, Step
from needle.kinds import Binary


@pytest.fixture
def ext(device):
    return importlib.import_module("needle_backend_msl._ext")


def trained(device, compiled, steps=4):
    """The losses of a small network with functions that fuse, and the dispatches of the last step."""
    random = np.random.default_rng(0)
    x = ndl.Tensor(random.standard_normal((16, 8), dtype=np.float32), device=device)
    y = ndl.Tensor(random.integers(0, 4, 16), device=device)
    w1 = ndl.Tensor(random.standard_normal((8, 32), dtype=np.float32), device=device, requires_grad=True)
    w2 = ndl.Tensor(random.standard_normal((32, 4), dtype=np.float32), device=device, requires_grad=True)
    optimizer, loss_of = ndl.optim.Adam([w1, w2], lr=0.01), ndl.nn.SoftmaxLoss()

    def step(x, y):
        optimizer.zero_grad()
        hidden = ndl.tanh(x @ w1) * ndl.sigmoid(x @ w1) + 0.5
        loss = loss_of(hidden @ w2, y)
        loss.backward()
        optimizer.step()
        return loss

    run = ndl.compile(step) if compiled else step
    return [float(run(x, y).numpy()) for _ in range(steps)], lambda: run(x, y).numpy()


def test_compiled_equals_eager_with_fewer_dispatches(device, ext):
    counts = []
    losses = []
    for compiled in (False, True):
        found, step = trained(device, compiled)
        before = ext.counters()
        step()
        counts.append({name: count - before[name] for name, count in ext.counters().items()})
        losses.append(found)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert counts[1]["dispatches"] < counts[0]["dispatches"]
    assert counts[1]["waits"] == 1


def test_more_results_than_buffers_take_several_kernels(device):
    """One pass gives at most 28 arrays; what is left is computed by another kernel."""
    backend = dispatcher(device).backend
    x = ndl.Tensor(np.arange(5, dtype=np.float32), device=device).array
    steps = tuple(Step("binary_scalar", Binary.ADD, x.dtype, x.dtype, (0,), scalar=i) for i in range(40))
    expression = Expression(1, steps, tuple(range(1, 41)))
    outs = [x.new((5,), x.dtype) for _ in steps]
    backend.elementwise(outs, [x], expression, tuple(float(i) for i in range(40)))
    for i, out in enumerate(outs):
        np.testing.assert_array_equal(out.numpy(), np.arange(5) + i)

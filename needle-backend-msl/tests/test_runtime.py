"""The runtime: what waits and what does not, memory, errors, ownership."""

import ctypes
import gc
import importlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import needle as ndl
from needle.backend import View
from needle.dtype import float32
from needle.errors import DTypeError, KernelError, OutOfMemoryError
from needle.expression import Expression, Step
from needle.kinds import Binary, Unary
from needle.layout import Layout


@pytest.fixture
def ext(device):
    return importlib.import_module("needle_backend_msl._ext")


def filled(backend, values):
    """A buffer of these values, and a view of all of it."""
    buffer = backend.allocate(values.nbytes)
    backend.upload(buffer, 0, memoryview(values).cast("B"))
    return buffer, View(buffer, Layout.compact(values.shape), float32)


def counted(ext, work):
    """What `work` added to the runtime's counters."""
    before = ext.counters()
    work()
    return {name: count - before[name] for name, count in ext.counters().items()}


def test_many_ops_share_a_command_buffer_and_wait_once(device, ext):
    x = ndl.ones(8, 8, device=device)
    x.numpy()

    def chain():
        y = x
        for _ in range(100):
            y = y + 1
        assert y.numpy()[0, 0] == 101

    added = counted(ext, chain)
    assert (added["dispatches"], added["command_buffers"], added["waits"]) == (100, 2, 1)


def test_a_training_step_waits_once(device, ext):
    w = ndl.ones(16, 4, device=device, requires_grad=True)
    x = ndl.ones(8, 16, device=device)

    def step():
        loss = ((x @ w) ** 2).sum()
        loss.backward()
        loss.item()

    step()
    assert counted(ext, step)["waits"] == 1


def test_results_are_read_where_they_are(backend):
    buffer, view = filled(backend, np.arange(3, dtype=np.float32))
    backend.unary(Unary.SQUARE, view, view)
    memory = np.frombuffer(backend.host_view(buffer), np.float32)  # waits
    np.testing.assert_array_equal(memory, [0, 1, 4])
    memory[0] = 7  # the device sees what the host writes
    backend.unary(Unary.SQUARE, view, view)
    backend.synchronize()
    np.testing.assert_array_equal(memory, [49, 1, 16])


@pytest.mark.parametrize("n", [3, 5000], ids=["inline", "staged"])
def test_an_upload_does_not_overtake_the_device(backend, ext, n):
    old, new = np.arange(n, dtype=np.float32), np.full(n, -1, np.float32)
    (a, source), (b, target) = filled(backend, old), filled(backend, new)
    backend.copy(target, source)
    added = counted(ext, lambda: backend.upload(a, 0, memoryview(new).cast("B")))  # the copy has not run yet
    assert added["waits"] == 0
    for buffer, expected in ((b, old), (a, new)):
        found = np.empty(n, np.float32)
        backend.download(buffer, 0, memoryview(found).cast("B"))
        np.testing.assert_array_equal(found, expected)


def test_memory_is_used_again(device, ext):
    def step():
        (ndl.ones(64, 64, device=device) + 1).numpy()

    step()
    gc.collect()
    held = ext.memory_stats()["held"]
    for _ in range(5):
        step()
    assert ext.memory_stats()["held"] == held


def test_out_of_memory_says_how_much_there_is(device, simulator, monkeypatch):
    monkeypatch.setenv("METALSIM_WORKING_SET", str(1 << 24))
    with pytest.raises(OutOfMemoryError, match=r"^out of memory: [\d,]+ bytes asked for, [\d,]+ are free"):
        ndl.ones(1 << 23, device=device)


def test_there_is_no_float64(device):
    with pytest.raises(DTypeError, match=r"msl:0 has no float64; it has .*; float64 is on .*numpy"):
        ndl.ones(3, dtype="float64", device=device)


def test_an_error_names_the_op(device, simulator, monkeypatch):
    x = ndl.ones(4, 300, device=device)
    x.numpy()
    monkeypatch.setenv("METALSIM_MAX_THREADS", "64")
    with pytest.raises(KernelError, match=r"softmax_float32: needs 256 threads in a group, this device runs 64"):
        ndl.softmax(x, 1)


def alone(code, **environment):
    """The last line that a program of its own complains with."""
    env = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_source_that_does_not_compile_tells_the_compilers_log(device, simulator):
    mutation = "threadgroup float shared[32];=>threadgroup float shared[;"
    text = alone("import needle as n; n.softmax(n.ones(2, 3, device=n.msl()), 1)", METALSIM_MUTATION=mutation)
    assert re.search(r"KernelError: softmax: the Metal source of rows does not compile: .*rows\.metal:\d+", text), text


def test_a_failed_command_buffer_names_the_op_and_the_kernel(device, simulator):
    mutation = "int64_t(row) * rows.n;=>int64_t(row + 1000) * rows.n;"
    code = "import needle as n; n.softmax(n.ones(2, 3, device=n.msl()), 1).numpy()"
    text = alone(code, METALSIM_MUTATION=mutation)
    assert re.search(r"KernelError: softmax.*softmax_float32: read of 4 bytes out of bounds", text), text


def test_a_lost_device_is_told_at_the_next_op(device, simulator, monkeypatch):
    x = ndl.ones(3, device=device)
    x.numpy()
    monkeypatch.setenv("METALSIM_LOST", "1")
    with pytest.raises(KernelError, match=r"binary_scalar: the device gives no command buffer; it may have been lost"):
        x + 1
    monkeypatch.delenv("METALSIM_LOST")
    assert (x + 1).numpy().sum() == 6


def test_a_machine_without_metal_says_so(device, simulator):
    text = alone("import needle as n; n.ones(1, device='msl')", METALSIM_NO_DEVICE="1")
    assert "no device 'msl': NO_DEVICE, macOS reports no Metal device; ready: " in text, text


def test_more_buffers_than_metal_binds(backend):
    buffer, view = filled(backend, np.ones(3, np.float32))
    out, result = filled(backend, np.ones(3, np.float32))
    expression = Expression(31, (Step("binary", Binary.ADD, float32, float32, (0, 30)),), (31,))
    with pytest.raises(ValueError, match=r"elementwise: 31 operands, and one result, are more than the 28 arrays"):
        backend.elementwise([result], [view] * 31, expression, ())
    assert buffer is not out


def test_elementwise_kernels_take_what_threads_there_are(device, simulator, monkeypatch):
    monkeypatch.setenv("METALSIM_MAX_THREADS", "64")
    assert (ndl.ones(1000, device=device) + 1).numpy().sum() == 2000


def test_nothing_is_leaked(device, simulator):
    simulator.metalsim_live_objects.restype = ctypes.c_long

    def step():
        (ndl.ones(5, 5, device=device) @ ndl.ones(5, 5, device=device)).numpy()

    step()
    gc.collect()
    living = simulator.metalsim_live_objects()
    for _ in range(20):
        step()
    gc.collect()
    assert simulator.metalsim_live_objects() == living


TEARDOWN = """
import ctypes, gc, pathlib
import needle as ndl
from needle_backend_msl import _ext
simulator = ctypes.CDLL(str(pathlib.Path(_ext.__file__).with_name("libmetalsim.so")))
model = ndl.nn.Sequential(ndl.nn.Linear(8, 8, device=ndl.msl()), ndl.nn.ReLU(), ndl.nn.Linear(8, 2, device=ndl.msl()))
optimizer = ndl.optim.Adam(model.parameters())
loss = (model(ndl.ones(4, 8, device=ndl.msl())) ** 2).sum()
loss.backward()
optimizer.step()
print("in use:", simulator.metalsim_live_objects() > 20)
import needle.composed
del model, optimizer, loss
for cached in vars(needle.composed).values():  # core keeps numbers as arrays
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()
gc.collect()
_ext.close_device()
print("left:", simulator.metalsim_live_objects())
"""


def test_nothing_is_left_when_the_device_is_closed(simulator):
    text = alone(TEARDOWN)
    assert text == "in use: True\nleft: 0\n"


def test_a_small_network_learns(device):
    random = np.random.default_rng(0)
    x, w = random.standard_normal((32, 8), dtype=np.float32), random.standard_normal((8, 1), dtype=np.float32)
    losses = {}
    for place in (device, ndl.device("numpy")):
        data, target = ndl.Tensor(x, device=place), ndl.Tensor(x @ w, device=place)
        weight = ndl.Tensor(np.zeros((8, 1), np.float32), device=place, requires_grad=True)
        losses[str(place)] = []
        for _ in range(10):
            loss = ((data @ weight - target) ** 2).mean()
            loss.backward()
            with ndl.no_grad():
                weight.data = (weight - 0.1 * weight.grad).data
            weight.grad = None
            losses[str(place)].append(loss.item())
    found, expected = losses.values()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[-1] < 0.2 * found[0]

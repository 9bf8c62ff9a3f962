"""Graphs: compiled once, in one queue with msl's kernels, over memory at any offset."""

import gc
import subprocess
import sys

import numpy as np
import pytest

import needle as ndl
from needle.backend import View
from needle.dtype import float32
from needle.kinds import Reduce
from needle.layout import Layout


def added(counters, work):
    """What `work` added to some counters."""
    before = counters()
    work()
    return {name: count - before[name] for name, count in counters().items()}


def view_of(backend, values, before=0):
    """These values, `before` elements into a buffer of their own."""
    whole = np.concatenate([np.full(before, 7, np.float32), values.ravel()])
    buffer = backend.allocate(whole.nbytes)
    backend.upload(buffer, 0, memoryview(whole).cast("B"))
    shape = values.shape
    return View(buffer, Layout(shape, Layout.compact(shape).strides, before), float32)


def whole_of(backend, view):
    found = np.empty(view.buffer.nbytes // 4, np.float32)
    backend.download(view.buffer, 0, memoryview(found).cast("B"))
    return found


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_a_graph_is_compiled_for_each_kind_of_operands_once(device, mps):
    def work(*shapes, dtype="float32"):
        for shape in shapes:
            ndl.softmax(ndl.ones(*shape, device=device, dtype=dtype), 1).numpy()

    assert added(mps.counters, lambda: work((3, 11), (3, 12), (3, 11), (3, 11)))["graphs"] == 2
    assert added(mps.counters, lambda: work((3, 11), (3, 12)))["graphs"] == 0
    assert added(mps.counters, lambda: work((3, 11), dtype="float16"))["graphs"] == 1


def test_parameters_are_a_part_of_the_key(backend, mps):
    x, w, dst = (view_of(backend, np.ones(shape, np.float32)) for shape in ((2, 5), (5,), (2, 5)))
    count = added(mps.counters, lambda: [backend.rms_norm(dst, x, w, 2, 5, eps) for eps in (3.0, 3.0, 8.0)])
    assert count["graphs"] == 2
    np.testing.assert_allclose(whole_of(backend, dst), 1 / 3, rtol=1e-6)


def test_the_least_used_graphs_are_dropped(device, mps):
    mps.set_graph_limit(2)
    try:

        def work(n):
            ndl.softmax(ndl.ones(2, n, device=device), 1).numpy()

        def works():
            for n in (21, 22, 21, 23, 21, 22):  # 22 goes when 23 comes
                work(n)

        count = added(mps.counters, works)
        assert count["graphs"] == 4
        assert count["graphs_dropped"] >= 2
    finally:
        mps.set_graph_limit(256)


def test_a_dropped_graph_still_runs_what_was_encoded(device, mps):
    y = ndl.softmax(ndl.ones(2, 4, device=device), 1)
    mps.clear()
    np.testing.assert_allclose(y.numpy(), 0.25)


def test_mps_and_msl_go_into_one_queue_in_order(device, msl):
    x = ndl.Tensor(np.random.default_rng(0).standard_normal((6, 6), dtype=np.float32), device=device)
    x.numpy()

    def chain():
        y = x
        for _ in range(5):
            y = ndl.softmax(y @ x, 1) * 2 + y  # MPS, a graph, two of msl's kernels
        chain.result = y.numpy()

    count = added(msl.counters, chain)
    assert (count["dispatches"], count["waits"]) == (20, 1)
    expected = values = x.numpy()
    for _ in range(5):
        expected = softmax(expected @ values) * 2 + expected
    np.testing.assert_allclose(chain.result, expected, rtol=1e-5)


def test_mps_and_msl_share_a_command_buffer(device, msl, simulator):
    """Unless MPSGraph commits on its way, which Apple's may."""
    x = ndl.ones(6, 6, device=device)
    x.numpy()
    count = added(msl.counters, lambda: (ndl.softmax(x @ x, 1) * 2 + x).numpy())
    assert (count["dispatches"], count["command_buffers"]) == (4, 1)


@pytest.mark.parametrize("macos", ["15", "14"])
@pytest.mark.parametrize(("before", "copies"), [(0, (0, 0)), (4, (0, 2)), (3, (2, 2))])
def test_operands_at_offsets(backend, msl, simulator, monkeypatch, macos, before, copies):
    """In place where MPS takes the offset: a multiple of 16 bytes, from macOS 15 on; else by copies."""
    monkeypatch.setenv("METALSIM_MACOS", macos)
    values = np.random.default_rng(0).standard_normal((3, 5), dtype=np.float32)
    x, dst = view_of(backend, values, before), view_of(backend, np.zeros((3, 5), np.float32), before)
    count = added(msl.counters, lambda: backend.softmax(dst, x, 3, 5))
    assert count["dispatches"] == 1 + copies[macos == "14"]
    found = whole_of(backend, dst)
    np.testing.assert_allclose(found[before:].reshape(3, 5), softmax(values), rtol=1e-6)
    np.testing.assert_array_equal(found[:before], 7)


def test_the_queue_goes_on_where_mps_committed(device, msl, simulator, monkeypatch):
    monkeypatch.setenv("METALSIM_COMMIT_AND_CONTINUE", "1")
    values = np.random.default_rng(0).standard_normal((4, 4), dtype=np.float32)
    x = ndl.Tensor(values, device=device)
    x.numpy()

    def chain():
        y = ndl.softmax(ndl.softmax(x * 2, 1) * 3, 1) + 1
        chain.result = y.numpy()

    count = added(msl.counters, chain)
    assert (count["command_buffers"], count["waits"]) == (3, 1)
    np.testing.assert_allclose(chain.result, softmax(softmax(values * 2) * 3) + 1, rtol=1e-6)


def test_a_simulated_device_says_so(backend, simulator):
    assert backend.describe() == "mps (simulator): Needle Metal simulator"


def test_the_device_waits_when_asked(device, msl):
    y = ndl.softmax(ndl.ones(3, 3, device=device), 1)
    assert added(msl.counters, device.synchronize)["waits"] == 1
    assert added(msl.counters, device.synchronize)["waits"] == 0
    assert y.numpy().sum() == pytest.approx(3)


def test_an_upload_does_not_overtake_a_graph(backend, msl):
    values = np.random.default_rng(0).standard_normal((3, 5), dtype=np.float32)
    x, dst = view_of(backend, values), view_of(backend, np.zeros((3, 5), np.float32))
    backend.softmax(dst, x, 3, 5)
    count = added(msl.counters, lambda: backend.upload(x.buffer, 0, memoryview(np.zeros(15, np.float32)).cast("B")))
    assert count["waits"] == 0
    np.testing.assert_allclose(whole_of(backend, dst).reshape(3, 5), softmax(values), rtol=1e-6)


def test_nan_wins_in_maximum(backend):
    x, dst = view_of(backend, np.array([[1, np.nan, 3]], np.float32)), view_of(backend, np.zeros(1, np.float32))
    backend.reduce(Reduce.MAX, dst, x, 1, 3)
    assert np.isnan(whole_of(backend, dst))


def test_what_mps_does_not_take_is_msl_s(backend, mps):
    x = view_of(backend, np.arange(6, dtype=np.float32).reshape(2, 3))
    turned = View(x.buffer, x.layout.permute((1, 0)), float32)
    dst = view_of(backend, np.zeros(3, np.float32))
    assert not mps.reduce(Reduce.SUM, dst, turned, 3, 2)
    backend.reduce(Reduce.SUM, dst, turned, 3, 2)
    np.testing.assert_array_equal(whole_of(backend, dst), [3, 5, 7])


def test_long_attention_is_left(backend, mps):
    """Its scores, which a graph keeps, would take more than 256 MiB; msl's kernel keeps none."""
    x = view_of(backend, np.zeros((1, 8193, 1), np.float32))
    assert not mps.attention(x, x, x, x, False, 1.0)


def test_nothing_lives_on(device, mps, msl, simulator):
    """No call leaves an object of Metal, MPS or MPSGraph behind but those in the caches."""

    def step():
        x = ndl.ones(5, 5, device=device, requires_grad=True)
        ndl.softmax(x @ x, 1).sum().backward()
        x.grad.numpy()

    def living():
        gc.collect()
        mps.clear()
        return simulator.metalsim_live_objects()

    step()
    before = living()
    for _ in range(5):
        step()
    assert living() == before


TEARDOWN = """
import ctypes, gc, pathlib
import needle as ndl
from needle_backend_msl import _ext as msl
from needle_backend_mps import _ext as mps
simulator = ctypes.CDLL(str(pathlib.Path(msl.__file__).with_name("libmetalsim.so")))
with ndl.use_device(ndl.mps()):
    model = ndl.nn.Sequential(ndl.nn.Conv(3, 4, 3), ndl.nn.BatchNorm2d(4), ndl.nn.Flatten(), ndl.nn.Linear(64, 2))
    loss = (ndl.softmax(model(ndl.ones(2, 3, 4, 4)), 1) ** 2).sum()
loss.backward()
print("in use:", simulator.metalsim_live_objects() > 100)
import needle.composed
del model, loss
for cached in vars(needle.composed).values():  # core keeps numbers as arrays
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()
gc.collect()
mps.clear()
msl.close_device()
print("left:", simulator.metalsim_live_objects())
"""


def test_nothing_is_left_when_the_device_is_closed(simulator):
    done = subprocess.run([sys.executable, "-c", TEARDOWN], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == "in use: True\nleft: 0\n"

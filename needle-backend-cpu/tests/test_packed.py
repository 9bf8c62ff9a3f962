"""Packed copies of weights: kept while nobody writes into their memory, equal in every bit, counted, and given back."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import CPU

import needle as ndl
from needle import dispatch
from needle_backend_cpu import _ext

DEVICE = ndl.device("cpu")
K, N = 80, 96


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def array(values: Any) -> Any:
    return ndl.tensor(values, device=DEVICE).array


def matrix(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32)


def packed(x: Any) -> int:
    return int(x.buffer.packed)


def test_what_kernels_write_is_what_core_says() -> None:
    assert _ext.written == {name: dispatch.WRITES.get(name, (0,)) for name in _ext.written}


def test_the_second_product_packs(rng: np.random.Generator) -> None:
    x, w = array(matrix(rng, 7, K)), array(matrix(rng, K, N))
    sizes, results = [], []
    for _ in range(4):
        results.append((x @ w).numpy().tobytes())
        sizes.append(packed(w))
    assert sizes[0] == 0
    assert sizes[1] == sizes[3] >= w.size * 4
    assert packed(x) == 0
    assert len(set(results)) == 1


SHAPES = [(2, 64, 64), (7, K, N), (13, 500, 33), (64, 1000, 70), (3, 129, 1000), (200, 70, 70)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_the_bits_are_those_of_a_product_that_packs_for_itself(
    m: int, k: int, n: int, transposed: bool, dtype: str, rng: np.random.Generator
) -> None:
    x, w = array(matrix(rng, m, k)).astype(dtype), array(matrix(rng, *((n, k) if transposed else (k, n)))).astype(dtype)
    bias = array(matrix(rng, n)).astype(dtype)
    results = [x.linear(w.mT if transposed else w, bias, None).host_bits().tobytes() for _ in range(3)]
    assert packed(w) > 0
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (2, 5)])
@pytest.mark.parametrize("channels", [4, 64])
def test_kernels_of_convolutions(
    channels: int, size: tuple[int, int], groups: int, dtype: str, rng: np.random.Generator
) -> None:
    x = ndl.tensor(matrix(rng, 2, channels, 8, 7), device=DEVICE).astype(dtype)
    w = ndl.tensor(matrix(rng, *size, channels // groups, 68), device=DEVICE).astype(dtype)
    results = [ndl.conv2d(x, w, groups=groups).array.contiguous().host_bits().tobytes() for _ in range(3)]
    assert results[0] == results[1] == results[2]
    assert packed(w.array) > 0 or (size == (1, 1) and w.array.size // groups < 4096)
    reversed_ = ndl.tensor(np.ascontiguousarray(w.astype("float32").numpy()[::-1]), device=DEVICE).astype(dtype)
    with ndl.no_grad():
        w[:] = reversed_
    np.testing.assert_array_equal(
        ndl.conv2d(x, w, groups=groups).array.contiguous().host_bits(),
        ndl.conv2d(x, reversed_, groups=groups).array.contiguous().host_bits(),
    )


def by_upload(w: Any, values: Any) -> None:
    CPU.upload(w.buffer, 0, memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8)))


def by_assign(w: Any, values: Any) -> None:
    w.assign(array(values))


def by_part(w: Any, values: Any) -> None:
    w[K // 2 :] = array(values[K // 2 :])


def by_memoryview(w: Any, values: Any) -> None:
    np.frombuffer(memoryview(w.buffer), np.float32).reshape(w.shape)[...] = values


def by_address(w: Any, values: Any) -> None:
    address = w.buffer.ptr()
    np.ctypeslib.as_array((np.ctypeslib.ctypes.c_float * values.size).from_address(address))[:] = values.reshape(-1)


def by_dlpack(w: Any, values: Any) -> None:
    np.from_dlpack(w)[...] = values


def by_scatter(w: Any, values: Any) -> None:
    index = array(np.arange(N, dtype=np.int32)[None, :, None].repeat(K, 0))
    dispatch.run(DEVICE, "scatter_add", w.reshape(K, N, 1), index, array(values[:, :, None]))


def by_sgd(w: Any, values: Any) -> None:
    rule = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    dispatch.sgd_step(DEVICE, [w], [array(values)], [array(np.zeros_like(values))], **rule)  # type: ignore[arg-type]


def by_sequence(w: Any, values: Any) -> None:
    source = array(values)
    CPU.sequence([("copy", (w, source)), ("copy", (w, source))], [w])()


CHANGES: list[Callable[[Any, Any], None]] = [
    by_upload, by_assign, by_part, by_memoryview, by_address, by_dlpack, by_scatter, by_sgd, by_sequence,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_noticed(change: Callable[[Any, Any], None], rng: np.random.Generator) -> None:
    x, w = array(matrix(rng, 7, K)), array(matrix(rng, K, N))
    for _ in range(3):
        for _ in range(3):
            np.testing.assert_allclose((x @ w).numpy(), x.numpy() @ w.numpy(), atol=1e-4)
        before = w.numpy()
        change(w, matrix(rng, K, N))
        assert not np.array_equal(before, w.numpy())
    np.testing.assert_allclose((x @ w).numpy(), x.numpy() @ w.numpy(), atol=1e-4)


def test_nothing_is_kept_once_memory_was_shared(rng: np.random.Generator) -> None:
    x, w = array(matrix(rng, 7, K)), array(matrix(rng, K, N))
    x @ w, x @ w
    assert packed(w) > 0
    shared = w.host_array()
    for i in range(4):
        shared[0, 0] = i
        np.testing.assert_allclose((x @ w).numpy(), x.numpy() @ shared, atol=1e-4)
        assert packed(w) == 0
    again = shared[::2].T
    del shared
    x @ w, x @ w
    assert packed(w) == 0
    again[0, 0] = 100.0
    np.testing.assert_allclose((x @ w).numpy(), x.numpy() @ w.numpy(), atol=1e-3)


def test_views_of_one_buffer_have_copies_of_their_own(rng: np.random.Generator) -> None:
    """Two matrices in one buffer, one read in both orders; a write through either view ends all copies."""
    x, y, both = array(matrix(rng, 7, K)), array(matrix(rng, 7, N)), array(matrix(rng, 2, K, N))
    for _ in range(3):
        for _ in range(3):
            for w in (both[0], both[1]):
                np.testing.assert_allclose((x @ w).numpy(), x.numpy() @ w.numpy(), atol=1e-4)
                np.testing.assert_allclose((y @ w.mT).numpy(), y.numpy() @ w.numpy().T, atol=1e-4)
        assert packed(both) >= 4 * K * N * 4
        both[1, 5:7] = 3.0
        assert packed(both) == 0


def test_memory_is_counted_and_given_back(rng: np.random.Generator) -> None:
    _ext.empty_cache()
    before = _ext.memory_stats()
    x, w = array(matrix(rng, 7, 300)), array(matrix(rng, 300, 400))
    x @ w, x @ w
    during = _ext.memory_stats()
    assert during["packed"] - before["packed"] == packed(w) >= 300 * 400 * 4
    assert during["used"] - before["used"] >= 2 * 300 * 400 * 4
    assert during["peak"] >= during["used"]
    _ext.empty_cache()
    assert packed(w) == 0
    assert _ext.memory_stats()["packed"] == before["packed"]
    x @ w, x @ w
    w[0] = 1.0  # at once, and not at the next product
    assert _ext.memory_stats()["packed"] == before["packed"]
    x @ w, x @ w
    assert packed(w) > 0
    del w, x
    assert _ext.memory_stats()["packed"] == before["packed"]


def test_training_keeps_no_copies(rng: np.random.Generator) -> None:
    """A weight that changes after each use is packed for that use, as ever."""
    x, w = array(matrix(rng, 7, K)), array(matrix(rng, K, N))
    for _ in range(4):
        x @ w
        by_sgd(w, matrix(rng, K, N))
        assert packed(w) == 0


def test_compiled_functions_say_what_is_kept(rng: np.random.Generator) -> None:
    w = ndl.tensor(matrix(rng, K, N), device=DEVICE)
    x = ndl.tensor(matrix(rng, 7, K), device=DEVICE)
    run = ndl.compile(lambda x: (x @ w).relu())
    run(x)
    assert "packed copies" not in run.explain()
    for _ in range(3):
        run(x)
    assert f"{DEVICE}: packed copies of weights, {packed(w.array) / 2**20:.2f} MiB" in run.explain()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["product", "turned", "half"]), st.integers(0, 6)), max_size=25))
def test_any_order_of_reads_and_writes(steps: list[tuple[str, int]]) -> None:
    rng = np.random.default_rng(1)
    x, y, w = array(matrix(rng, 5, 64)), array(matrix(rng, 5, 72)), array(matrix(rng, 64, 72))
    shared = None
    for kind, write in steps:
        if kind == "product":
            np.testing.assert_allclose((x @ w).numpy(), x.numpy() @ w.numpy(), atol=1e-3)
        elif kind == "turned":
            np.testing.assert_allclose((y @ w.mT).numpy(), y.numpy() @ w.numpy().T, atol=1e-3)
        else:
            half = w[:, :64]
            np.testing.assert_allclose((x @ half).numpy(), x.numpy() @ half.numpy(), atol=1e-3)
        if write == 1:
            w[3] = float(rng.standard_normal())
        elif write == 2:
            shared = w.host_array()
        elif write == 3 and shared is not None:
            shared[:, 5] += 1
        elif write == 4:
            shared = None
        elif write == 5:
            by_upload(w, matrix(rng, 64, 72))


def test_threads_that_read_and_write(rng: np.random.Generator) -> None:
    """When all have stopped, what is kept is of the last contents, whatever was read while they were half written."""
    x, w = array(matrix(rng, 64, 256)), array(matrix(rng, 256, 256))
    values = [array(matrix(rng, 256, 256)) for _ in range(2)]
    for turn in range(20):
        threads = [threading.Thread(target=lambda: [x @ w for _ in range(5)]) for _ in range(2)]
        threads.append(threading.Thread(target=lambda turn=turn: [w.assign(values[(turn + i) % 2]) for i in range(5)]))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_allclose((x @ w).numpy(), x.numpy() @ w.numpy(), atol=1e-3)

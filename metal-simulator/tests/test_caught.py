"""Defects that show only when a kernel runs: each is caught in check mode."""

import numpy as np
import pytest
from sources import HEAD, kernel

CAUGHT = {
    "out of bounds by one": (kernel("a[gid + 1] = 1;"), 64, 64),
    "negative index (uint wraps)": (kernel("if (gid > 0) a[gid - 2] = 1;"), 64, 64),
    "no guard: grid larger than buffer": (kernel("a[gid] = 1;"), 96, 32),
    "missing barrier": (kernel("threadgroup float t[64]; t[tid] = gid; a[gid] = t[63 - tid];"), 64, 64),
    "barrier with the wrong mem_flags": (
        kernel("threadgroup float t[64]; t[tid] = gid; SYNC_DEVICE; a[gid] = t[63 - tid];"),
        64,
        64,
    ),
    "device memory, barrier orders threadgroup only": (
        kernel("a[gid] = 1; SYNC_THREADGROUP; float x = a[63 - tid]; SYNC_DEVICE; a[gid] = x;"),
        64,
        64,
    ),
    "in-place tree without second barrier": (
        kernel(
            "threadgroup float t[64]; t[tid] = 1; SYNC_THREADGROUP;"
            "for (uint s = 32; s; s >>= 1) { if (tid < s) t[tid] += t[tid + s]; } a[gid] = t[0];"
        ),
        64,
        64,
    ),
    "non-atomic sum across threadgroups": (kernel("a[0] += 1;"), 64, 32),
    "threads of one simdgroup, no barrier": (
        kernel("threadgroup float t[32]; t[lane] = lane; a[gid] = t[lane ^ 1];"),
        32,
        32,
    ),
    "barrier in divergent branch": (
        kernel("if (tid < 7) SYNC_NONE; a[gid] = 1;"),
        64,
        64,
    ),
    "early return before a barrier": (
        kernel("if (gid >= 50) return; SYNC_NONE; a[gid] = 1;"),
        64,
        64,
    ),
    "two barriers mixed": (
        kernel("if (tid & 1) {\n SYNC_NONE;\n } else {\n SYNC_NONE;\n } a[gid] = 1;"),
        64,
        64,
    ),
    "read of unwritten threadgroup memory": (
        kernel("threadgroup float t[64]; if (tid < 60) t[tid] = 1; SYNC_THREADGROUP; a[gid] = t[tid];"),
        64,
        64,
    ),
    "overflow of a threadgroup array": (
        kernel("threadgroup float t[32]; threadgroup float u[32]; t[tid] = 1; u[0] = 2; a[gid] = 1;"),
        64,
        64,
    ),
    "over 32 KiB threadgroup memory": (kernel("threadgroup float t[8193]; t[tid] = 1; a[gid] = t[tid];"), 64, 64),
    "1025 threads in a threadgroup": (kernel("a[gid] = 1;"), 1025, 1025),
}
MESSAGE = {
    "out of bounds by one": "out of bounds", "no guard: grid larger than buffer": "out of bounds",
    "non-atomic sum across threadgroups": "race",
    "barrier in divergent branch": "others have returned", "two barriers mixed": "different barriers",
    "read of unwritten threadgroup memory": "no thread has written",
    "1025 threads in a threadgroup": "the limit is 1024",
    "over 32 KiB threadgroup memory": "over the limit of 32768",
}  # fmt: skip


def launch(executor, compiled, source, grid, group, **options):
    a = np.zeros(64, np.float32)
    executor.run(executor.function(compiled(source), "k"), [a, np.array([64], np.uint32)], grid, group, **options)
    return a


@pytest.mark.parametrize("name", CAUGHT)
def test_defect_is_caught(name, executor, compiled):
    source, grid, group = CAUGHT[name]
    with pytest.raises(RuntimeError, match=MESSAGE.get(name, "^k: ")):
        launch(executor, compiled, source, grid, group)


def test_a_shuffle_from_an_inactive_lane_gives_poison(executor, compiled):
    source = kernel("float v = 0; if (lane < 16) v = simd_shuffle(1.0f, ushort(lane + 16)); a[gid] = v == 1 ? 1 : -7;")
    assert launch(executor, compiled, source, 64, 64)[0] == -7


def test_simd_sum_in_a_branch_adds_the_active_lanes(executor, compiled):
    a = launch(executor, compiled, kernel("float v = 0; if (lane < 16) v = simd_sum(1.0f); a[gid] = v;"), 64, 64)
    assert (a[0], a[20]) == (16, 0)


def test_a_spinning_thread_is_stopped(executor, compiled):
    with pytest.raises(RuntimeError, match="spins"):
        launch(executor, compiled, kernel("while (((volatile device float*)a)[1] == 0) {} a[gid] = 1;"), 1, 1)


def test_a_pipeline_may_have_fewer_threads(executor, compiled, monkeypatch):
    monkeypatch.setenv("METALSIM_MAX_THREADS", "256")
    with pytest.raises(RuntimeError, match="512 threads in a threadgroup, the limit is 256"):
        launch(executor, compiled, kernel("a[gid % 64] = 1;"), 512, 512)


def test_an_offset_is_aligned_to_the_element(executor, compiled):
    with pytest.raises(RuntimeError, match="offset 2, which is no multiple of 4"):
        launch(executor, compiled, kernel("if (gid < 8) a[gid] = 1;"), 8, 8, offsets={0: 2})


def test_an_array_packed_by_the_host_is_shorter_than_float3(executor, compiled):
    """float3 takes 16 bytes: a host that packs 12 gives too little."""
    source = HEAD + (
        "kernel void k(device const float3* x [[buffer(0)]], device float* y [[buffer(1)]], "
        "uint i [[thread_position_in_grid]]) { y[i] = x[i].z; }"
    )
    x, y = np.ones((8, 3), np.float32), np.zeros(8, np.float32)
    with pytest.raises(RuntimeError, match="out of bounds"):
        executor.run(executor.function(compiled(source), "k"), [x, y], 8, 8)


def test_functions_may_be_some_units_off(executor, compiled, monkeypatch):
    exact, off = (np.linspace(0.5, 3, 64, dtype=np.float32) for _ in range(2))
    function = executor.function(compiled(kernel("a[gid] = exp(a[gid]);")), "k")
    executor.run(function, [exact, np.array([64], np.uint32)], 64, 64)
    monkeypatch.setenv("METALSIM_JITTER", "2")
    executor.run(function, [off, np.array([64], np.uint32)], 64, 64)
    units = np.abs(exact.view(np.int32) - off.view(np.int32))
    assert units.max() == 2
    assert units.min() == 0


@pytest.mark.parametrize("flush", [False, True])
def test_tiny_numbers_may_become_zero(executor, compiled, monkeypatch, flush):
    if flush:
        monkeypatch.setenv("METALSIM_FLUSH", "1")
    a = np.full(4, 1e-30, np.float32)
    executor.run(
        executor.function(compiled(kernel("a[gid] = a[gid] * 1e-10f;")), "k"), [a, np.array([4], np.uint32)], 4, 4
    )
    assert (a == 0).all() == flush


def test_fast_math_loses_nan(executor, compiled):
    source = kernel("a[gid] = isnan(a[gid]) ? 1.0f : 2.0f;")
    for fast_math, expected in ((False, 1.0), (True, 2.0)):
        a = np.array([np.nan], np.float32)
        function = executor.function(compiled(source, fast_math=fast_math), "k")
        executor.run(function, [a, np.array([1], np.uint32)], 1, 1)
        assert a[0] == expected

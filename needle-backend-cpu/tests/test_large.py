"""Arrays beyond the caches, whose results are written past them; and what memory they take in a steady program."""

from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle.dtype import as_dtype
from needle.kinds import COMPARISONS, LOGICAL, PREDICATES, Binary, Unary
from needle_backend_cpu import _ext

N = (1 << 21) + 37  # 8 MiB of floats and a rest that fills no line
SQUARE = (1537, 1411)  # as many, and no side a multiple of a tile
LONG, SHORT = (2051, 1024), (33001, 64)  # as many, in rows of whole lines, which are stored past the caches at once


def softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def log_softmax(x: Any) -> Any:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def rms_norm(x: Any, w: Any) -> Any:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w


def layer_norm(x: Any, w: Any, b: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w + b


def layer_norm_grad(g: Any, x: Any, w: Any) -> Any:
    scale = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    z, h = (x - x.mean(-1, keepdims=True)) * scale, g * w
    return (h - h.mean(-1, keepdims=True) - z * (h * z).mean(-1, keepdims=True)) * scale


def cross_entropy_grad(g: Any, x: Any) -> Any:
    return g[:, None] * (softmax(x) - np.eye(x.shape[1])[LABELS[: len(x)]])


def labels(rows: int) -> Any:
    return ndl.tensor(LABELS[:rows], device="cpu").array


LABELS = np.random.default_rng(5).integers(0, 64, SHORT[0])

# name, what is computed, the same in NumPy, shapes of the operands
WORKS: list[tuple[str, Callable[..., Any], Callable[..., Any], list[tuple[int, ...]]]] = [
    ("neg", lambda x: -x, lambda x: -x, [(N,)]),
    ("exp", ndl.exp, np.exp, [(N,)]),
    ("add", lambda a, b: a + b, lambda a, b: a + b, [(N,), (N,)]),
    ("less", lambda a, b: a < b, lambda a, b: a < b, [(4 * N,), (4 * N,)]),
    ("rows and columns", lambda a, b: a * b, lambda a, b: a * b, [SQUARE, (1, SQUARE[1])]),
    ("where", lambda a, b, c: ndl.where(a < 0, b, c), lambda a, b, c: np.where(a < 0, b, c), [(N,)] * 3),
    ("square by power", lambda x: x**2, lambda x: x * x, [(N,)]),
    ("copy", lambda x: ndl.Tensor(x.array.copy()), lambda x: x, [(N,)]),
    ("offset", lambda x: x[5:].contiguous() * 2.0, lambda x: x[5:] * 2, [(N + 64,)]),
    ("transpose", lambda x: x.T.contiguous(), lambda x: x.T, [SQUARE]),
    ("planes", lambda x: x.permute(0, 2, 1).contiguous(), lambda x: x.transpose(0, 2, 1), [(3, 1000, 723)]),
    ("reversed axes", lambda x: x.permute(2, 1, 0).contiguous(), lambda x: x.T, [(129, 130, 131)]),
    ("inner block", lambda x: x[1:, 3:-2].contiguous(), lambda x: x[1:, 3:-2], [SQUARE]),
    ("broadcast", lambda x: x.broadcast_to(*SQUARE).contiguous(), lambda x: np.broadcast_to(x, SQUARE), [(1537, 1)]),
    ("short rows", lambda x: ndl.softmax(x, -1), softmax, [(70001, 31)]),
    *(
        row
        for shape in (SQUARE, LONG, SHORT)
        for row in (
            ("softmax", lambda x: ndl.softmax(x, -1), softmax, [shape]),
            ("log softmax", lambda x: ndl.log_softmax(x, -1), log_softmax, [shape]),
            ("softmax's gradient", lambda g, y: ndl.Tensor(g.array.softmax_grad(y.array)),
             lambda g, y: y * (g - (g * y).sum(-1, keepdims=True)), [shape, shape]),
            ("log softmax's gradient", lambda g, x: ndl.Tensor(g.array.log_softmax_grad(x.array.log_softmax())),
             lambda g, x: g - softmax(x) * g.sum(-1, keepdims=True), [shape, shape]),
            ("rms norm", lambda x, w: x.rms_norm(w), rms_norm, [shape, shape[1:]]),
            ("layer norm", lambda x, w, b: x.layer_norm(w, b), layer_norm, [shape, shape[1:], shape[1:]]),
            ("layer norm's gradient", lambda g, x, w: ndl.Tensor(g.array.layer_norm_grad(x.array, w.array, 1e-5)[0]),
             layer_norm_grad, [shape, shape, shape[1:]]),
            ("cross-entropy's gradient",
             lambda g, x: ndl.Tensor(g.array.cross_entropy_grad(x.array, labels(len(g)))),
             cross_entropy_grad, [shape[:1], shape]),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    ("call", "expected", "shapes"), [w[1:] for w in WORKS], ids=[f"{w[0]} {w[3][0]}" for w in WORKS]
)
def test_results_past_the_caches(call: Any, expected: Any, shapes: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    tensors = [ndl.tensor(rng.standard_normal(shape), device="cpu", dtype=dtype) for shape in shapes]
    found = on_threads(lambda: call(*tensors).astype("float64").numpy())
    with np.errstate(all="ignore"):
        right = expected(*(t.astype("float64").numpy() for t in tensors))
    rtol = {"float32": 1e-4, "float64": 1e-12, "bfloat16": 2e-2}[dtype]
    np.testing.assert_allclose(found, right, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("axes", [c for k in range(1, 5) for c in combinations(range(4), k)], ids=str)
def test_sums_over_any_axes_of_any_order(axes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    data = rng.standard_normal((3, 33, 18, 40))
    for order in permutations(range(4)):
        x = ndl.tensor(data, device="cpu", dtype="float64").permute(*order)
        x = x[:, ::2] if order[0] % 2 else x.flip(1)
        found, values = on_threads(lambda x=x: x.sum(axes).numpy()), x.numpy()
        np.testing.assert_allclose(found, values.sum(axes), rtol=1e-12, atol=1e-11, err_msg=str(order))
        np.testing.assert_array_equal(x.max(axes).numpy(), values.max(axes), err_msg=str(order))


def test_sums_of_broadcast_axes() -> None:
    x = ndl.arange(40, device="cpu", dtype="float32").broadcast_to(7, 30, 40).permute(2, 0, 1)
    for axes in [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]:
        np.testing.assert_array_equal(x.sum(axes).numpy(), x.numpy().sum(axes), err_msg=str(axes))


def on_threads(work: Callable[[], Any]) -> Any:
    """What the work gives on one thread, after it gave the same bits on others."""
    before = _ext.num_threads()
    try:
        _ext.set_num_threads(1)
        alone = work()
        for threads in (2, 5):
            _ext.set_num_threads(threads)
            np.testing.assert_array_equal(work(), alone)
    finally:
        _ext.set_num_threads(before)
    return alone


@pytest.mark.parametrize(
    "kind", [k for k in Unary if k not in (Unary.LOGICAL_NOT, Unary.BITWISE_NOT)], ids=lambda kind: kind.op
)
def test_an_element_does_not_depend_on_its_neighbours(kind: Unary) -> None:
    # Some loops take a shorter way through blocks without hard elements, and threads cut the blocks.
    rng = np.random.default_rng(4)
    values = rng.standard_normal(70_000).astype(np.float32)
    values[rng.integers(0, values.size, 30)] = rng.choice([100.0, -100.0, 1e7, np.inf, np.nan], 30)
    x = ndl.tensor(values, device="cpu")
    whole = on_threads(lambda: x.array._unary(kind).numpy())
    np.testing.assert_array_equal(x.array[37:]._unary(kind).numpy(), whole[37:])


@pytest.mark.parametrize("kind", [*Unary, *Binary], ids=lambda kind: kind.op)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_what_is_stored_past_the_caches_is_what_smaller_results_are(kind: Unary | Binary, dtype: str) -> None:
    has = _ext.has_unary if isinstance(kind, Unary) else _ext.has_binary
    if not has(kind, as_dtype(dtype).code):
        return
    rng = np.random.default_rng(kind)
    values = rng.standard_normal((2, 4 * N if kind in PREDICATES | COMPARISONS | LOGICAL else N), np.float32) * 3
    values[:, rng.integers(0, N, 30)] = rng.choice([100.0, -100.0, 1e7, np.inf, np.nan, -0.0], 30)
    with np.errstate(invalid="ignore"):
        x, y = (ndl.tensor(v, device="cpu").array for v in values.astype(dtype))

    def call(part: slice) -> Any:
        return (x[part]._unary(kind) if isinstance(kind, Unary) else x[part]._binary(kind, y[part])).numpy()

    whole, some = on_threads(lambda: call(slice(None))), 1_000_003
    for begin in range(0, whole.size, some):
        part = slice(begin, min(begin + some, whole.size))
        np.testing.assert_array_equal(call(part), whole[part])


def test_a_steady_training_step_asks_the_system_for_nothing() -> None:
    rng = np.random.default_rng(2)
    weights = [ndl.tensor(rng.standard_normal(s) * 0.1, device="cpu", dtype="float32", requires_grad=True)
               for s in [(700, 2100), (2100, 1100), (1100, 10)]]  # fmt: skip
    x = ndl.tensor(rng.standard_normal((64, 700)), device="cpu", dtype="float32")
    labels = ndl.tensor(rng.integers(0, 10, 64), device="cpu")

    def step() -> None:
        h = x
        for w in weights[:-1]:
            h = (h @ w).relu()
        ndl.cross_entropy(h @ weights[-1], labels).backward()
        for w in weights:
            w.array.assign(w.array - w.grad.array * 0.01)
            w.grad = None

    for _ in range(3):
        step()
    before = _ext.memory_stats()
    for _ in range(5):
        step()
    after = _ext.memory_stats()
    assert after["system_allocations"] == before["system_allocations"]
    assert after["held"] == before["held"]
    assert after["peak"] == before["peak"]

"""needle.compile and what Python can do with a function: the right result, or an error of one line."""

import copy
import dataclasses
import gc
import pickle
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import dispatch, tracing
from needle.errors import ArgumentError, GraphError
from needle.trees import flatten

DEVICES = [name for name in ("numpy", "cpu") if name in {d.backend for d in ndl.devices()}]


def tensor(*shape: int, seed: int = 0, **options: Any) -> ndl.Tensor:
    return ndl.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), **options)


@pytest.mark.parametrize(
    ("values", "captures"),
    [
        ((0.0, -0.0), 2), ((float("nan"), float("nan")), 1), ((True, 1, 1.0), 3), (({1, 2}, {2, 1}, {1}), 2),
        ((np.float32(2), np.float32(2), np.float64(2)), 2), (("a", b"a"), 2),
    ],
)  # fmt: skip
def test_arguments_by_value(values: Any, captures: int) -> None:
    compiled = ndl.compile(lambda x, value: (x + 1, value))
    for value in values:
        assert repr(compiled(tensor(2), value)[1]) == repr(value)
    assert compiled.captures == captures


def test_a_float_keeps_its_sign_of_zero() -> None:
    compiled = ndl.compile(lambda x, k: x * k)
    signs = [bool(np.signbit(compiled(ndl.ones(1), k).numpy()[0])) for k in (0.0, -0.0)]
    assert signs == [False, True]


def test_defaults_and_keywords() -> None:
    def f(x: ndl.Tensor, k: float = 3, *, scale: float = 2.0) -> ndl.Tensor:
        return x * k * scale

    compiled, one = ndl.compile(f), ndl.ones(1)
    found = [compiled(one), compiled(one, 4), compiled(one, k=4), compiled(k=2, x=one), compiled(one, scale=1.0)]
    assert [float(x[0]) for x in found] == [6, 8, 8, 4, 3]


def write(x: ndl.Tensor) -> ndl.Tensor:
    x[0] = 7.0
    return x


@pytest.mark.parametrize("part", [lambda b: b[1:3], lambda b: b[:, ::2], lambda b: b.T, lambda b: b])
def test_what_is_written_into_an_argument_arrives(part: Callable[..., Any]) -> None:
    compiled, base, expected = ndl.compile(write), ndl.zeros(4, 4), ndl.zeros(4, 4)
    write(part(expected))
    for _ in range(2):
        base[...] = 0
        x = part(base)
        assert compiled(x) is x
        np.testing.assert_array_equal(base.numpy(), expected.numpy())


def test_arguments_that_share_memory_may_not_be_written() -> None:
    base = ndl.zeros(4, 4)
    compiled = ndl.compile(lambda x, y: write(x) + y[0])
    with pytest.raises(GraphError, match="argument 0 is written into and shares memory with another argument"):
        compiled(base[0:2], base[1:3])


def test_a_view_that_requires_gradients_stays_a_view() -> None:
    base = ndl.zeros(4, 4)
    x = base[1:3].requires_grad_()

    @ndl.compile
    def f(x: ndl.Tensor) -> ndl.Tensor:
        y = (x * x).sum()
        y.backward()
        return y

    for i in (1, 2):
        base[...] = float(i)
        x.grad = None
        assert float(f(x)) == 8 * i * i
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), 2.0 * i)


def test_a_parameter_that_is_frozen_and_freed() -> None:
    w, v = tensor(3, requires_grad=True), tensor(3, seed=1, requires_grad=True)

    def step(x: ndl.Tensor) -> ndl.Tensor:
        w.grad = v.grad = None
        loss = (x * w * v).sum()
        loss.backward()
        return loss

    compiled = ndl.compile(step)
    for learned in (True, True, False, True):
        v.requires_grad_(learned)
        compiled(tensor(3, seed=2))
        assert (v.grad is not None) == learned
        assert w.grad is not None


@dataclasses.dataclass
class Both:
    a: Any
    b: Any


def test_dataclasses_and_objects_as_results() -> None:
    compiled = ndl.compile(lambda d: Both(d.a + d.b, [d.a * 2]))
    for seed in (1, 2):
        x, y = tensor(3, seed=seed), tensor(3, seed=seed + 5)
        found = compiled(Both(x, y))
        np.testing.assert_allclose(found.a.numpy(), x.numpy() + y.numpy())
        np.testing.assert_allclose(found.b[0].numpy(), x.numpy() * 2)
    assert compiled.captures == 1

    def in_an_object(x: ndl.Tensor) -> Any:
        return types.SimpleNamespace(k=x * 2)

    with pytest.raises(GraphError, match="a result is a SimpleNamespace that holds tensors"):
        ndl.compile(in_an_object)(tensor(3))


def test_an_exception_inside_leaves_a_function_that_works() -> None:
    w, broken = ndl.zeros(3), [True]

    @ndl.compile
    def f(x: ndl.Tensor) -> ndl.Tensor:
        w[...] = w + 1
        if broken[0]:
            raise ValueError("inside")
        return x + w

    with pytest.raises(ValueError, match="inside"):
        f(ndl.zeros(3))
    assert tracing.active is None
    assert not dispatch.observers
    broken[0] = False
    for expected in (2.0, 3.0):
        np.testing.assert_array_equal(f(ndl.zeros(3)).numpy(), expected)


def test_recursion_and_nesting() -> None:
    @ndl.compile
    def power(x: ndl.Tensor, n: int) -> ndl.Tensor:
        return x if n == 0 else power(x * 2, n - 1)

    assert [float(power(ndl.ones(1), 3)[0]) for _ in range(2)] == [8, 8]


def test_threads_that_capture_and_compute() -> None:
    compiled = ndl.compile(lambda x: (x * 2 + 1).sum(), limit=100)
    wrong: list[int] = []

    def capturing() -> None:
        wrong.extend(n for n in range(1, 20) if float(compiled(ndl.ones(n))) != 3 * n)

    def computing() -> None:
        wrong.extend(n for n in range(100) if float((ndl.ones(n) * 3).sum()) != 3 * n)

    threads = [threading.Thread(target=f) for f in (capturing, capturing, computing, computing)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def doubled(x: ndl.Tensor) -> ndl.Tensor:
    return x * 2


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies_have_no_programs(again: Callable[[Any], Any]) -> None:
    compiled = ndl.compile(doubled, limit=3, disable="dead_code")
    compiled(tensor(3))
    other = again(compiled)
    assert (other.function, other.limit, other.graphs()) == (doubled, 3, [])
    np.testing.assert_array_equal(other(tensor(3)).numpy(), compiled(tensor(3)).numpy())


async def waiting(x: ndl.Tensor) -> ndl.Tensor:
    return x


def yielding(x: ndl.Tensor) -> Any:
    yield x


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ndl.compile(waiting), "not a generator or coroutine"),
        (lambda: ndl.compile(yielding), "not a generator or coroutine"),
        (lambda: ndl.compile(doubled, limit=0), "limit is 0; at least one program is kept"),
    ],
)
def test_errors(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        call()


def test_empty_arrays_that_no_kernel_writes() -> None:
    compiled = ndl.compile(lambda x: (x + ndl.rand(0, 4), ndl.rand(0)))
    for _ in range(3):
        found = compiled(ndl.zeros(0, 4))
        assert [y.shape for y in found] == [(0, 4), (0,)]


def test_a_result_that_ends_is_refused() -> None:
    with pytest.raises(GraphError, match="a result is an iterator"):
        ndl.compile(lambda x: (part for part in [x + 1]))(tensor(3))


def test_arguments_are_not_kept() -> None:
    compiled, x = ndl.compile(lambda x: (x * 2 + 1).tanh()), tensor(3)
    for _ in range(2):
        compiled(x)
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None


def written_part(x: ndl.Tensor) -> Any:
    z = ndl.Tensor([0.0, 5.0, 0.0])
    z[0] = x[0]
    return z


def with_views(x: ndl.Tensor) -> Any:
    z = ndl.Tensor([0.0, 1.0, 2.0])
    return z, z[::-1], z.reshape(3, 1)


# Functions whose results do not depend on their arguments, wholly or in part.
CONSTANT: dict[str, Any] = {
    "data": lambda x: ndl.Tensor([0.0, 1.0, 2.0]),
    "computed": lambda x: ndl.Tensor([0.0, 1.0, 2.0]) * 2,
    "no data": lambda x: (ndl.zeros(2, 3).T, ndl.arange(6), ndl.eye(2)),
    "one_hot": lambda x: ndl.one_hot(4, ndl.Tensor([1, 2])),
    "written": written_part,
    "views": with_views,
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CONSTANT)
def test_what_the_caller_does_to_a_result_is_not_seen_by_the_next_call(name: str, device: str) -> None:
    with ndl.use_device(device):
        f, x = ndl.compile(CONSTANT[name]), ndl.Tensor([1.0, 2.0, 3.0])
        for _ in range(3):
            expected, found = (flatten(g(x))[0] for g in (CONSTANT[name], f))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a.numpy(), b.numpy())
            for a in found:
                a[...] = 77


@pytest.mark.parametrize("device", DEVICES)
def test_a_constant_gradient_or_value_is_made_anew(device: str) -> None:
    w, v = (ndl.tensor([1.0, 2.0], device=device, requires_grad=r) for r in (True, False))

    @ndl.compile
    def step() -> None:
        w.grad = None
        w.sum().backward()
        v.data = ndl.tensor([4.0, 5.0], device=device)

    for _ in range(3):
        step()
        assert (w.grad.tolist(), v.tolist()) == ([1, 1], [4, 5])
        w.grad[...] = 9
        v[...] = 9


def test_a_gradient_that_is_set_is_set_anew() -> None:
    w, v = tensor(3, requires_grad=True), tensor(3, requires_grad=True)

    @ndl.compile
    def step(x: ndl.Tensor) -> None:
        w.grad = x * 2
        (v * x).sum().backward()
        v.grad = None if v.grad is None else v.grad * 2

    for i in range(4):
        x, before = tensor(3, seed=i), 0 if v.grad is None else v.grad.numpy()
        step(x)
        np.testing.assert_array_equal(w.grad.numpy(), x.numpy() * 2)
        np.testing.assert_allclose(v.grad.numpy(), (before + x.numpy()) * 2, rtol=1e-6)


def test_a_gradient_that_is_dropped_first_needs_no_second_capture() -> None:
    w = tensor(3, requires_grad=True)

    @ndl.compile
    def step(x: ndl.Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()

    for i in range(3):
        step(tensor(3, seed=i))
        np.testing.assert_array_equal(w.grad.numpy(), tensor(3, seed=i).numpy())
    assert step.captures == 1

"""needle.compile: what is replayed equals what ran, whatever changes between the calls; what cannot be is refused."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

import needle as ndl
from needle.errors import ArgumentError, DeviceError, GraphError, NeedleError


def tensor(*shape: int, seed: int = 0, **options: Any) -> ndl.Tensor:
    return ndl.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), **options)


class Pair(NamedTuple):
    first: Any
    second: Any


# Functions of two (3, 4) tensors, each with the kinds of primitives that it is made of.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "one op": lambda x, y: x + y,
    "a chain": lambda x, y: ((x * 2 + y).tanh() - 0.5).relu().exp(),
    "a tree with a shared branch": lambda x, y: (x + y) * (x + y) - (x - y).abs(),
    "a reduction between": lambda x, y: (x - x.mean(1, keepdims=True)) * y.sum(0),
    "matrix products": lambda x, y: (x @ y.T).relu() @ x,
    "views": lambda x, y: ndl.concatenate([x[:, ::2], y[:, 1:3].flip(1)], 1).T * 3,
    "comparisons and choices": lambda x, y: ((x > y) & (x > 0)).where(x, y * 2),
    "integers": lambda x, y: (x * 10).astype("int32") // 3 + (y > 0).astype("int32"),
    "several results": lambda x, y: (x + 1, [y * 2, {"sum": (x * y).sum()}]),
    "a named tuple, a number and None": lambda x, y: Pair(x * y, (1, None, "text")),
    "an argument itself": lambda x, y: (x, y + 0),
    "a result twice": lambda x, y: (lambda z: (z, z))(x * y),
    "half types": lambda x, y: (x.astype("float16") * 3 + 1).astype("float32") - y,
    "double": lambda x, y: x.astype("float64").exp() + y.astype("float64"),
    "constants": lambda x, y: x * ndl.ones(3, 1) + ndl.arange(4, dtype="float32"),
    "writing in place": lambda x, y: _filled(x, y),
    "gathered": lambda x, y: x[ndl.tensor([2, 0])] + y[0],
    "softmax and its like": lambda x, y: (x.softmax(1), y.log_softmax(0), x.argmax(1), ndl.sort(y, 1)),
}


def _filled(x: ndl.Tensor, y: ndl.Tensor) -> ndl.Tensor:
    z = ndl.zeros(3, 4)
    z[:, 1:] = x[:, 1:] * 2
    z[0] = y[0]
    return z + 1


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree.numpy() if isinstance(tree, ndl.Tensor) else tree]


def same(found: Any, expected: Any) -> None:
    a, b = leaves(found), leaves(expected)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        if isinstance(y, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)
        else:
            assert x == y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_the_function(name: str) -> None:
    function = FUNCTIONS[name]
    compiled = ndl.compile(function)
    for seed in (1, 2, 3):
        x, y = tensor(3, 4, seed=seed), tensor(3, 4, seed=seed + 10)
        same(compiled(x, y), function(x, y))
    assert compiled.captures == 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_stay_when_the_function_is_called_again(name: str) -> None:
    compiled = ndl.compile(FUNCTIONS[name])
    first = (tensor(3, 4, seed=1), tensor(3, 4, seed=2))
    compiled(*first)
    kept = compiled(*first)
    before = leaves(kept)
    compiled(tensor(3, 4, seed=3), tensor(3, 4, seed=4))
    same(kept, [ndl.Tensor(x) if isinstance(x, np.ndarray) else x for x in before])


@pytest.mark.parametrize("disabled", [(), "fuse_elementwise", "dead_code", ("fold_constants", "forward_copies")])
def test_passes_can_be_switched_off(disabled: Any) -> None:
    function = FUNCTIONS["views"]
    compiled = ndl.compile(function, disable=disabled)
    for seed in (1, 2):
        same(compiled(tensor(3, 4, seed=seed), tensor(3, 4)), function(tensor(3, 4, seed=seed), tensor(3, 4)))


def train(steps: int, step: Callable[..., Any], *params: ndl.Tensor) -> list[float]:
    return [float(step(tensor(8, 3, seed=i), tensor(8, 1, seed=100 + i))) for i in range(steps)]


def parameters() -> tuple[ndl.Tensor, ndl.Tensor]:
    return tensor(3, 1, seed=7, requires_grad=True), ndl.zeros(1, requires_grad=True)


def by_data(w: ndl.Tensor, b: ndl.Tensor) -> Callable[..., Any]:
    def step(x: ndl.Tensor, y: ndl.Tensor) -> ndl.Tensor:
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        for p in (w, b):
            assert p.grad is not None
            p.data -= 0.1 * p.grad
            p.grad = None
        return loss

    return step


def by_adding_up(w: ndl.Tensor, b: ndl.Tensor) -> Callable[..., Any]:
    """Gradients are never dropped: they grow from call to call."""

    def step(x: ndl.Tensor, y: ndl.Tensor) -> ndl.Tensor:
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        return loss.detach() + w.grad.sum()  # type: ignore[union-attr]

    return step


def by_dropping_first(w: ndl.Tensor, b: ndl.Tensor) -> Callable[..., Any]:
    def step(x: ndl.Tensor, y: ndl.Tensor) -> ndl.Tensor:
        w.grad = b.grad = None
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with ndl.no_grad():
            w[...] = w - 0.1 * w.grad  # type: ignore[operator]
        return loss

    return step


@pytest.mark.parametrize("rule", [by_data, by_adding_up, by_dropping_first])
def test_training_steps_change_what_is_outside(rule: Callable[..., Any]) -> None:
    eager, replayed = parameters(), parameters()
    expected, found = train(6, rule(*eager)), train(6, ndl.compile(rule(*replayed)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for p, q in zip(replayed, eager, strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-6)
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None and q.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)


def test_gradients_of_arguments_arrive_at_the_arguments() -> None:
    @ndl.compile
    def f(x: ndl.Tensor) -> ndl.Tensor:
        y = (x * x).sum()
        y.backward()
        return y

    for seed in (1, 2, 3):
        x = tensor(4, seed=seed, requires_grad=True)
        f(x)
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy(), rtol=1e-6)


def test_random_numbers_go_on() -> None:
    def noisy(x: ndl.Tensor) -> ndl.Tensor:
        return x + ndl.rand(4) * ndl.randn(4)

    ndl.manual_seed(5)
    expected = [noisy(ndl.zeros(4)).numpy() for _ in range(4)]
    compiled = ndl.compile(noisy)
    ndl.manual_seed(5)
    found = [compiled(ndl.zeros(4)).numpy() for _ in range(4)]
    np.testing.assert_array_equal(found, expected)


def test_a_parameter_replaced_between_calls_is_noticed() -> None:
    w = tensor(3, seed=1)
    f = ndl.compile(lambda x: x * w)
    x = tensor(3, seed=2)
    f(x)
    w.data = tensor(3, seed=3)
    np.testing.assert_array_equal(f(x).numpy(), x.numpy() * tensor(3, seed=3).numpy())
    assert f.captures == 1  # only bound anew
    w.data = tensor(1, seed=4)
    np.testing.assert_array_equal(f(x).numpy(), x.numpy() * tensor(1, seed=4).numpy())
    assert f.captures == 2


def test_a_parameter_changed_in_place_is_seen() -> None:
    w = tensor(3, seed=1)
    f = ndl.compile(lambda x: x * w)
    f(tensor(3))
    w[0] = 100.0
    np.testing.assert_array_equal(f(tensor(3)).numpy(), tensor(3).numpy() * w.numpy())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((tensor(3),), (tensor(4),)),
        ((tensor(3),), (tensor(3).astype("float64"),)),
        ((tensor(3), 1), (tensor(3), 2)),
        ((tensor(3), 1), (tensor(3), 1.0)),
        ((tensor(3), "a"), (tensor(3), "b")),
        ((tensor(3), [1, 2]), (tensor(3), (1, 2))),
        ((tensor(3),), (tensor(3, requires_grad=True),)),
    ],
)
def test_other_arguments_are_captured_anew(first: Any, second: Any) -> None:
    with ndl.no_grad():
        f = ndl.compile(lambda x, *more: (x * 2, more))
        for _ in range(2):
            same(f(*first), (first[0] * 2, first[1:]))
            same(f(*second), (second[0] * 2, second[1:]))
    assert f.captures == 2


def test_views_and_shared_memory_among_arguments() -> None:
    f = ndl.compile(lambda x, y: x - 2 * y)
    base = tensor(6, 4)
    for x, y in ((base[1:3], base[3:5]), (base[0:2], base[4:6]), (base[::3], base[1:3]), (base[:2], base[:2])):
        np.testing.assert_array_equal(f(x, y).numpy(), x.numpy() - 2 * y.numpy())


def test_gradients_on_and_off_are_two_programs() -> None:
    w = tensor(3, requires_grad=True)
    f = ndl.compile(lambda x: x * w)
    with ndl.no_grad():
        f(tensor(3))
    with pytest.raises(GraphError, match=r"compile: a result of shape \(3,\) could still be differentiated"):
        f(tensor(3))


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda x: x * 2 if (x.sum() > 0) else x, "asked for"),
        (lambda x: x * float(x.sum()), "asked for"),
        (lambda x: x * x.sum().item(), "asked for"),
        (lambda x: ndl.Tensor(x.numpy() * 2), "asked for"),
        (lambda x: ndl.Tensor(np.asarray(x.array)), "asked for"),
    ],
)
def test_data_that_python_asks_for_is_refused_with_its_line(function: Callable[..., Any], told: str) -> None:
    with pytest.raises(GraphError, match=rf"compile: .*{told} at .*test_compile.py:\d+"):
        ndl.compile(function)(tensor(3))


def test_a_refused_function_leaves_nothing_behind() -> None:
    def f(x: ndl.Tensor, bad: bool) -> ndl.Tensor:
        return x * x.sum().item() if bad else x * 2

    compiled = ndl.compile(f)
    with pytest.raises(GraphError):
        compiled(tensor(3), True)
    same(compiled(tensor(3), False), tensor(3) * 2)
    assert float(tensor(3).sum()) == pytest.approx(float(tensor(3).numpy().sum()))


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: ndl.compile(lambda x: x)(np.ones(3)), ArgumentError, "was given a ndarray"),
        (lambda: ndl.compile(lambda x: x, compiler="no"), ArgumentError, "no compiler 'no'; .*pip install needle-no"),
        (lambda: ndl.compile(lambda x: x, depth=3), ArgumentError, "no option 'depth'; needle takes none"),
        (lambda: ndl.compile(Pair), ArgumentError, r"not the class Pair; make one first: Pair\(...\)$"),
        (lambda: ndl.compile(3), ArgumentError, "takes a function, not int"),
        (lambda: ndl.compile(lambda x: x, device="nowhere"), DeviceError, "no device 'nowhere'"),
        (lambda: ndl.compile(lambda x: x + 1, disable="magic"), NeedleError, "no pass 'magic'"),
        (lambda: ndl.compile(lambda x: x, disable=3), ArgumentError, "disable takes names of passes, not 3"),
        (lambda: ndl.compile(lambda x: x, limit="2"), ArgumentError, "limit is '2'; at least one"),
    ],
)
def test_errors(call: Callable[[], Any], error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        call()


def test_the_number_of_programs_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    f = ndl.compile(lambda x, k: x * k, limit=3)
    with caplog.at_level(logging.WARNING, "needle.compile"):
        for k in range(5):
            same(f(tensor(2), k), tensor(2) * k)
    assert len(f.graphs()) == 3
    assert caplog.text.count("more than 3 programs") == 1  # said once, though two had to go


def test_what_was_used_last_is_kept() -> None:
    f = ndl.compile(lambda x, k: x * k, limit=2)
    for k in (1, 2, 1, 3, 1):
        same(f(tensor(2), k), tensor(2) * k)
    assert f.captures == 3


def test_it_tells_when_and_why(caplog: pytest.LogCaptureFixture) -> None:
    f = ndl.compile(lambda x: x * 2 + 1)
    assert "not yet captured" in f.explain()
    with caplog.at_level(logging.INFO, "needle.compile"):
        f(tensor(2))
        f(tensor(3))
    first, second = (record.getMessage() for record in caplog.records)
    assert "first call" in first
    assert "2 kernels became" in first
    assert "argument 0 is ((3,), 'float32'" in second
    assert "fuse_elementwise" in f.explain()
    assert "planned" in f.explain()


def test_as_a_method_and_a_decorator() -> None:
    class Scale:
        def __init__(self, k: float) -> None:
            self.k = ndl.tensor(k)

        @ndl.compile(limit=4)
        def apply(self, x: ndl.Tensor) -> ndl.Tensor:
            return x * self.k

    for k in (2.0, 3.0):
        same(Scale(k).apply(tensor(3)), tensor(3) * k)


def test_errors_of_the_function_pass() -> None:
    with pytest.raises(ZeroDivisionError):
        ndl.compile(lambda x: 1 / 0)(tensor(2))


def test_what_comes_back_is_what_it_was() -> None:
    w = tensor(3)
    f = ndl.compile(lambda x: (x, w, x.array * 2, x * 2))
    for _ in range(2):
        x = tensor(3)
        same_x, same_w, array, doubled = f(x)
        assert same_x is x
        assert same_w is w
        assert type(array) is type(x.array)
        assert type(doubled) is ndl.Tensor


def test_one_inside_another() -> None:
    inner = ndl.compile(lambda x: (x * 2 + 1).exp())
    outer = ndl.compile(lambda x: inner(x).sum() + inner(x * 0).sum())
    inner(tensor(3))
    for seed in (1, 2):
        x = tensor(3, seed=seed).numpy().astype(np.float64)
        expected = np.exp(2 * x + 1).sum() + 3 * np.e
        assert float(outer(tensor(3, seed=seed))) == pytest.approx(expected, rel=1e-5)


def test_two_threads_share_a_function() -> None:
    f = ndl.compile(lambda x: ((x @ x.T).relu() @ x).sum(0))
    inputs = [tensor(40, 40, seed=i) for i in range(8)]
    expected = [f(x).numpy() for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, right in zip(pool.map(lambda x: f(x).numpy(), inputs), expected, strict=True):
                np.testing.assert_array_equal(found, right)
    assert f.captures == 1


def test_attributes_of_the_function() -> None:
    def f(x: ndl.Tensor) -> ndl.Tensor:
        """Doubles."""
        return x * 2

    f.note = "kept"  # type: ignore[attr-defined]
    compiled = ndl.compile(f)
    assert (compiled.__doc__, compiled.__name__, compiled.note) == ("Doubles.", "f", "kept")
    with pytest.raises(AttributeError):
        _ = compiled.nothing


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("device", ["numpy", *({d.backend for d in ndl.devices()} & {"cpu"})])
def test_fused_steps_round_to_halves(dtype: str, device: str) -> None:
    x = ndl.randn(7, 7, device=device).astype(dtype)
    compiled = ndl.compile(lambda x: ((x.astype("float32") * 1.1).astype(dtype) * 3 + x).astype("float32") - 0.3)
    expected = compiled.function(x).numpy()
    for _ in range(2):
        np.testing.assert_array_equal(compiled(x).numpy(), expected)


def test_the_text_of_a_graph_names_the_activation_of_a_product() -> None:
    compiled = ndl.compile(lambda x, w, b: ndl.linear(x, w, b).relu())
    compiled(*(ndl.ones(*shape, device="numpy") for shape in ((2, 3), (3, 4), (1, 4))))
    assert "relu" in str(compiled.graphs()[0])

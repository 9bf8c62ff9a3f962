"""needle.compile and what a function reads around it: closures, globals, objects, and what changes in them."""

import collections
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl

setting = 1.0
helper_setting = 1.0


def tensor(*shape: int, seed: int = 0, **options: Any) -> ndl.Tensor:
    return ndl.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), **options)


def helper(x: ndl.Tensor) -> ndl.Tensor:
    return x * helper_setting


class Config:
    def __init__(self, k: float) -> None:
        self.k = k
        self.unread = 0

    @property
    def doubled(self) -> float:
        return self.k * 2


class Scale:
    def __init__(self) -> None:
        self.config, self.parts = Config(1.0), [Config(1.0)]

    def __call__(self, x: ndl.Tensor) -> ndl.Tensor:
        return self.scaled(x) * self.parts[0].k

    def scaled(self, x: ndl.Tensor) -> ndl.Tensor:
        return x * self.config.doubled


def in_a_global() -> tuple[Callable[..., Any], Callable[[], None]]:
    def change() -> None:
        global setting
        setting += 1

    return lambda x: x * setting, change


def in_a_global_of_a_helper() -> tuple[Callable[..., Any], Callable[[], None]]:
    def change() -> None:
        global helper_setting
        helper_setting += 1

    return lambda x: helper(x) + 1, change


def in_a_class() -> tuple[Callable[..., Any], Callable[[], None]]:
    class Settings:
        k = 1.0

    return lambda x: x * Settings.k, lambda: setattr(Settings, "k", Settings.k + 1)


def in_the_class_of_an_object() -> tuple[Callable[..., Any], Callable[[], None]]:
    class Settings:
        k = 1.0

    settings = Settings()
    return lambda x: x * settings.k, lambda: setattr(Settings, "k", Settings.k + 1)


def in_a_slot() -> tuple[Callable[..., Any], Callable[[], None]]:
    class Settings:
        __slots__ = ("k",)

    settings = Settings()
    settings.k = 1.0
    return lambda x: x * settings.k, lambda: setattr(settings, "k", settings.k + 1)


def in_an_attribute_named_by_text() -> tuple[Callable[..., Any], Callable[[], None]]:
    config = Config(1.0)
    return lambda x: x * getattr(config, "k"), lambda: setattr(config, "k", config.k + 1)  # noqa: B009


def in_a_deque() -> tuple[Callable[..., Any], Callable[[], None]]:
    settings = collections.deque([1.0])
    return lambda x: x * settings[0], lambda: settings.__setitem__(0, settings[0] + 1)


def in_a_numpy_array() -> tuple[Callable[..., Any], Callable[[], None]]:
    offsets = np.ones(3, np.float32)
    return lambda x: x + ndl.tensor(offsets), lambda: offsets.__iadd__(1)


def in_a_closure() -> tuple[Callable[..., Any], Callable[[], None]]:
    k = 1.0

    def change() -> None:
        nonlocal k
        k += 1

    return lambda x: x * k, change


def in_a_dict() -> tuple[Callable[..., Any], Callable[[], None]]:
    settings = {"k": [1.0]}
    return lambda x: x * settings["k"][0], lambda: settings["k"].__setitem__(0, settings["k"][0] + 1)


def in_a_list_of_tensors() -> tuple[Callable[..., Any], Callable[[], None]]:
    weights = [tensor(3)]
    return lambda x: sum((x * w for w in weights), x), lambda: weights.append(tensor(3, seed=len(weights)))


def in_an_attribute() -> tuple[Callable[..., Any], Callable[[], None]]:
    config = Config(1.0)
    return lambda x: x * config.k, lambda: setattr(config, "k", config.k + 1)


def in_an_object_that_is_called() -> tuple[Callable[..., Any], Callable[[], None]]:
    scale = Scale()
    return scale, lambda: setattr(scale.config, "k", scale.config.k + 1)


def in_a_part_of_an_object() -> tuple[Callable[..., Any], Callable[[], None]]:
    scale = Scale()
    return scale, lambda: setattr(scale.parts[0], "k", scale.parts[0].k + 1)


def in_a_rebound_tensor() -> tuple[Callable[..., Any], Callable[[], None]]:
    w = tensor(3)

    def change() -> None:
        nonlocal w
        w = tensor(3, seed=1)

    return lambda x: x * w, change


def in_another_compiled_function() -> tuple[Callable[..., Any], Callable[[], None]]:
    settings = [1.0]
    inner = ndl.compile(lambda x: x * settings[0])
    return lambda x: inner(x) + 1, lambda: settings.__setitem__(0, 5.0)


CHANGES = [value for name, value in list(globals().items()) if name.startswith("in_")]


@pytest.mark.parametrize("make", CHANGES)
def test_what_python_changes_between_the_calls_is_seen(make: Callable[..., Any]) -> None:
    function, change = make()
    compiled, x = ndl.compile(function), tensor(3, seed=5)
    for _ in range(3):
        for _ in range(2):
            np.testing.assert_allclose(compiled(x).numpy(), function(x).numpy(), rtol=1e-6)
        change()
    assert 2 <= compiled.captures <= 3  # not at each call


def test_what_is_not_read_does_not_matter() -> None:
    config = Config(2.0)
    compiled = ndl.compile(lambda x: x * config.k)
    for i in range(3):
        compiled(tensor(3))
        config.unread = i
    assert compiled.captures == 1


def test_long_chains_of_objects_and_much_data_do_no_harm() -> None:
    first = Config(2.0)
    last: Any = first
    for _ in range(3000):
        last.k = Config(last.k)
        last = last.k
    rows = [[float(i)] * 50 for i in range(900)]
    compiled = ndl.compile(lambda x: x * 2 if first.k else x * rows[0][0])
    for _ in range(2):
        np.testing.assert_array_equal(compiled(ndl.ones(2)).numpy(), 2)
    assert compiled.captures == 1


def test_an_argument_that_is_an_object_is_seen_to_change() -> None:
    config, x = Config(2.0), tensor(3)
    compiled = ndl.compile(lambda x, c: x * c.k)
    for k in (2.0, 2.0, 7.0):
        config.k = k
        np.testing.assert_allclose(compiled(x, config).numpy(), x.numpy() * k)
    assert compiled.captures == 2


def appending(seen: list[Any]) -> Callable[..., Any]:
    def f(x: ndl.Tensor) -> ndl.Tensor:
        seen.append(1)
        return x * len(seen)

    return f


def counting(seen: list[Any]) -> Callable[..., Any]:
    config = Config(0.0)

    def f(x: ndl.Tensor) -> ndl.Tensor:
        config.k += 1
        return x * config.k

    return f


@pytest.mark.parametrize("make", [appending, counting])
def test_a_function_that_changes_what_it_reads_is_not_replayed(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    compiled = ndl.compile(make([]))
    x = tensor(3)
    for k in (1, 2, 3):
        np.testing.assert_allclose(compiled(x).numpy(), x.numpy() * k, rtol=1e-6)
    assert caplog.text.count("runs without replay") == 1


OWN = np.random.default_rng(1), np.random.RandomState(1), random.Random(1)


@pytest.mark.parametrize(
    "draw",
    [lambda: np.random.rand(), random.random, *(lambda g=g: g.random() for g in OWN), *(g.random for g in OWN)],
)
def test_random_numbers_of_others_are_drawn_each_time(draw: Callable[[], float]) -> None:
    compiled = ndl.compile(lambda x: x + draw())
    assert float(compiled(ndl.zeros(1))[0]) != float(compiled(ndl.zeros(1))[0])


def test_a_generator_that_is_not_drawn_from_does_no_harm() -> None:
    compiled = ndl.compile(lambda x: x + (0 if OWN else 1))
    for _ in range(2):
        np.testing.assert_array_equal(compiled(ndl.zeros(1)).numpy(), 0)
    assert compiled.captures == 1


@pytest.mark.parametrize("iterator", [iter, enumerate, lambda x: (i for i in x)])
def test_an_iterator_goes_on(iterator: Callable[[Any], Any], caplog: pytest.LogCaptureFixture) -> None:
    batches, x = iterator(range(3)), ndl.zeros(1)
    compiled = ndl.compile(lambda x: x + np.sum(next(batches)))
    assert [float(compiled(x)) for _ in range(3)] == [float(np.sum(batch)) for batch in iterator(range(3))]
    assert "batches is an iterator, from which no replay draws" in caplog.text


def test_a_cache_that_is_filled_once_does_no_harm() -> None:
    cache: dict[int, ndl.Tensor] = {}

    def f(x: ndl.Tensor) -> ndl.Tensor:
        if x.shape[0] not in cache:
            cache[x.shape[0]] = ndl.arange(x.shape[0], dtype="float32")
        return x + cache[x.shape[0]]

    compiled = ndl.compile(f)
    for i in range(4):
        x = tensor(3, seed=i)
        np.testing.assert_allclose(compiled(x).numpy(), x.numpy() + np.arange(3), rtol=1e-6)
    assert compiled.captures == 2


def test_attributes_are_set_on_the_function() -> None:
    scale = Scale()
    compiled = ndl.compile(scale)
    compiled.config = Config(4.0)
    assert scale.config.k == 4


class Recurrent:
    """A running mean of what it was given, kept in an attribute."""

    def __init__(self) -> None:
        self.state = (ndl.zeros(3), [ndl.zeros(3)])

    def __call__(self, x: ndl.Tensor) -> ndl.Tensor:
        mean = self.state[0] * 0.5 + x
        self.state = (mean, [self.state[1][0] + 1])
        return mean * self.state[1][0]


def test_tensors_that_an_attribute_is_given_anew() -> None:
    eager, other = Recurrent(), Recurrent()
    compiled = ndl.compile(other)
    for i in range(8):
        if i == 5:
            eager.state, other.state = ((ndl.ones(3), [ndl.ones(3) * 7]) for _ in range(2))
        x = tensor(3, seed=i)
        np.testing.assert_array_equal(compiled(x).numpy(), eager(x).numpy())
        np.testing.assert_array_equal(other.state[0].numpy(), eager.state[0].numpy())
        np.testing.assert_array_equal(other.state[1][0].numpy(), eager.state[1][0].numpy())
    assert compiled.captures == 1
    kept = other.state[0].numpy().copy()
    before = other.state[0]
    compiled(tensor(3))
    np.testing.assert_array_equal(before.numpy(), kept)
    other.state = (ndl.ones(1, 3), [ndl.ones(3)])
    assert compiled(tensor(3)).shape == (1, 3)
    assert compiled.captures == 2


class InDict:
    state: Any


class InSlots:
    __slots__ = ("state",)


@pytest.mark.parametrize("kind", ["object", "slots", "class"])
def test_state_that_a_function_replaces_is_replaced_by_each_replay(kind: str) -> None:
    place: Any = {"object": InDict(), "slots": InSlots(), "class": InDict}[kind]
    place.state = [ndl.zeros(2)]

    def total(x: ndl.Tensor) -> ndl.Tensor:
        place.state = [place.state[0] + x]
        return place.state[0] * 2

    compiled = ndl.compile(total)
    for i in range(1, 5):
        assert compiled(ndl.ones(2)).tolist() == [2 * i, 2 * i]
        assert place.state[0].tolist() == [i, i]
    assert compiled.captures == 1


@pytest.mark.parametrize("reset", [False, True])
def test_a_generator_that_starts_anew_does_so_in_each_call(reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    kept = ndl.Generator(5)

    def f(x: ndl.Tensor) -> ndl.Tensor:
        if reset:
            kept.set_state({"seed": 5, "offset": 0})
        return x + ndl.rand(3, generator=kept if reset else ndl.Generator(5))

    compiled, expected = ndl.compile(f), f(ndl.zeros(3)).numpy()
    for _ in range(3):
        np.testing.assert_array_equal(compiled(ndl.zeros(3)).numpy(), expected)
    assert caplog.text.count("runs without replay: it") == 1

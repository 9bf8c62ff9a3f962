"""Random functions, eager and compiled, call after call: results and what they change outside are equal bit for bit."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compile_vocabulary import WORDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import needle as ndl

DEVICES = [name for name in ("numpy", "cpu") if name in {d.backend for d in ndl.devices()}]
SHAPES = [(), (1,), (4,), (3, 4), (1, 4), (3, 1), (2, 3, 4), (0, 4), (40, 33), (6, 700)]
UNARY = ("relu", "tanh", "exp", "abs", "square", "negative", "sigmoid", "sign", "floor", "sqrt", "erf", "isnan")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "divide")
COMPARE = ("less", "equal", "greater_equal")
WEIGHTS = [(3, 4), ()]
CALLS = 4
LARGEST = 30000  # elements
Draw = Callable[[st.SearchStrategy[Any]], Any]
Step = tuple[Any, ...]


def fit(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    with contextlib.suppress(ValueError):
        return int(np.prod(np.broadcast_shapes(a, b))) <= LARGEST
    return False


class Function:
    """Steps over numbered values: the arguments, the states, the weights, then the result of each step."""

    def __init__(self, shapes: list[tuple[int, ...]], states: list[tuple[int, ...]]) -> None:
        self.shapes, self.states = shapes, states
        self.steps: list[Step] = []
        self.results: list[int] = []
        self.trains = False

    def __call__(self, *tensors: ndl.Tensor, weights: list[ndl.Tensor]) -> Any:
        values: list[Any] = [*tensors, *weights]
        for name, *arguments in self.steps:
            values.append(RUN[name](values, *arguments))
        if self.trains:
            loss = sum(((w * w).sum() for w in weights), sum(x.mean() for x in self.tracked(values)))
            for w, g in zip(weights, ndl.grad(loss, weights, allow_unused=True), strict=True):
                if g is not None:
                    with ndl.no_grad():
                        w[...] = w - 0.1 * g
        return {"results": [values[i].detach() for i in self.results], "count": len(values)}

    def tracked(self, values: list[Any]) -> list[Any]:
        """The last values that depend on the weights."""
        return [x for x in reversed(values) if x.dtype == "float32" and x.size and x.requires_grad][:4]

    def __repr__(self) -> str:
        first = len(self.shapes) + len(self.states) + len(WEIGHTS)
        lines = [f"v{i + first} = {name}{tuple(args)}" for i, (name, *args) in enumerate(self.steps)]
        return "\n".join([f"arguments {self.shapes}, states {self.states}", *lines, f"results {self.results}"])


def assigned(values: list[Any], i: int, j: int, part: Any) -> Any:
    """A part of a value is overwritten, in place."""
    values[i][part] = values[j][part]
    return values[i]


def filled(values: list[Any], i: int, part: Any) -> Any:
    """A new array, made of two writes."""
    z = ndl.zeros(*values[i].shape, device=values[i].device, dtype=values[i].dtype)
    z[part] = values[i][part] * 2
    return z + values[i]


RUN: dict[str, Callable[..., Any]] = {
    "unary": lambda v, f, i: getattr(ndl, f)(v[i]),
    "binary": lambda v, f, i, j: getattr(ndl, f)(v[i], v[j]),
    "scalar": lambda v, f, i, number, swapped: getattr(ndl, f)(*((number, v[i]) if swapped else (v[i], number))),
    "where": lambda v, f, i, j, k: ndl.where(getattr(ndl, f)(v[i], v[j]), v[k], v[i]),
    "reduce": lambda v, f, i, axes, keep: getattr(ndl, f)(v[i], axes, keepdims=keep),
    "flat": lambda v, i: v[i].reshape(v[i].size),
    "permute": lambda v, i, axes: v[i].permute(axes),
    "part": lambda v, i, part: v[i][part],
    "flip": lambda v, i, axis: ndl.flip(v[i], (axis,)),
    "joined": lambda v, i, axis: ndl.concatenate([v[i], v[i]], axis),
    "matmul": lambda v, i: v[i] @ v[i].mT,
    "rows": lambda v, f, i: getattr(ndl, f)(v[i], -1),
    "cast": lambda v, i, dtype: v[i].astype(dtype),
    "assigned": assigned,
    "filled": filled,
    "random": lambda v, i: v[i] + ndl.rand(*v[i].shape, device=v[i].device),
    "copied": lambda v, i: v[i].contiguous() + 0,
    "word": lambda v, name, i: WORDS[name][1](v[i]),
}
KINDS = [*RUN, *["word"] * 12]  # of which there are many


class Draft:
    """A function that grows; each step runs at once on small numbers, which tells what it gives."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
        states = draw(st.lists(st.sampled_from(SHAPES), max_size=2))
        self.function = Function(shapes, states)
        self.values: list[Any] = [ndl.zeros(*shape, device="numpy") for shape in [*shapes, *states, *WEIGHTS]]

    def pick(self, test: Callable[[Any], bool] = lambda x: True) -> int | None:
        found = [i for i, x in enumerate(self.values) if test(x)][::-1]
        return self.draw(st.sampled_from(found)) if found else None

    def floats(self) -> int | None:
        return self.pick(lambda x: x.dtype == "float32")

    def other(self, i: int) -> int | None:
        x = self.values[i]
        return self.pick(lambda y: y.dtype == x.dtype and fit(x.shape, y.shape))

    def part(self, shape: tuple[int, ...]) -> Any:
        choices = (slice(None), slice(1, None), slice(None, -1), slice(None, None, 2), slice(None, None, -1))
        return tuple(self.draw(st.sampled_from(choices)) for _ in shape)

    def add(self, *step: Any) -> None:
        self.values.append(RUN[step[0]](self.values, *step[1:]))
        self.function.steps.append(step)

    def grow(self) -> None:
        kind, i = self.draw(st.sampled_from(KINDS)), self.floats()
        if i is None:
            return
        x = self.values[i]
        rank, draw = x.ndim, self.draw
        j = self.other(i)
        if kind == "unary":
            self.add(kind, draw(st.sampled_from(UNARY)), i)
        elif kind == "binary":
            self.add(kind, draw(st.sampled_from(BINARY)), i, j)
        elif kind == "scalar":
            self.add(kind, draw(st.sampled_from(BINARY)), i, draw(st.integers(-4, 4)) / 2, draw(st.booleans()))
        elif kind == "where":
            self.add(kind, draw(st.sampled_from(COMPARE)), i, j, i)
        elif kind == "reduce":
            axes = tuple(sorted(draw(st.sets(st.integers(0, rank - 1), min_size=1)))) if rank else None
            self.add(
                kind,
                draw(st.sampled_from(("sum", "mean", "max") if x.size else ("sum",))),
                i,
                axes,
                draw(st.booleans()),
            )
        elif kind == "permute":
            self.add(kind, i, tuple(draw(st.permutations(range(rank)))))
        elif kind in ("part", "filled"):
            self.add(kind, i, self.part(x.shape))
        elif kind in ("flip", "joined") and rank and x.size < LARGEST // 2:
            self.add(kind, i, draw(st.integers(0, rank - 1)))
        elif kind == "matmul" and rank >= 2 and x.shape[-2] < 50:
            self.add(kind, i)
        elif kind == "rows" and rank and x.size:
            self.add(kind, draw(st.sampled_from(("softmax", "log_softmax", "cumsum"))), i)
        elif kind == "cast":
            self.add(kind, i, draw(st.sampled_from(("float32", "float16", "bool"))))
            self.add("cast", len(self.values) - 1, "float32")
        elif kind == "assigned":
            first = len(self.function.shapes)
            state = [s for s in range(first, first + len(self.function.states)) if self.values[s].shape == x.shape]
            if state:
                self.add(kind, draw(st.sampled_from(state)), i, self.part(x.shape))
        elif kind in ("flat", "random", "copied"):
            self.add(kind, i)
        elif kind == "word":
            self.add(kind, draw(st.sampled_from([name for name, (takes, _) in WORDS.items() if takes(x.shape)])), i)


@st.composite
def functions(draw: Draw) -> Function:
    draft = Draft(draw)
    for _ in range(draw(st.integers(2, 14))):
        draft.grow()
    function = draft.function
    every = range(len(draft.values))
    function.results = [*draw(st.lists(st.sampled_from(every), min_size=1, max_size=4)), len(draft.values) - 1]
    function.trains = draw(st.booleans())
    return function


def history(function: Function, device: str, compiled: bool) -> list[np.ndarray]:
    """Results of some calls with arguments of their own, and the states and weights after each."""
    rng = np.random.default_rng(7)

    def normal(shape: tuple[int, ...]) -> ndl.Tensor:
        return ndl.tensor(np.asarray(rng.standard_normal(shape), np.float32), device=device)

    states = [normal(shape) for shape in function.states]
    weights = [normal(shape).requires_grad_() for shape in WEIGHTS]
    call = ndl.compile(lambda *x: function(*x, *states, weights=weights))
    eager = lambda *x: function(*x, *states, weights=weights)  # noqa: E731
    ndl.manual_seed(3)
    seen = []
    for _ in range(CALLS):
        answer = (call if compiled else eager)(*[normal(shape) for shape in function.shapes])
        seen += [x.numpy().copy() for x in [*answer["results"], *states, *weights]]
    if compiled:
        assert call.captures == 1
    return seen


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(function=functions())
def test_compiled_equals_eager(device: str, function: Function) -> None:
    with np.errstate(all="ignore"):
        expected, found = history(function, device, False), history(function, device, True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)

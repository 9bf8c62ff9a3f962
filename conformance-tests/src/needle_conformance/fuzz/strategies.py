"""Draws random programs with hypothesis, which also makes a failing one smaller."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from needle.device import Device
from needle.registry import BUILT_IN
from needle.shape import Shape
from needle.testing import LAYOUTS
from needle_conformance.fuzz.program import Leaf, Program

Draw = Callable[[st.SearchStrategy[Any]], Any]

_SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple) | st.just((0, 3)) | st.just((33,)) | st.just((8, 17))
_SMOOTH = ("tanh", "sigmoid", "sin", "cos", "erf", "softplus", "negative", "square")
_KINKED = ("relu", "abs")
_GROWING = ("exp", "expm1")  # of values that were made small
_PAIRS = ("+", "-", "*")
_INT_PAIRS = ("+", "-", "*", "&", "|", "^")


def _values(shape: Shape, is_int: bool, seed: int) -> Any:
    """Quarters, or ints, of which float32 holds sums and products exactly for some time; ones for the seed 0."""
    if seed == 0:
        return np.ones(shape, np.int32 if is_int else np.float32)
    drawn = np.random.default_rng(seed).integers(-12, 13, shape)
    return drawn.astype(np.int32) if is_int else (drawn / 4).astype(np.float32)


class _Draft:
    """A program that grows; each statement is run on the reference at once, which tells its shape and dtype."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.program = Program([])
        self.shapes: dict[str, tuple[Shape, str]] = {}

    def leaf(self) -> None:
        shape, is_int = self.draw(_SHAPES), self.draw(st.integers(0, 3)) == 3
        values = _values(shape, is_int, self.draw(st.integers(0, 1000)))
        layout = self.draw(st.sampled_from(LAYOUTS))
        if layout == "broadcast" and shape:
            values = np.array(np.broadcast_to(values[:1], shape))
        name = f"x{len(self.program.leaves)}"
        self.program.leaves.append(Leaf(values, layout, "int32" if is_int else "float32"))
        self.shapes[name] = shape, "int32" if is_int else "float32"

    def name(self, test: Callable[[Shape, str], bool] = lambda shape, dtype: True) -> str | None:
        """One of the values so far that pass a test, a late one rather than an early one."""
        fitting = [name for name, (shape, dtype) in self.shapes.items() if test(shape, dtype)][::-1]
        return self.draw(st.sampled_from(fitting)) if fitting else None

    def add(self, statement: str, kinked: bool = False) -> None:
        self.program.statements.append(statement)
        result = Program(self.program.leaves, self.program.statements, smooth=False).run(Device(BUILT_IN))[0]
        self.shapes[f"v{len(self.program.statements) - 1}"] = result.shape, str(result.dtype)
        self.program.smooth = self.program.smooth and not kinked


def _unary(d: _Draft) -> None:
    x = d.name(lambda shape, dtype: dtype == "float32")
    f = d.draw(st.sampled_from((*_SMOOTH, *_KINKED, *_GROWING)))
    if x:
        d.add(f"ndl.{f}({x}.tanh())" if f in _GROWING else f"ndl.{f}({x})", f in _KINKED)


def _binary(d: _Draft) -> None:
    a = d.name(lambda shape, dtype: dtype != "bool")
    if a is None:
        return
    of, kind = d.shapes[a]
    b = d.name(lambda shape, dtype: dtype == kind and _fit(of, shape))
    if kind == "int32":
        d.add(f"{a} {d.draw(st.sampled_from(_INT_PAIRS))} {b}")
        return
    form = d.draw(st.sampled_from((*_PAIRS, "/", "maximum", "minimum", "where")))
    if form in _PAIRS:
        d.add(f"{a} {form} {b}")
    elif form == "/":
        d.add(f"{a} / ({b} * {b} + 1)")
    elif form == "where":
        d.add(f"ndl.where({a} > {b}, {a}, {b})", kinked=True)
    else:
        d.add(f"ndl.{form}({a}, {b})", kinked=True)


def _fit(a: Shape, b: Shape) -> bool:
    try:
        return math.prod(np.broadcast_shapes(a, b)) <= 4000
    except ValueError:
        return False


def _scalar(d: _Draft) -> None:
    x = d.name(lambda shape, dtype: dtype != "bool")
    number = d.draw(st.integers(-3, 3))
    if x:
        form = d.draw(st.sampled_from(("{x} * {n}", "{n} - {x}", "{x} + {n}")))
        d.add(form.format(x=x, n=number if d.shapes[x][1] == "int32" else number / 2))


def _reduction(d: _Draft) -> None:
    x = d.name(lambda shape, dtype: dtype != "bool")
    if x is None:
        return
    shape, dtype = d.shapes[x]
    axes = tuple(sorted(d.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))) if shape else None
    names = ("sum", "mean", "max", "min", "logsumexp") if dtype == "float32" and 0 not in shape else ("sum",)
    f = d.draw(st.sampled_from(names))
    d.add(f"ndl.{f}({x}, {axes}, {d.draw(st.booleans())})", f in ("max", "min"))


def _rows(d: _Draft) -> None:
    x = d.name(lambda shape, dtype: dtype == "float32" and bool(shape) and 0 not in shape)
    if x:
        axis = d.draw(st.integers(-len(d.shapes[x][0]), -1))
        d.add(f"ndl.{d.draw(st.sampled_from(('softmax', 'log_softmax', 'cumsum')))}({x}, {axis})")


def _movement(d: _Draft) -> None:
    x = d.name()
    if x is None:
        return
    shape = d.shapes[x][0]
    rank = len(shape)
    form = d.draw(st.sampled_from(("reshape", "permute", "slice", "flip", "expand", "concatenate")))
    if form == "reshape" or not rank:
        d.add(f"{x}.reshape({int(np.prod(shape))})")
    elif form == "permute":
        d.add(f"{x}.permute({d.draw(st.permutations(range(rank)))})")
    elif form == "slice":
        d.add(f"{x}[{', '.join(_slice(d) for _ in shape)}]")
    elif form == "flip":
        d.add(f"ndl.flip({x}, ({d.draw(st.integers(0, rank - 1))},))")
    elif form == "expand" and rank < 4:
        d.add(f"{x}.reshape({(1, *shape)}).broadcast_to({(2, *shape)})")
    elif rank:
        axis = d.draw(st.integers(0, rank - 1))
        d.add(f"ndl.concatenate([{x}, {x}], {axis})")


def _slice(d: _Draft) -> str:
    step: str = d.draw(st.sampled_from((":", "1:", ":-1", "::2", "::-1", "-1:", "1::2")))
    return step


def _matmul(d: _Draft) -> None:
    a = d.name(lambda shape, dtype: dtype == "float32" and len(shape) >= 2)
    if a is None:
        return
    n, *batch = d.shapes[a][0][-1], *d.shapes[a][0][:-2]
    b = d.name(lambda shape, dtype: dtype == "float32" and len(shape) >= 2 and shape[-2] == n and _fits(batch, shape))
    d.add(f"{a} @ {b}" if b else f"{a} @ {a}.mT")


def _fits(batch: list[int], shape: Shape) -> bool:
    return _fit(tuple(batch), shape[:-2])


def _cast(d: _Draft) -> None:
    x = d.name(lambda shape, dtype: dtype == "int32")
    if x:
        d.add(f"({x} % 7).astype('float32')")


_STEPS = (_unary, _binary, _scalar, _movement, _reduction, _rows, _matmul, _cast)


@st.composite
def programs(draw: Draw, most: int = 8) -> Program:
    """Programs of up to `most` statements."""
    draft = _Draft(draw)
    for _ in range(draw(st.integers(1, 3))):
        draft.leaf()
    for _ in range(draw(st.integers(1, most))):
        draw(st.sampled_from(_STEPS))(draft)
    if not draft.program.statements:
        draft.add("x0 + x0")
    return draft.program.pruned()

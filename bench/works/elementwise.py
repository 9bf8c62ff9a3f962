"""Elementwise functions of 16 million numbers, which no cache holds, and of 64 thousand, which the nearest does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import needle as ndl
from bench.work import Work, function, gradient

LARGE, SMALL = 1 << 24, 1 << 16

ONE: list[tuple[str, Any, Any]] = [
    ("exp", ndl.exp, torch.exp),
    ("log", ndl.log, torch.log),
    ("tanh", ndl.tanh, torch.tanh),
    ("sigmoid", ndl.sigmoid, torch.sigmoid),
    ("erf", ndl.erf, torch.erf),
    ("gelu", ndl.gelu, torch.nn.functional.gelu),
    ("relu", ndl.relu, torch.relu),
    ("sqrt", ndl.sqrt, torch.sqrt),
    ("sin", ndl.sin, torch.sin),
    ("neg", lambda x: -x, lambda x: -x),
    ("x * 2", lambda x: x * 2.0, lambda x: x * 2.0),
    ("x ** 2", lambda x: x**2, lambda x: x**2),
]
TWO: list[tuple[str, Any]] = [
    ("add", lambda a, b: a + b),
    ("mul", lambda a, b: a * b),
    ("div", lambda a, b: a / b),
    ("less", lambda a, b: a < b),
]
QUICK = {"exp", "sigmoid", "tanh", "relu", "add"}


def positive(*sizes: int) -> Callable[[np.random.Generator], list[np.ndarray]]:
    """Numbers of 0.1 to 3, where each function is defined and none is flat."""
    return lambda rng: [rng.random(n, dtype=np.float32) * 2.9 + 0.1 for n in sizes]


def sized(name: str, n: int) -> str:
    return f"{name} {'16M' if n == LARGE else '64k'}"


def of_one(name: str, ours: Any, theirs: Any, n: int) -> Work:
    quick = n == LARGE and name in QUICK
    return function(group(n), sized(name, n), positive(n), ours, theirs, moved=2 * n, quick=quick)


def of_two(name: str, call: Any, n: int) -> Work:
    moved, quick = (2.25 if name == "less" else 3) * n, n == LARGE and name in QUICK
    return function(group(n), sized(name, n), positive(n, n), call, call, moved=moved, quick=quick)


def group(n: int) -> str:
    return "elementwise" if n == LARGE else "elementwise, small"


def rows_and_bias(call: Any, name: str, shape: tuple[int, int], bias: tuple[int, int]) -> Work:
    def inputs(rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.standard_normal(s, dtype=np.float32) for s in (shape, bias)]

    return function("elementwise", name, inputs, call, call, moved=2 * shape[0] * shape[1])


WORKS = [
    *(of_one(*row, n) for n in (LARGE, SMALL) for row in ONE),
    *(of_two(*row, n) for n in (LARGE, SMALL) for row in TWO),
    function(
        "elementwise", "where 16M", positive(LARGE, LARGE, LARGE),
        lambda a, b, c: ndl.where(a < 1.0, b, c), lambda a, b, c: torch.where(a < 1.0, b, c), moved=4.5 * LARGE,
    ),
    rows_and_bias(lambda x, b: x + b, "(4096, 4096) + (1, 4096)", (4096, 4096), (1, 4096)),
    rows_and_bias(lambda x, b: x * b, "(4096, 4096) * (4096, 1)", (4096, 4096), (4096, 1)),
    gradient(
        "elementwise", "tanh and gradient 16M", positive(LARGE, LARGE), ndl.tanh, torch.tanh, moved=5 * LARGE,
    ),
]  # fmt: skip

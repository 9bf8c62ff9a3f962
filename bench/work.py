"""Work: something that both frameworks do, defined once, with the bytes and operations that it cannot do without."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.sides import Needle, Side

Inputs = Callable[[np.random.Generator], Sequence[np.ndarray]]
Run = Callable[[], Any]  # does the work once; returns a tensor or a tuple of tensors


@dataclass(frozen=True)
class Work:
    """One row of a table. `ours` and `theirs` get a side and its tensors of the inputs, and return what is timed.

    `moved` counts the elements that must be read and written at least once, `flops` the operations: what the time is
    compared with a ceiling by. `calls` results in a row are checked, of works that change their state.
    """

    group: str
    name: str
    inputs: Inputs
    ours: Callable[..., Run]
    theirs: Callable[..., Run]
    moved: float = 0
    flops: float = 0
    tolerance: float = 1e-5
    calls: int = 1
    quick: bool = False
    any_dtype: bool = False  # whether it makes sense in half precision
    only_on: str = ""  # the kind of device that it is for, if not for all
    under: Callable[[], AbstractContextManager[object]] = nullcontext  # settings of both frameworks during the race

    def prepare(self, side: Side) -> Run:
        """The work with fresh inputs, always the same ones, on this side."""
        values = self.inputs(np.random.default_rng(0))
        make = self.ours if isinstance(side, Needle) else self.theirs
        return make(side, *[side.tensor(value) for value in values])


def function(
    group: str, name: str, inputs: Inputs, ours: Callable[..., Any], theirs: Callable[..., Any], **facts: Any
) -> Work:
    """A work that is one function of its tensors, which want no gradients."""

    def run(call: Callable[..., Any], tensors: Sequence[Any]) -> Run:
        return lambda: call(*tensors)

    return Work(
        group, name, inputs, lambda _, *tensors: run(ours, tensors), lambda _, *tensors: run(theirs, tensors),
        any_dtype=True, **facts,
    )  # fmt: skip


def gradient(
    group: str, name: str, inputs: Inputs, ours: Callable[..., Any], theirs: Callable[..., Any], **facts: Any
) -> Work:
    """A function of its tensors and the gradients of all that are floats; the last input is the result's cotangent."""

    def run(call: Callable[..., Any], tensors: Sequence[Any], floats: Callable[[Any], bool]) -> Run:
        *operands, cotangent = tensors
        leaves = [t.requires_grad_() for t in operands if floats(t)]

        def once() -> Any:
            for leaf in leaves:
                leaf.grad = None
            call(*operands).backward(cotangent)
            return tuple(leaf.grad for leaf in leaves)

        return once

    return Work(
        group, name, inputs,
        lambda side, *tensors: run(ours, tensors, lambda t: t.dtype.is_float),
        lambda side, *tensors: run(theirs, tensors, lambda t: t.is_floating_point()),
        any_dtype=True, **facts,
    )  # fmt: skip


def normal(*shapes: tuple[int, ...]) -> Inputs:
    """Arrays of standard normal numbers."""
    return lambda rng: [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]

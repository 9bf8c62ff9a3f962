"""Schedules: the learning rate as a function of the step, 0 before the first one.

A function can be assigned by hand, `optimizer.lr = rate(step)`, or given to a Schedule, which keeps count.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from needle import tracing
from needle.errors import ArgumentError, DataError
from needle_nn.optim.optimizer import Optimizer

Rate: TypeAlias = Callable[[int], float]


def step_decay(lr: float, every: int, factor: float = 0.1) -> Rate:
    """`lr`, multiplied by `factor` after every `every` steps."""
    return lambda step: lr * factor ** (step // every)


def cosine(lr: float, steps: int, warmup: int = 0) -> Rate:
    """A linear rise to `lr` over `warmup` steps, then half a cosine wave that reaches 0 after `steps`."""
    length = max(1, steps - warmup)
    return warm_up(lambda step: _wave(lr, 0.0, min(1.0, step / length)), warmup)


def warm_up(rate: Rate, steps: int) -> Rate:
    """A linear rise to rate(0) over `steps` steps, then the rate from its beginning."""
    return lambda step: rate(0) * (step + 1) / steps if step < steps else rate(step - steps)


def one_cycle(lr: float, steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 25e4) -> Rate:
    """From lr * start up to lr in the share `rise` of the steps, then down to lr * end, by half waves of cosine
    (Smith and Topin, 2018)."""
    if steps < 2 or not 0 < rise < 1:
        raise ArgumentError(f"one_cycle: takes 2 or more steps and a rise between 0 and 1, not {steps} and {rise}")
    peak, last = max(0.0, rise * steps - 1), steps - 1

    def rate(step: int) -> float:
        if step < peak:
            return _wave(lr * start, lr, step / peak)
        return _wave(lr, lr * end, min(1.0, (step - peak) / (last - peak)))

    return rate


def _wave(first: float, last: float, progress: float) -> float:
    """From first to last, as progress goes from 0 to 1: half a wave of cosine."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


class Schedule:
    """Keeps each group's learning rate at its first value times `factor(steps)`; call `step` after the optimizer's.

    A factor is a rate that starts from 1, such as `cosine(1.0, 1000)`.
    """

    def __init__(self, optimizer: Optimizer, factor: Rate) -> None:
        self.optimizer, self.factor = optimizer, factor
        self.rates = [group.lr for group in optimizer.param_groups]
        self.steps = 0
        self._assign()

    def step(self) -> None:
        """The next step's rates; in a captured function, each replay does it too."""
        self._advance()
        if tracing.active is not None:
            tracing.active.repeating(self._advance)

    def _advance(self) -> None:
        self.steps += 1
        self._assign()

    def _assign(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.factor(self.steps)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "rates": self.rates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a schedule over as many groups."""
        if len(state.get("rates", ())) != len(self.rates):
            found = len(state.get("rates", ()))
            raise DataError(f"Schedule: the state has rates of {found} groups, the optimizer has {len(self.rates)}")
        self.steps, self.rates = state["steps"], list(state["rates"])
        self._assign()

"""Schedules: the learning rate as a function of the step, to be assigned to `optimizer.lr` before it."""

import math
from collections.abc import Callable


def cosine(lr: float, steps: int, warmup: int = 0) -> Callable[[int], float]:
    """A linear rise to `lr` over `warmup` steps, then half a cosine wave that reaches 0 after `steps`."""

    def rate(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return lr * 0.5 * (1 + math.cos(math.pi * progress))

    return rate

"""What one small eager op costs: the road from the operator to the kernel, where the kernel takes no time."""

from typing import Any

import torch

import needle as ndl
from bench.work import Work, function, normal

SQUARE = normal((64, 64), (64, 64))


def recorded(name: str, call: Any, backward: bool = False) -> Work:
    """The op with its node of the graph; if `backward`, also the walk back."""

    def run(a: Any, b: Any, ones: Any) -> Any:
        a.requires_grad_()

        def once() -> Any:
            result = call(a, b)
            if not backward:
                return result
            a.grad = None
            result.backward(ones)
            return a.grad

        return once

    return Work(
        "eager op", name, SQUARE,
        lambda side, a, b: run(a, b, ndl.ones(64, 64, device=side.device)),
        lambda side, a, b: run(a, b, torch.ones(64, 64, dtype=side.dtype, device=side.device)), quick=True,
    )  # fmt: skip


WORKS = [
    function("eager op", "add 64x64", SQUARE, lambda a, b: a + b, lambda a, b: a + b, quick=True),
    recorded("add 64x64, recorded", lambda a, b: a + b),
    recorded("add 64x64 and backward", lambda a, b: a + b, backward=True),
    function("eager op", "mul by a number 64x64", SQUARE, lambda a, b: a * 2.0, lambda a, b: a * 2.0),
    function("eager op", "sum of all 64x64", SQUARE, lambda a, b: a.sum(), lambda a, b: a.sum()),
    function("eager op", "transpose 64x64, a view", SQUARE, lambda a, b: a.T, lambda a, b: a.T),
    function("eager op", "matmul 64x64", SQUARE, lambda a, b: a @ b, lambda a, b: a @ b),
]

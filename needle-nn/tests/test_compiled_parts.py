"""Parts of a training step, each compiled by itself: what passes between them is seen at every replay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim

Compile = Callable[[Any], Any]
Step = Callable[[int], list[Any]]


def accumulated(compile: Compile) -> Step:
    p = nn.Parameter(ndl.ones(3))
    optimizer = optim.Adam([p], lr=0.1)

    @compile
    def micro(x: Any) -> Any:
        loss = (p * x).sum()
        loss.backward()
        return loss

    @compile
    def update() -> None:
        optimizer.step()
        optimizer.reset_grad()

    def go(i: int) -> list[Any]:
        micro(ndl.arange(3) * float(i))
        if i % 2:
            update()
        return [p, p.grad]

    return go


def step_alone(compile: Compile) -> Step:
    p, q = nn.Parameter(ndl.ones(3)), nn.Parameter(ndl.ones(2))
    optimizer = optim.SGD([p, q], 0.1, momentum=0.9)
    step = compile(optimizer.step)

    def go(i: int) -> list[Any]:
        p.grad, q.grad = ndl.ones(3) * i, None if i in (0, 3, 4) else ndl.ones(2) * i
        step()
        return [p, q]

    return go


def clipping_alone(compile: Compile) -> Step:
    p, q = nn.Parameter(ndl.ones(3)), nn.Parameter(ndl.ones(2))
    clip = compile(lambda: optim.clip_grad_norm([p, q], 0.1))

    def go(i: int) -> list[Any]:
        p.grad, q.grad = ndl.ones(3) * i, ndl.ones(2)
        return [clip(), p.grad, q.grad]

    return go


def gradients_of_arguments(compile: Compile) -> Step:
    double = compile(lambda p: p.grad * 2)

    def go(i: int) -> list[Any]:
        p = nn.Parameter(ndl.ones(3))
        p.grad = ndl.ones(3) * i
        return [double(p)]

    return go


def gradient_gone(compile: Compile) -> Step:
    p = nn.Parameter(ndl.ones(3))
    p.grad = ndl.ones(3)
    backward = compile(lambda x: (p * x).sum().backward())

    def go(i: int) -> list[Any]:
        if i % 2:
            p.grad = None
        backward(ndl.ones(3) * i)
        return [p.grad]

    return go


def schedule_inside(compile: Compile) -> Step:
    p = nn.Parameter(ndl.ones(3))
    optimizer = optim.SGD([p], 0.1)
    schedule = optim.Schedule(optimizer, optim.cosine(1.0, 6, 2))

    @compile
    def step(x: Any) -> None:
        optimizer.reset_grad()
        (p * x).sum().backward()
        optimizer.step()
        schedule.step()

    def go(i: int) -> list[Any]:
        step(ndl.ones(3) * i)
        return [p, ndl.tensor(optimizer.lr), ndl.tensor(schedule.steps)]

    return go


def group_added(compile: Compile) -> Step:
    p, q = nn.Parameter(ndl.ones(3)), nn.Parameter(ndl.ones(3))
    optimizer = optim.Adam([p], 0.1)

    @compile
    def step(x: Any) -> None:
        optimizer.reset_grad()
        (p * q * x).sum().backward()
        optimizer.step()

    def go(i: int) -> list[Any]:
        if i == 3:
            optimizer.add_param_group({"params": [q], "lr": 0.5})
        step(ndl.ones(3) * i)
        return [p, q]

    return go


def state_loaded(compile: Compile) -> Step:
    p = nn.Parameter(ndl.ones(3))
    optimizer = optim.Adam([p], 0.1)
    saved: dict[str, Any] = {}

    @compile
    def step(x: Any) -> None:
        optimizer.reset_grad()
        (p * x).sum().backward()
        optimizer.step()

    def go(i: int) -> list[Any]:
        if i == 1:
            state = optimizer.state_dict()
            saved.update({k: ndl.tensor(v.numpy()) if isinstance(v, ndl.Tensor) else v for k, v in state.items()})
        if i == 4:
            optimizer.load_state_dict(saved)
        step(ndl.ones(3) * (i + 1))
        return [p, *(x for x in optimizer.state_dict().values() if isinstance(x, ndl.Tensor))]

    return go


def scale_outside(compile: Compile) -> Step:
    p = nn.Parameter(ndl.ones(3))
    scaler = optim.GradScaler(4.0)
    scaled = compile(lambda x: scaler.scale(x).detach())

    def go(i: int) -> list[Any]:
        scaler.load_state_dict({"scale": 2.0**i, "good_steps": 0})
        return [scaled(p)]

    return go


PARTS = [
    accumulated, step_alone, clipping_alone, gradients_of_arguments, gradient_gone, schedule_inside, group_added,
    state_loaded, scale_outside,
]  # fmt: skip


def values(step: Step) -> list[Any]:
    return [None if x is None else np.array(x.numpy()) for i in range(7) for x in step(i)]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_equals_eager(part: Callable[[Compile], Step]) -> None:
    eager, compiled = values(part(lambda function: function)), values(part(ndl.compile))
    for a, b in zip(eager, compiled, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)

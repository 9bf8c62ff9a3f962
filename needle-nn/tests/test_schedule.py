"""Schedules against their formulas, and what a Schedule keeps."""

from collections.abc import Callable
from math import cos, pi

import numpy as np
import pytest

from needle import nn, optim
from needle.errors import ArgumentError, DataError


def rates(rate: Callable[[int], float], *steps: int) -> list[float]:
    return [rate(step) for step in steps]


def test_cosine() -> None:
    np.testing.assert_allclose(rates(optim.cosine(2.0, 10), 0, 5, 10, 11), [2.0, 1.0, 0.0, 0.0], atol=1e-12)
    warm = optim.cosine(2.0, 10, warmup=4)
    np.testing.assert_allclose(rates(warm, 0, 3, 4, 7, 10), [0.5, 2.0, 2.0, 1.0, 0.0], atol=1e-12)


def test_step_decay() -> None:
    rate = optim.step_decay(2.0, 3, 0.5)
    assert rates(rate, 0, 2, 3, 5, 6) == [2.0, 2.0, 1.0, 1.0, 0.5]


def test_warm_up_goes_before_any_other() -> None:
    rate = optim.warm_up(optim.step_decay(1.0, 2), 4)
    np.testing.assert_allclose(rates(rate, 0, 1, 3, 4, 5, 6), [0.25, 0.5, 1.0, 1.0, 1.0, 0.1])


def test_one_cycle() -> None:
    rate = optim.one_cycle(1.0, 100, rise=0.3, start=0.1, end=0.01)
    np.testing.assert_allclose(rates(rate, 0, 29, 99, 150), [0.1, 1.0, 0.01, 0.01])
    np.testing.assert_allclose(rate(10), 1 + (0.1 - 1) * 0.5 * (1 + cos(pi * 10 / 29)))
    np.testing.assert_allclose(rate(64), 0.01 + 0.99 / 2)  # half of the way down
    assert rates(optim.one_cycle(1.0, 3), 0, 2)[0] == 1.0
    with pytest.raises(ArgumentError, match=r"^one_cycle: takes 2 or more steps and a rise between 0 and 1, not 1 and"):
        optim.one_cycle(1.0, 1)


def optimizer(*rates: float) -> optim.Optimizer:
    return optim.SGD([{"params": [nn.Parameter(np.ones(1, np.float32))], "lr": lr} for lr in rates])


def test_a_schedule_scales_every_group() -> None:
    sgd = optimizer(1.0, 0.1)
    schedule = optim.Schedule(sgd, optim.warm_up(optim.step_decay(1.0, 1, 0.5), 2))
    seen = []
    for _ in range(4):
        seen.append([group.lr for group in sgd.param_groups])
        schedule.step()
    np.testing.assert_allclose(seen, np.outer([0.5, 1.0, 1.0, 0.5], [1.0, 0.1]))


def test_a_schedule_goes_on_from_its_state() -> None:
    first, second = optimizer(1.0, 0.1), optimizer(3.0, 4.0)
    schedules = [optim.Schedule(sgd, optim.cosine(1.0, 10)) for sgd in (first, second)]
    for _ in range(3):
        schedules[0].step()
    schedules[1].load_state_dict(schedules[0].state_dict())
    for _ in range(2):
        assert [g.lr for g in first.param_groups] == [g.lr for g in second.param_groups]
        for schedule in schedules:
            schedule.step()
    with pytest.raises(DataError, match=r"^Schedule: the state has rates of 2 groups, the optimizer has 1$"):
        optim.Schedule(optimizer(1.0), optim.cosine(1.0, 10)).load_state_dict(schedules[0].state_dict())

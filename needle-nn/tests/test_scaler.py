"""Loss scaling against its rules: the step that is left out, the scale that falls and grows."""

import math

import pytest

import needle as ndl
from needle.errors import ArgumentError
from needle.optim import SGD, GradScaler


def parameter() -> ndl.Tensor:
    return ndl.nn.Parameter(ndl.tensor([1.0, 2.0]))


def test_a_step_is_that_of_the_plain_gradient() -> None:
    w, scaler = parameter(), GradScaler(1024.0)
    optimizer = SGD([w], lr=0.5)
    loss = (w * w).sum()
    assert scaler.scale(loss).item() == 5.0 * 1024
    scaler.scale(loss).backward()
    assert scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.0, 0.0]
    assert w.grad is not None
    assert w.grad.tolist() == [2.0, 4.0]
    assert scaler.get_scale() == 1024.0


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_not_finite_leaves_the_step_out(bad: float) -> None:
    w, scaler = parameter(), GradScaler(1024.0)
    optimizer = SGD([w], lr=0.5)
    w.grad = ndl.tensor([1.0, bad])
    assert not scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [1.0, 2.0]
    assert scaler.get_scale() == 512.0


def test_the_scale_grows_after_good_steps_in_a_row() -> None:
    w, scaler = parameter(), GradScaler(8.0, growth_interval=2)
    optimizer = SGD([w], lr=0.0)
    scales = []
    for gradient in (1.0, math.inf, 1.0, 1.0, 1.0):
        w.grad = ndl.tensor([gradient, 1.0])
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [8.0, 4.0, 4.0, 8.0, 8.0]
    again = GradScaler()
    again.load_state_dict(scaler.state_dict())
    assert (again.get_scale(), again.good_steps) == (8.0, 1)


def test_unscaled_once_for_clipping() -> None:
    w, scaler = parameter(), GradScaler(4.0)
    optimizer = SGD([w], lr=1.0)
    scaler.scale((w * 3.0).sum()).backward()
    scaler.unscale_(optimizer)
    scaler.unscale_(optimizer)
    assert w.grad is not None
    assert w.grad.tolist() == [3.0, 3.0]
    scaler.step(optimizer)
    assert w.tolist() == [-2.0, -1.0]


def test_disabled_it_does_nothing() -> None:
    w, scaler = parameter(), GradScaler(enabled=False)
    w.grad = ndl.tensor([math.inf, 0.0])
    assert scaler.step(SGD([w], lr=1.0))
    scaler.update()
    assert scaler.get_scale() == 1.0


def test_mixed_precision_trains() -> None:
    """A product in float16 on float32 parameters: the loss falls as it does in float32."""
    losses = {}
    for mixed in (False, True):
        ndl.manual_seed(0)
        x, y = ndl.randn(32, 8), ndl.randn(32, 1)
        w = ndl.nn.Parameter(ndl.zeros(8, 1))
        optimizer, scaler = SGD([w], lr=0.1), GradScaler(enabled=mixed)
        for _ in range(20):
            optimizer.zero_grad()
            with ndl.autocast("float16", enabled=mixed):
                loss = (x @ w - y).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        losses[mixed] = loss.item()
        assert w.dtype == "float32"
    assert losses[True] == pytest.approx(losses[False], rel=1e-2)


def test_bad_factors() -> None:
    with pytest.raises(ArgumentError, match="growth_factor is above 1 and backoff_factor between"):
        GradScaler(growth_factor=1.0)

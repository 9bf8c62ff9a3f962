"""Stage 8: a small network learns, with the loss curve of the reference, and the same one each time."""

import itertools
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import dispatch, tracing
from needle.device import Device
from needle.ndarray import NDArray
from needle.tensor import Tensor

ROWS, FEATURES, HIDDEN, CLASSES, STEPS = 64, 10, 16, 3, 40
SGD: dict[str, Any] = {"lr": 0.2, "momentum": 0.9, "dampening": 0.9, "weight_decay": 1e-3, "nesterov": False}
ADAM: dict[str, Any] = {"lr": 0.02, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 1e-2, "decoupled": True}


def _problem() -> tuple[Any, Any, list[Any]]:
    """Points of three clouds, the cloud of each, and the initial weights."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS).astype(np.int32)
    points = rng.normal(size=(CLASSES, FEATURES))[labels] + rng.normal(size=(ROWS, FEATURES)) / 2
    shapes = ((FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
    weights = [rng.normal(size=shape).astype(np.float32) * np.float32(0.3) for shape in shapes]
    return points.astype(np.float32), labels, weights


def _loss(x: Tensor, labels: Tensor, weights: list[Tensor]) -> Tensor:
    w1, b1, w2, b2 = weights
    return ndl.cross_entropy(ndl.linear(x, w1, b1, relu=True) @ w2 + b2, labels)


def _train(device: Device, rule: str) -> list[float]:
    """The loss at each step, on a device."""
    points, labels, initial = _problem()
    x, y = ndl.tensor(points, device=device), ndl.tensor(labels, device=device)
    weights = [ndl.tensor(w, device=device, requires_grad=True) for w in initial]
    states = [[w.array * 0 for w in weights] for _ in range(2)]
    losses = []
    for step in range(1, STEPS + 1):
        loss = _loss(x, y, weights)
        gradients = ndl.grad(loss, weights)
        _update(device, rule, [w.array for w in weights], [g.array for g in gradients], states, step)
        losses.append(float(loss))
    return losses


def _update(
    device: Device, rule: str, params: list[NDArray], grads: list[NDArray], states: list[list[NDArray]], step: int
) -> None:
    if rule == "sgd":
        dispatch.sgd_step(device, params, grads, states[0], **SGD)
    else:
        dispatch.adam_step(device, params, grads, *states, **ADAM, step=step)


@pytest.mark.over.with_args(lambda device: ("sgd", "adam"))
def test_curve(device: Device, trial: str) -> None:
    """The loss falls, as on the reference."""
    losses = _train(device, trial)
    assert losses[-1] < losses[0] / 4
    np.testing.assert_allclose(losses, _train(ndl.device("numpy"), trial), rtol=2e-3)


@pytest.mark.over.with_args(lambda device: ("sgd", "adam"))
def test_deterministic(device: Device, trial: str) -> None:
    assert _train(device, trial) == _train(device, trial)


@pytest.mark.over.with_args(lambda device: ("sgd", "adam"))
def test_compiled(device: Device, trial: str) -> None:
    """The same curve where the whole step, its update included, is captured once and replayed."""
    points, labels, initial = _problem()
    x, y = ndl.tensor(points, device=device), ndl.tensor(labels, device=device)
    weights = [ndl.tensor(w, device=device, requires_grad=True) for w in initial]
    states = [[w.array * 0 for w in weights] for _ in range(2)]
    count = itertools.count(1).__next__  # of the steps; replays go on with it

    def step(x: Tensor, y: Tensor) -> Tensor:
        number = count() if tracing.active is None else tracing.active.number(count)
        loss = _loss(x, y, weights)
        gradients = [g.array for g in ndl.grad(loss, weights)]
        _update(device, trial, [w.writable() for w in weights], gradients, states, number)
        return loss.detach()

    compiled = ndl.compile(step)
    np.testing.assert_allclose([float(compiled(x, y)) for _ in range(STEPS)], _train(device, trial), rtol=1e-5)
    assert compiled.captures == 1


def test_by_hand(device: Device) -> None:
    """The same network, gradients and updates written out in NumPy, in float64."""
    points, labels, weights = _problem()
    x, hot = points.astype(np.float64), np.eye(CLASSES)[labels]
    w1, b1, w2, b2 = (w.astype(np.float64) for w in weights)
    velocities = [np.zeros_like(w) for w in (w1, b1, w2, b2)]
    losses = []
    for _ in range(STEPS):
        hidden = np.maximum(x @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        losses.append(-np.log(p[np.arange(ROWS), labels]).mean())
        g = (p - hot) / ROWS
        h = (g @ w2.T) * (hidden > 0)
        for w, v, gradient in zip((w1, b1, w2, b2), velocities, (x.T @ h, h.sum(0), hidden.T @ g, g.sum(0)),
                                  strict=True):  # fmt: skip
            v[...] = 0.9 * v + 0.1 * (gradient + 1e-3 * w)
            w -= 0.2 * v
    np.testing.assert_allclose(_train(device, "sgd"), losses, rtol=2e-3)

"""Where nothing is recorded, layers of images take a shorter way: the same numbers, and the long way where need be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn
from needle.dispatch import Call, observers
from needle.errors import DeviceError, ShapeError


class Names:
    """The primitives that pass."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def before(self, call: Call) -> None:
        self.seen.append(call.op)

    def after(self, call: Call, token: Any) -> None:
        pass


def primitives(call: Callable[[], Any]) -> list[str]:
    names = Names()
    observers.append(names)
    try:
        call()
    finally:
        observers.remove(names)
    return names.seen


def block(device: needle.Device, rng: np.random.Generator) -> nn.Sequential:
    norm = nn.BatchNorm2d(5, device=device)
    norm.running_mean.array.assign(rng.standard_normal(5))
    norm.running_var.array.assign(rng.uniform(0.5, 2, 5))
    norm.weight.array.assign(rng.standard_normal(5))
    return nn.Sequential(nn.Conv(3, 5, 3, device=device), norm, nn.ReLU()).eval()  # type: ignore[no-any-return]


def image(device: needle.Device, rng: np.random.Generator) -> Tensor:
    return Tensor(rng.standard_normal((2, 3, 6, 7)), device=device, dtype="float32")


def test_both_ways_give_the_same(device: needle.Device, rng: np.random.Generator) -> None:
    model, x = block(device, rng), image(device, rng)
    long = model(x)  # its parameters want gradients
    assert long.requires_grad
    with needle.no_grad():
        short = model(x)
    assert not short.requires_grad
    np.testing.assert_allclose(short.numpy(), long.numpy(), rtol=1e-5, atol=1e-6)
    long.sum().backward()
    assert model.layers[0].bias.grad is not None


def test_a_backend_with_both_in_one_is_given_them(rng: np.random.Generator) -> None:
    """The reference has conv2d_bias and batch_norm_relu."""
    device = needle.numpy()
    model, x = block(device, rng), image(device, rng)
    with needle.no_grad():
        assert primitives(lambda: model(x)) == ["conv2d_bias", "batch_norm_relu"]
    assert "conv2d_bias" not in primitives(lambda: model(x))  # gradients are wanted


def test_hooks_see_each_module(rng: np.random.Generator) -> None:
    x = image(needle.numpy(), rng)
    for which in (1, 2):
        model = block(needle.numpy(), rng)
        seen: list[Any] = []
        model.layers[which].register_forward_hook(lambda module, args, result, seen=seen: seen.append(result))
        with needle.no_grad():
            assert "batch_norm_relu" not in primitives(lambda model=model: model(x))
        assert len(seen) == 1


def test_training_and_captures_take_the_modules_one_by_one(rng: np.random.Generator) -> None:
    model, x = block(needle.numpy(), rng), image(needle.numpy(), rng)
    with needle.no_grad():
        expected = model(x).numpy()
        compiled = needle.compile(model)
        for _ in range(3):
            np.testing.assert_allclose(compiled(x).numpy(), expected, rtol=1e-5, atol=1e-6)
        model.train()
        assert "moments" in primitives(lambda: model(x))


def test_one_norm_may_stand_twice(device: needle.Device, rng: np.random.Generator) -> None:
    norm = block(device, rng).layers[1]
    model = nn.Sequential(norm, nn.Tanh(), norm, nn.ReLU(), norm).eval()
    x = Tensor(rng.standard_normal((2, 5, 3, 3)), device=device, dtype="float32")
    with needle.no_grad():
        right = norm(needle.relu(norm(needle.tanh(norm(x)))))
        np.testing.assert_allclose(model(x).numpy(), right.numpy(), rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_told_alike(rng: np.random.Generator) -> None:
    model = block(needle.numpy(), rng)
    x = image(needle.numpy(), rng)
    with needle.no_grad():
        with pytest.raises(ShapeError, match="takes \\(N, C, H, W\\) with 3 channels"):
            model(x.permute(0, 2, 1, 3))
        with pytest.raises(ShapeError, match="BatchNorm2d: takes 5 channels on axis 1"):
            nn.Sequential(*model.layers[1:]).eval()(x)
        if len(needle.devices()) > 1:
            other = next(d for d in needle.devices() if d.backend != "numpy")
            with pytest.raises(DeviceError, match="conv: operands are on"):
                model(x.to(other))
        mixed = model(x.astype("float64"))
        assert mixed.dtype == "float64"


def test_autocast_is_heeded(rng: np.random.Generator) -> None:
    model, x = block(needle.numpy(), rng), image(needle.numpy(), rng)
    with needle.no_grad(), needle.autocast("bfloat16"):
        seen = primitives(lambda: model.layers[0](x))
    assert seen[:3] == ["cast", "cast", "conv2d"]

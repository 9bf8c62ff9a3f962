"""Where nothing is recorded, layers of images take a shorter way: the same numbers, and the long way where need be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor, nn
from needle.dispatch import Call, dispatcher, observers
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
    norm.running_mean.array.assign(rng.standard_normal(5, np.float32))
    norm.running_var.array.assign(rng.uniform(0.5, 2, 5).astype(np.float32))
    norm.weight.array.assign(rng.standard_normal(5, np.float32))
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


def resnet9(device: needle.Device, rng: np.random.Generator) -> nn.Sequential:
    """In evaluation, with statistics and scales of their own."""

    def part(n: int, m: int, size: int = 3, stride: int = 2) -> nn.Sequential:
        conv, norm = nn.Conv(n, m, size, stride, device=device), nn.BatchNorm2d(m, device=device)
        conv.bias.array.assign(rng.standard_normal(m, np.float32))
        norm.running_mean.array.assign(rng.standard_normal(m, np.float32))
        norm.running_var.array.assign(rng.uniform(0.5, 2, m).astype(np.float32))
        norm.bias.array.assign(rng.standard_normal(m, np.float32))
        return nn.Sequential(conv, norm, nn.ReLU())

    def residual(n: int) -> nn.Residual:
        return nn.Residual(nn.Sequential(part(n, n, stride=1), part(n, n, stride=1)))

    head = nn.Flatten(), nn.Linear(8, 8, device=device), nn.ReLU(), nn.Linear(8, 3, device=device)
    layers = part(3, 4, 7, 4), part(4, 4), residual(4), part(4, 8), part(8, 8), residual(8)
    return nn.Sequential(*layers, *head).eval()  # type: ignore[no-any-return]


def test_a_compiled_resnet9_takes_no_more_kernels(device: needle.Device, rng: np.random.Generator) -> None:
    model = resnet9(device, rng)
    x = Tensor(rng.standard_normal((2, 3, 32, 32)), device=device, dtype="float32")
    compiled, plain = needle.compile(model), needle.compile(model, disable="epilogues")
    with needle.no_grad():
        expected, eager = model(x).numpy(), primitives(lambda: model(x))
        for function in (compiled, plain):
            for _ in range(3):
                np.testing.assert_allclose(function(x).numpy(), expected, rtol=1e-5, atol=1e-5)
        after, before = primitives(lambda: compiled(x)), primitives(lambda: plain(x))
        last = compiled(x).numpy()
    if "conv2d_bias" in eager and not dispatcher(device).backend.implements("recording"):
        assert after.count("conv2d_bias") == after.count("batch_norm_relu") == 8
        assert len(after) <= len(eager) < len(before)
        np.testing.assert_array_equal(last, expected)
    assert len(after) <= len(before)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_compiled_block_computes_the_bits_of_its_primitives(rng: np.random.Generator, dtype: str) -> None:
    model = block(needle.numpy(), rng).to(dtype=dtype)
    x = image(needle.numpy(), rng).astype(dtype)
    with needle.no_grad():
        compiled = needle.compile(model)
        compiled(x)
        assert primitives(lambda: compiled(x)) == primitives(lambda: model(x)) == ["conv2d_bias", "batch_norm_relu"]
        np.testing.assert_array_equal(compiled(x).numpy(), model(x).numpy())


def test_training_takes_them_too(device: needle.Device, rng: np.random.Generator) -> None:
    """Forward and backward, whose gradients read none of what disappears."""
    model, x = block(device, rng).train(), image(device, rng)

    def step() -> Tensor:
        for p in model.parameters():
            p.grad = None
        loss = (model(x) * x[:, :1]).sum()
        loss.backward()
        return loss.detach()

    compiled = needle.compile(step)
    for _ in range(3):
        compiled()
    seen = primitives(compiled)
    found = [p.grad.numpy() for p in model.parameters()]
    if device == needle.numpy():
        assert seen.count("conv2d_bias") == seen.count("batch_norm_relu") == 1
    step()
    for p, grad in zip(model.parameters(), found, strict=True):
        np.testing.assert_allclose(grad, p.grad.numpy(), rtol=1e-4, atol=1e-4)


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


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2.0


def test_linear_and_relu_are_one_pass_unless_somebody_looks(device: needle.Device, rng: np.random.Generator) -> None:
    x = Tensor(rng.standard_normal((5, 4)), device=device, dtype="float32")
    seen: list[Any] = []

    def patched(layer: nn.Linear) -> nn.Linear:
        layer.forward = lambda x: -nn.Linear.forward(layer, x)  # type: ignore[method-assign]
        return layer

    def watched(layer: nn.Linear) -> nn.Linear:
        layer.register_forward_hook(lambda module, args, result: seen.append(result.numpy()))
        return layer

    for alone, make, sign in (
        (False, nn.Linear, 1.0),
        (True, Doubled, 2.0),
        (True, lambda *size, **kw: patched(nn.Linear(*size, **kw)), -1.0),
        (True, lambda *size, **kw: watched(nn.Linear(*size, **kw)), 1.0),
        (True, lambda *size, **kw: nn.Linear(*size, False, **kw), 1.0),
    ):
        layer = make(4, 3, device=device)
        model = nn.Sequential(layer, nn.ReLU())
        plain = x.numpy() @ layer.weight.numpy() + (0 if layer.bias is None else layer.bias.numpy())
        result = model(x)
        np.testing.assert_allclose(result.numpy(), np.maximum(sign * plain, 0), rtol=1e-5, atol=1e-6)
        assert ("unary" in primitives(lambda model=model: model(x))) == alone or device.backend != "numpy"
        result.sum().backward()
        right = x.numpy().T @ (sign * (result.numpy() > 0))
        np.testing.assert_allclose(layer.weight.grad.numpy(), right, rtol=1e-5, atol=1e-5)
    assert seen


def test_compiled_functions_see_what_happens_to_modules_of_one_pass(rng: np.random.Generator) -> None:
    """Hooks and a `forward` of its own, that a module was given after the capture."""
    linear, relu, norm = nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm2d(4)
    layer = nn.TransformerLayer(4, 1, 4, 8)
    for model, shape, modules in (
        (nn.Sequential(linear, relu), (3, 4), [linear, relu]),
        (nn.Sequential(norm, nn.ReLU()), (2, 4, 3, 3), [norm]),
        (layer, (2, 3, 4), [layer.linear1]),
    ):
        x, compiled = Tensor(rng.standard_normal(shape), dtype="float32"), needle.compile(model.eval())
        with needle.no_grad():
            for _ in range(3):
                before = compiled(x).numpy()
            for module in modules:
                handle = module.register_forward_hook(lambda module, args, result: result * 0.0 + 7.0)
                np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-5)
                assert not np.allclose(compiled(x).numpy(), before)
                handle.remove()
                own = type(module).forward
                module.forward = lambda x, module=module, own=own: own(module, x) * 0.0 + 5.0
                np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-5)
                assert not np.allclose(compiled(x).numpy(), before)
                del module.forward
                np.testing.assert_allclose(compiled(x).numpy(), before, rtol=1e-5)

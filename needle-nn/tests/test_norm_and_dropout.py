"""What layers do beside their formula: running moments, modes, random masks."""

import numpy as np
import pytest

import needle
from needle import Tensor, nn
from needle.errors import ShapeError


def test_batch_norm_moves_its_running_moments(device: needle.Device, rng: np.random.Generator) -> None:
    layer = nn.BatchNorm2d(3, momentum=0.3, device=device)
    x = Tensor(rng.standard_normal((4, 3, 5, 6)) * 2 + 1, device=device, dtype="float32", requires_grad=True)
    tensors = layer.running_mean, layer.running_var
    layer(x).sum().backward()
    values = x.numpy()
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.3 * values.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.7 + 0.3 * values.var((0, 2, 3)), rtol=1e-4)
    assert layer.running_mean is tensors[0]
    assert layer.running_var is tensors[1]
    assert not layer.running_mean.requires_grad
    before = layer.running_mean.numpy()
    layer.eval()(x)
    np.testing.assert_array_equal(layer.running_mean.numpy(), before)


def test_dropout(device: needle.Device) -> None:
    needle.manual_seed(0)
    x = needle.ones(200, 100, device=device, requires_grad=True)
    y = nn.Dropout(0.25)(x)
    values = y.numpy()
    assert set(np.unique(values)) == {0.0, np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), values)
    assert not nn.Dropout(1.0)(x).numpy().any()


def test_dropout_drops_the_same_on_every_device() -> None:
    found = []
    for device in needle.devices():
        needle.manual_seed(5)
        found.append(nn.Dropout(0.5)(needle.ones(40, device=device)).numpy())
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_embedding(dtype: str, device: needle.Device) -> None:
    layer = nn.Embedding(5, 3, device=device)
    ids = np.array([[0, 4, 2], [2, 2, 1]])
    y = layer(Tensor(ids, device=device, dtype=dtype))
    np.testing.assert_array_equal(y.numpy(), layer.weight.numpy()[ids])
    y.sum().backward()
    counts = np.bincount(ids.reshape(-1), minlength=5)
    np.testing.assert_array_equal(layer.weight.grad.numpy(), np.repeat(counts[:, None], 3, 1))


def test_a_weight_set_from_outside_is_used_and_learned(device: needle.Device, rng: np.random.Generator) -> None:
    layer = nn.Conv(2, 3, 3, device=device)
    weight = Tensor(rng.standard_normal((3, 3, 2, 3)), device=device, dtype="float32", requires_grad=True)
    x = Tensor(rng.standard_normal((1, 2, 4, 4)), device=device, dtype="float32")
    before = layer(x).numpy()
    layer.weight = weight
    assert not np.allclose(layer(x).numpy(), before)
    layer(x).sum().backward()
    assert weight.grad.shape == (3, 3, 2, 3)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer.parameters()[0] is weight
    assert not list(layer.named_buffers())
    layer.bias = Tensor(np.zeros(3, np.float32), device=device)
    assert [name for name, _ in layer.named_buffers()] == ["bias"]


def test_dropout2d_drops_whole_channels() -> None:
    x, layer = needle.ones(50, 40, 3, 2), nn.Dropout2d(0.25)
    y = layer(x).numpy()
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75])
    assert (y == y[:, :, :1, :1]).all()
    assert abs((y[:, :, 0, 0] == 0).mean() - 0.25) < 0.05
    assert layer.eval()(x) is x
    with pytest.raises(ShapeError, match=r"Dropout2d: takes \(N, C, ...\): x is \(3,\)"):
        layer.train()(needle.ones(3))

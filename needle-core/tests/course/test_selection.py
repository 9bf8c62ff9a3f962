"""What NEEDLE_BACKEND selects, devices, and tensors made from nothing."""

import numpy as np
import pytest
from checks import NUMPY, assert_same

import needle as ndl
from needle import init

DEVICES = [device for device in ndl.all_devices() if device.enabled()]


def test_names() -> None:
    assert ndl.BACKEND == ("np" if NUMPY else "nd") == ndl.backend_selection.BACKEND
    assert ndl.array_api is (np if NUMPY else ndl.backend_ndarray)
    assert ndl.NDArray is (np.ndarray if NUMPY else ndl.backend_ndarray.NDArray)
    assert isinstance(ndl.cpu(), ndl.Device)
    assert ndl.default_device() in ndl.all_devices()
    for name in ("nn", "optim", "data", "init", "ops", "autograd", "ones", "zeros", "ones_like", "zeros_like"):
        assert hasattr(ndl, name)


def test_devices_are_values() -> None:
    assert ndl.cpu() == ndl.cpu()
    assert hash(ndl.cpu()) == hash(ndl.cpu())
    assert ndl.cpu() != ndl.cuda()
    assert ndl.cpu().enabled()
    assert "cpu" in repr(ndl.cpu())
    assert ndl.cpu() != "elsewhere"
    assert isinstance(ndl.cuda().enabled(), bool)
    assert ndl.cpu_numpy().enabled()


@pytest.mark.parametrize("device", DEVICES, ids=repr)
def test_devices_make_arrays(device: ndl.Device) -> None:
    assert_same(device.zeros(2, 3), np.zeros((2, 3)))
    assert_same(device.ones(2, 3), np.ones((2, 3)))
    assert_same(device.full((2, 3), 2.5), np.full((2, 3), 2.5))
    assert_same(device.one_hot(4, np.array([1, 3]), "float32"), np.eye(4)[[1, 3]])
    assert device.empty((2, 3)).shape == (2, 3)
    np.random.seed(3)
    found = np.asarray(device.rand(2, 3)), np.asarray(device.randn(2, 3))
    np.random.seed(3)
    np.testing.assert_allclose(found[0], np.random.rand(2, 3), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.random.randn(2, 3), rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES, ids=repr)
def test_tensors_live_where_they_are_told(device: ndl.Device) -> None:
    x = ndl.Tensor([1.0, 2.0], device=device)
    assert x.device == device
    assert (x * x).device == device
    for made in (init.rand(2, 3, device=device), init.ones(2, device=device), init.zeros_like(x), ndl.Tensor(x)):
        assert made.device == device
    assert init.kaiming_uniform(2, 3, device=device).device == device
    x.sum().backward()
    assert x.grad.device == device


@pytest.mark.skipif(NUMPY or len(DEVICES) < 2, reason="takes two devices")
def test_between_devices() -> None:
    x = ndl.Tensor([1.0, 2.0], device=ndl.cpu())
    y = ndl.Tensor(x, device=ndl.cpu_numpy())
    assert y.device == ndl.cpu_numpy()
    assert_same(y.numpy(), [1, 2])
    with pytest.raises(ValueError, match="operands are on"):
        x + y


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), ndl.float32])
def test_ways_to_name_a_type(dtype: object) -> None:
    assert ndl.Tensor([1.0], dtype=dtype).dtype == "float32"
    assert ndl.Tensor(ndl.Tensor([1.0]), dtype=dtype).dtype == "float32"
    assert ndl.cpu().randn(2, dtype="float32").dtype == "float32"


def test_draws_are_numpy_s() -> None:
    np.random.seed(7)
    found = [init.rand(3, 4, low=-1.0, high=2.0), init.randn(5, mean=1.0, std=3.0), init.randb(4, 4, p=0.3)]
    np.random.seed(7)
    uniform, normal = np.random.rand(3, 4).astype("float32"), np.random.randn(5).astype("float32")
    mask = np.random.rand(4, 4) <= 0.3
    assert_same(found[0].numpy(), uniform * np.float32(3) + np.float32(-1))
    np.testing.assert_allclose(found[1].numpy(), normal * np.float32(3) + np.float32(1), rtol=1e-5, atol=1e-6)
    assert_same(found[2].numpy().astype(float), mask.astype(float))
    np.random.seed(7)
    assert_same(ndl.rand(3, 4).numpy(), uniform)


BOUNDS = {
    "xavier_uniform": lambda *s: np.random.rand(*s) * 2 * np.sqrt(6 / 7) - np.sqrt(6 / 7),
    "xavier_normal": lambda *s: np.random.randn(*s) * np.sqrt(2 / 7),
    "kaiming_uniform": lambda *s: np.random.rand(*s) * 2 * np.sqrt(6 / 3) - np.sqrt(6 / 3),
    "kaiming_normal": lambda *s: np.random.randn(*s) * np.sqrt(2 / 3),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_initializers(name: str) -> None:
    np.random.seed(42)
    found = getattr(init, name)(3, 4)
    np.random.seed(42)
    np.testing.assert_allclose(found.numpy(), BOUNDS[name](3, 4), rtol=1e-4, atol=1e-6)
    assert found.dtype == "float32"
    assert not found.requires_grad
    assert found.op is None


def test_gain_and_shape() -> None:
    np.random.seed(42)
    found = init.xavier_uniform(3, 5, gain=1.5), init.kaiming_uniform(9, 18, shape=(3, 3, 1, 2), nonlinearity="relu")
    np.random.seed(42)
    bound = 1.5 * np.sqrt(6 / 8)
    np.testing.assert_allclose(found[0].numpy(), np.random.rand(3, 5) * 2 * bound - bound, rtol=1e-4, atol=1e-6)
    bound = np.sqrt(6 / 9)
    expected = np.random.rand(3, 3, 1, 2) * 2 * bound - bound
    np.testing.assert_allclose(found[1].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_constants() -> None:
    assert_same(init.ones(2, 3).numpy(), np.ones((2, 3)))
    assert_same(init.zeros(2, 3, requires_grad=True).numpy(), np.zeros((2, 3)))
    assert init.zeros(2, requires_grad=True).requires_grad
    assert_same(init.constant(2, 2, c=5.0).numpy(), np.full((2, 2), 5.0))
    x = ndl.Tensor(np.ones((2, 3)), dtype="float32")
    assert_same(init.zeros_like(x).numpy(), np.zeros((2, 3)))
    assert_same(ndl.ones_like(x, requires_grad=True).numpy(), np.ones((2, 3)))
    hot = init.one_hot(4, ndl.Tensor([1, 3, 0]), device=ndl.cpu(), dtype="float32")
    assert_same(hot.numpy(), np.eye(4)[[1, 3, 0]])
    assert hot.dtype == "float32"

"""The code that a benchmark notebook of the course is made of: a product, a training step of an MLP, and inference
with a ResNet9 whose weights are set from outside. Runs as written on `needle.cpu()`, under either face."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle

DEVICES = [name for name in ("cpu", "numpy") if name in {d.backend for d in needle.registry.devices()}]


@pytest.fixture(params=DEVICES)
def place(request: pytest.FixtureRequest) -> Any:
    return needle.cpu() if request.param == "cpu" else "numpy"


def synchronize(name: str) -> None:
    getattr(needle.backend_ndarray, f"ndarray_backend_{name}").synchronize()


def benchmark(step: Callable[[], None], name: str, warmup: int = 1, repeats: int = 2) -> tuple[Any, Any]:
    for _ in range(warmup):
        step()
    times = []
    for _ in range(repeats):
        synchronize(name)
        start = time.perf_counter()
        step()
        synchronize(name)
        times.append((time.perf_counter() - start) * 1e3)
    return np.mean(times), np.std(times)


def tensor(values: Any, device: Any, dtype: str = "float32") -> needle.Tensor:
    return needle.Tensor(values, device=device, dtype=dtype, requires_grad=False)


def test_matmul(place: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((64, 32), dtype=np.float32), rng.standard_normal((32, 48), dtype=np.float32)
    A, B = tensor(a, place), tensor(b, place)
    assert needle.Tensor(A, device=place).device == A.device

    def step() -> None:
        _ = A @ B

    mean, std = benchmark(step, "cpu" if "cpu" in DEVICES else "numpy")
    assert mean > 0
    assert std >= 0
    np.testing.assert_allclose((A @ B).numpy(), a @ b, rtol=1e-4, atol=1e-5)


class MLP(needle.nn.Module):
    """Weights are drawn by NumPy, in PyTorch's layout, and set as Parameters made of Tensors."""

    def __init__(self, sizes: list[int], device: Any, rng: np.random.Generator) -> None:
        super().__init__()
        layers: list[Any] = []
        self.drawn = []
        for i in range(len(sizes) - 1):
            linear = needle.nn.Linear(sizes[i], sizes[i + 1], bias=True, device=device)
            w = rng.standard_normal((sizes[i + 1], sizes[i]), dtype=np.float32) * 0.2
            b = np.zeros((sizes[i + 1],), dtype=np.float32)
            linear.weight = needle.nn.Parameter(needle.Tensor(w.T, device=device, dtype="float32"))
            linear.bias = needle.nn.Parameter(needle.Tensor(b.reshape(1, -1), device=device, dtype="float32"))
            self.drawn.append((w, b))
            layers.append(linear)
            if i < len(sizes) - 2:
                layers.append(needle.nn.ReLU())
        self.net = needle.nn.Sequential(*layers)

    def forward(self, x: needle.Tensor) -> Any:
        return self.net(x)


def test_mlp_training_step(place: Any) -> None:
    rng = np.random.default_rng(0)
    model = MLP([16, 24, 10], place, rng)
    values, labels = rng.standard_normal((8, 16), dtype=np.float32), rng.integers(0, 10, size=(8,), dtype=np.int64)
    x, y = tensor(values, place), tensor(labels, place)
    criterion = needle.nn.SoftmaxLoss()
    optimizer = needle.optim.SGD(model.parameters(), lr=0.1)
    assert x.device == y.device
    assert len(model.parameters()) == 4
    losses = []

    def step() -> None:
        optimizer.reset_grad()
        out = model(x)
        loss = criterion(out, y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.numpy().item()))

    benchmark(step, "numpy", warmup=1, repeats=20)
    (w1, b1), (w2, b2) = model.drawn
    logits = np.maximum(values @ w1.T + b1, 0) @ w2.T + b2
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(8), labels])
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < 0.7 * losses[0]


class ConvBN(needle.nn.Module):
    def __init__(self, cin: int, cout: int, size: int, stride: int = 1, device: Any = None, dtype: Any = "float32"):
        super().__init__()
        self.conv = needle.nn.Conv(cin, cout, size, stride=stride, device=device, dtype=dtype, bias=True)
        self.bn = needle.nn.BatchNorm2d(cout, device=device, dtype=dtype)
        self.relu = needle.nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.relu(self.bn(self.conv(x)))


class ResNet9(needle.nn.Module):
    def __init__(self, device: Any = None, dtype: Any = "float32"):
        super().__init__()
        nn, options = needle.nn, {"device": device, "dtype": dtype}
        self.layers = nn.Sequential(
            ConvBN(3, 16, 7, stride=4, **options),
            ConvBN(16, 32, 3, stride=2, **options),
            nn.Residual(nn.Sequential(ConvBN(32, 32, 3, **options), ConvBN(32, 32, 3, **options))),
            ConvBN(32, 64, 3, stride=2, **options),
            ConvBN(64, 128, 3, stride=2, **options),
            nn.Residual(nn.Sequential(ConvBN(128, 128, 3, **options), ConvBN(128, 128, 3, **options))),
            nn.Flatten(),
            nn.Linear(512, 128, **options),
            nn.ReLU(),
            nn.Linear(128, 10, **options),
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x)


def set_weights(model: Any, device: Any, rng: np.random.Generator) -> None:
    """As the notebook copies one set of weights into several frameworks."""

    def parameter(values: Any) -> Any:
        return needle.nn.Parameter(needle.Tensor(values.astype(np.float32), device=device, dtype="float32"))

    for m in model._children():
        if isinstance(m, needle.nn.Conv):
            k, cin, cout = m.kernel_size, m.in_channels, m.out_channels
            m.weight = parameter(np.transpose(rng.standard_normal((cout, cin, k, k)) * 0.05, (2, 3, 1, 0)))
            m.bias = parameter(np.zeros((cout,)))
        elif isinstance(m, needle.nn.Linear):
            m.weight = parameter((rng.standard_normal(m.weight.shape[::-1]) * 0.05).T)
            m.bias = parameter(np.zeros((1, m.weight.shape[1])))
        elif isinstance(m, needle.nn.BatchNorm2d):
            m.weight, m.bias = parameter(np.ones((m.dim,))), parameter(np.zeros((m.dim,)))
            m.running_mean = needle.Tensor(np.zeros((m.dim,), np.float32), device=device, dtype="float32")
            m.running_var = needle.Tensor(np.ones((m.dim,), np.float32), device=device, dtype="float32")


def test_resnet9_inference(place: Any) -> None:
    rng = np.random.default_rng(0)
    model = ResNet9(device=place)
    count = len(model.parameters())
    set_weights(model, place, rng)
    assert len(model.parameters()) == count
    x = tensor(rng.standard_normal((2, 3, 64, 64), dtype=np.float32), place)

    def step() -> None:
        _ = model(x)

    benchmark(step, "numpy", warmup=1, repeats=1)
    assert model(x).shape == (2, 10)
    model.eval()
    alone = model(tensor(x.numpy()[:1], place)).numpy()
    np.testing.assert_allclose(model(x).numpy()[:1], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["msl", "mps", "cuda"])
def test_a_device_that_is_not_there_says_so(name: str) -> None:
    if name in {d.backend for d in needle.registry.devices()}:
        synchronize(name)
    else:
        with pytest.raises(needle.DeviceError, match=f"no device '{name}'"):
            synchronize(name)

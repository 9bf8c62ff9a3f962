"""Two GPUs in one process: each has its queue, its memory, its libraries' handles and plans."""

import threading
from typing import Any

import numpy as np

import needle as ndl
from needle.dispatch import dispatcher


def step_losses(device: ndl.Device, steps: int) -> list[float]:
    """A small network of convolution, norm and products, trained with momentum."""
    np.random.seed(0)
    ndl.manual_seed(0)
    nn = ndl.nn
    model = nn.Sequential(
        nn.Conv(3, 8, 3, device=device), nn.BatchNorm2d(8, device=device), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 8 * 8, 10, device=device),
    )  # fmt: skip
    optimizer = ndl.optim.SGD(model.parameters(), 0.05, 0.9)
    rng = np.random.default_rng(0)
    x = ndl.tensor(rng.standard_normal((16, 3, 8, 8)), device=device, dtype="float32")
    y = ndl.tensor(rng.integers(0, 10, 16), device=device)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.SoftmaxLoss()(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_on_the_second_is_as_on_the_first(gpu: ndl.Device, second: ndl.Device) -> None:
    first = step_losses(gpu, 20)
    assert first[-1] < first[0] / 2
    np.testing.assert_allclose(step_losses(second, 20), first, rtol=1e-4)


def test_memory_is_each_devices_own(gpu: ndl.Device, second: ndl.Device) -> None:
    here, there = (dispatcher(device).backend for device in (gpu, second))
    before = [backend.memory_stats()["used"] for backend in (here, there)]  # type: ignore[attr-defined]
    kept = ndl.zeros(1 << 20, device=second)
    after = [backend.memory_stats()["used"] for backend in (here, there)]  # type: ignore[attr-defined]
    assert after[0] == before[0]
    assert after[1] - before[1] == kept.nbytes


def test_libraries_serve_both(gpu: ndl.Device, second: ndl.Device) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((65, 65)) for _ in range(2))
    heads = [rng.standard_normal((2, 300, 64)) for _ in range(3)]

    def results(device: ndl.Device) -> list[Any]:
        x, y = (ndl.tensor(v, device=device, dtype="float32") for v in (a, b))
        q, k, v = (ndl.tensor(h, device=device).astype("bfloat16") for h in heads)
        return [(x @ y).numpy(), x.sum(0).numpy(), q.attention(k, v, True).astype("float32").numpy()]

    for device in (gpu, second, gpu):  # by turns: the current device changes under the libraries
        for found, right in zip(results(device), results(gpu), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


def test_a_thread_for_each(gpu: ndl.Device, second: ndl.Device) -> None:
    found: dict[Any, list[float]] = {}

    def work(device: ndl.Device) -> None:
        x = ndl.ones(256, 256, device=device)
        found[device] = [((x * float(i)) @ x).sum().item() for i in range(50)]

    threads = [threading.Thread(target=work, args=(device,)) for device in (gpu, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[gpu] == found[second] == [256.0**3 * i for i in range(50)]

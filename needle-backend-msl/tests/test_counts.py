"""How many dispatches and waits the benchmark notebook's works take; sizes do not matter to that."""

import importlib
from itertools import pairwise

import numpy as np
import pytest

import needle as ndl

nn = ndl.nn
RESNET9 = [(3, 2, 7, 4), (2, 3, 3, 2), [(3, 3, 3, 1)] * 2, (3, 4, 3, 2), (4, 5, 3, 2), [(5, 5, 3, 1)] * 2]


def counted(work):
    """Dispatches and waits of the third call: the first two fill caches."""
    ext = importlib.import_module("needle_backend_msl._ext")
    work().numpy()
    work().numpy()
    before = ext.counters()
    work().numpy()
    return tuple(ext.counters()[name] - before[name] for name in ("dispatches", "waits"))


@pytest.mark.parametrize("optimizer", [ndl.optim.SGD, ndl.optim.Adam])
def test_a_training_step_of_four_layers(device, optimizer):
    sizes = [16, 16, 16, 16, 10]
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b, device=device), nn.ReLU())]
    model, loss_of = nn.Sequential(*layers[:-1]), nn.SoftmaxLoss()
    steps = optimizer(model.parameters(), lr=0.01)
    x = ndl.Tensor(np.ones((4, 16), np.float32), device=device)
    y = ndl.Tensor(np.arange(4), device=device)

    def step():
        steps.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        steps.step()
        return loss.detach()

    dispatches, waits = counted(step)
    assert dispatches <= 30
    assert waits == 1


def test_inference_of_resnet9(device):
    def part(spec):
        if isinstance(spec, list):
            return nn.Residual(nn.Sequential(*map(part, spec)))
        n_in, n_out, size, stride = spec
        conv = nn.Conv(n_in, n_out, size, stride, device=device)
        return nn.Sequential(conv, nn.BatchNorm2d(n_out, device=device), nn.ReLU())

    head = nn.Flatten(), nn.Linear(20, 6, device=device), nn.ReLU(), nn.Linear(6, 10, device=device)
    model = nn.Sequential(*map(part, RESNET9), *head).eval()
    x = ndl.Tensor(np.ones((1, 3, 64, 64), np.float32), device=device)

    def inference():
        with ndl.no_grad():
            return model(x)

    dispatches, waits = counted(inference)
    assert dispatches <= 40
    assert waits == 1

"""What the conformance suite cannot see: how views are merged, the tiled product beside the naive one, long rows."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import nn, optim
from needle.dispatch import dispatcher
from needle.kinds import Reduce
from needle.layout import Layout
from needle_backend_opencl.backend import OpenclBackend
from needle_backend_opencl.places import placed

C = Layout.compact


@pytest.fixture(scope="session")
def backend() -> OpenclBackend:
    found = dispatcher(needle.device("opencl")).backend
    assert isinstance(found, OpenclBackend)
    return found


@pytest.mark.parametrize(
    ("layouts", "rank", "numbers"),
    [
        ((C((2, 3)), C((2, 3))), 0, [6, 0, 0, 1, 1, 1]),
        ((C((2, 3)), Layout((2, 3), (3, 1), 5)), 0, [6, 0, 5, 1, 1, 1]),
        ((C((2, 3)), Layout((), (), 7)), 1, [6, 0, 7, 6, 1, 0]),
        ((C((2, 3)), Layout((1,), (1,), 7)), 1, [6, 0, 7, 6, 1, 0]),
        ((C((2, 3)), Layout((2, 3), (1, 2))), 2, [6, 0, 0, 2, 3, 3, 1, 1, 2]),
        ((C((4, 2, 3)), Layout((4, 2, 3), (0, 3, 1))), 2, [24, 0, 0, 4, 6, 6, 1, 0, 1]),
        ((C((6,)), Layout((6,), (-1,), 5)), 1, [6, 0, 5, 6, 1, -1]),
        ((C((2, 2, 2)), Layout((2, 2, 2), (1, 2, 4))), 4, [8, 0, 0, 1, 2, 2, 2, 0, 4, 2, 1, 0, 1, 2, 4]),
    ],
)  # fmt: skip
def test_views_are_merged(layouts: tuple[Layout, ...], rank: int, numbers: list[int]) -> None:
    found, places = placed(layouts)
    assert (found, places.tolist()) == (rank, numbers)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 16, 64, 16), (2, 17, 65, 33), (1, 3, 200, 0), (3, 5, 7, 130)])
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_the_tiled_product_is_the_naive_one(
    backend: OpenclBackend, sizes: tuple[int, int, int, int], transposed: tuple[bool, bool]
) -> None:
    """Of whole numbers, whose sums are exact."""
    batch, m, n, k = sizes
    rng = np.random.default_rng(1)
    a = rng.integers(-4, 5, (batch, k, m) if transposed[0] else (batch, m, k)).astype("float32")
    b = rng.integers(-4, 5, (1, n, k) if transposed[1] else (1, k, n)).astype("float32")
    left, right = (needle.tensor(x, device="opencl").array for x in (a, b))
    wanted = (a.swapaxes(1, 2) if transposed[0] else a) @ (b.swapaxes(1, 2) if transposed[1] else b)
    for tiled in (True, False):
        dst = needle.full((batch, m, n), 99.0, device="opencl").array
        backend._matmul(dst, left, right, *transposed, tiled=tiled)
        np.testing.assert_array_equal(dst.numpy(), wanted)


@pytest.mark.parametrize("kind", list(Reduce), ids=lambda kind: kind.op)
@pytest.mark.parametrize(("rows", "n"), [(1, 1_000_003), (3, 50_000), (300, 20_000), (1, 33), (5, 32)])
def test_rows_in_parts(kind: Reduce, rows: int, n: int) -> None:
    values = np.random.default_rng(2).integers(-9, 10, (rows, n)).astype("int32")
    function = {Reduce.SUM: np.add, Reduce.PROD: np.multiply, Reduce.MAX: np.maximum, Reduce.MIN: np.minimum}[kind]
    found = needle.tensor(values, device="opencl").array._reduced(kind, 1, keepdims=False)
    np.testing.assert_array_equal(found.numpy(), function.reduce(values, axis=1, dtype="int32"))


def test_halves_are_summed_in_float32() -> None:
    x = needle.ones(1, 70_001, dtype="float16", device="opencl")
    assert (x * 0.5).sum(1).item() == float(np.float16(35_000.5))  # sums in float16 would stop at 1024


def test_a_kernel_is_built_once(backend: OpenclBackend) -> None:
    x = needle.randn(5, 7, device="opencl")
    x.exp().numpy()
    before = len(backend._programs._kernels)
    needle.randn(311, device="opencl").exp().numpy()
    assert len(backend._programs._kernels) == before


def test_a_buffer_that_no_device_holds_says_what_one_does() -> None:
    with pytest.raises(needle.OutOfMemoryError, match="one buffer on this device holds at most"):
        needle.empty(1 << 50, device="opencl")


def losses(device: str) -> list[float]:
    """Of twenty steps with the same data and initial values."""
    rng = np.random.default_rng(3)
    needle.manual_seed(4)
    model = nn.Sequential(nn.Linear(12, 16, device=device), nn.ReLU(), nn.Linear(16, 3, device=device))
    adam, loss_of = optim.Adam(model.parameters(), lr=0.01), nn.SoftmaxLoss()
    x = needle.tensor(rng.standard_normal((32, 12)).astype("float32"), device=device)
    y = needle.tensor(rng.integers(0, 3, 32), device=device)
    found = []
    for _ in range(20):
        adam.reset_grad()
        loss: Any = loss_of(model(x), y)
        loss.backward()
        adam.step()
        found.append(loss.item())
    return found


def test_training_is_that_of_the_reference() -> None:
    found, wanted = losses("opencl"), losses("numpy")
    assert wanted[-1] < 0.8 * wanted[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)

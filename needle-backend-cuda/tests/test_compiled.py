"""needle.compile on a GPU: fused kernels and replays of CUDA graphs equal eager runs, whatever changes between them."""

import gc
import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim
from needle.backend import View
from needle.dtype import float32
from needle.errors import DeviceError
from needle.kinds import Unary
from needle.layout import Layout

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def on_gpu(gpu: ndl.Device) -> Iterator[None]:
    with ndl.use_device(gpu):
        yield


def tensor(*shape: int, seed: int = 0, **options: Any) -> ndl.Tensor:
    return ndl.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), **options)


def graphs(compiled: Any) -> str:
    """What `explain` says of recordings."""
    return "\n".join(line for line in compiled.explain().splitlines() if "cuda:" in line)


# Fused kernels: chains of elementwise ops over operands that lie in many ways; bit for bit what eager ops give.


def chain(x: Any, y: Any) -> Any:
    return ((x * 2 + y).tanh() - 0.5).relu() * y + x


def rounded(x: Any, y: Any) -> Any:
    return (x * y + x) * y - (x - y).abs().sqrt() / (x * x + 1)


def chosen(x: Any, y: Any) -> Any:
    return ((x > y) & (x > 0)).where(x * 3, y * 2) + (x < y).astype(x.dtype)


LAYOUTS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "whole": (lambda x: x, (64, 48)),
    "a row": (lambda x: x[:1].broadcast_to((64, 48)), (64, 48)),
    "a column": (lambda x: x[:, :1].broadcast_to((64, 48)), (64, 48)),
    "one": (lambda x: x[:1, :1].broadcast_to((64, 48)), (64, 48)),
    "transposed": (lambda x: x.T, (48, 64)),
    "every other": (lambda x: x[::2, ::3], (128, 144)),
    "backwards": (lambda x: x.flip(1), (64, 48)),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", [chain, rounded, chosen])
def test_fused_kernels_give_the_bits_of_eager_ones(function: Any, layout: str, dtype: str) -> None:
    view, shape = LAYOUTS[layout]

    def whole(x: Any, base: Any) -> Any:
        return function(x, view(base))

    compiled = ndl.compile(whole)
    for seed in (1, 2, 3):
        x, base = tensor(64, 48, seed=seed).astype(dtype), tensor(*shape, seed=9 + seed).astype(dtype)
        np.testing.assert_array_equal(compiled(x, base).numpy(), whole(x, base).numpy())
    assert sum(node.op == "elementwise" for node in compiled.graphs()[0].nodes) == 1


@pytest.mark.parametrize("size", [1, 3, 4, 5, 255, 1023, 100_003])
def test_odd_sizes(size: int) -> None:
    x, y = tensor(size), tensor(size, seed=1)
    compiled = ndl.compile(chain)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x, y).numpy(), chain(x, y).numpy())


def test_channels_of_images_are_repeated_by_division() -> None:
    x, bias = tensor(3, 5, 7, 6), tensor(6, seed=1)
    compiled = ndl.compile(lambda x, b: ((x + b) * b).relu())
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x, bias).numpy(), ((x + bias) * bias).relu().numpy())


# Replays.


# No bias before a batch norm: its gradient is rounding, which Adam makes steps of.


def network() -> Any:
    np.random.seed(0)
    return nn.Sequential(
        nn.Linear(6, 32, bias=False),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(32, 32),
        nn.GELU(),
        nn.Linear(32, 5),
    )


def images() -> Any:
    np.random.seed(0)
    block = nn.Sequential(nn.Conv(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(nn.Conv(1, 4, 3), nn.MaxPool2d(2), nn.Residual(block), nn.GlobalAvgPool(), nn.Linear(4, 5))


RULES: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: optim.Adam(p, 0.01),
    "adamw": lambda p: optim.AdamW(p, 0.01),
    "rmsprop": lambda p: optim.RMSProp(p, 0.01),
}


def training(make: Any, rule: Any) -> tuple[Any, Any, Callable[..., Any]]:
    ndl.manual_seed(3)
    model = make()
    optimizer, loss_of = rule(model.parameters()), nn.SoftmaxLoss()

    def step(x: ndl.Tensor, y: ndl.Tensor) -> ndl.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, optimizer, step


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("make", "shape"), [(network, (16, 6)), (images, (8, 1, 8, 8))], ids=["mlp", "images"])
def test_training_equals_eager(make: Any, shape: tuple[int, ...], rule: str) -> None:
    """100 steps over three batches, with a rate that changes and dropout that draws on."""
    labels = [ndl.Tensor(np.random.default_rng(i).integers(0, 5, shape[0])) for i in range(3)]
    batches = [tensor(*shape, seed=i) for i in range(3)]
    found = []
    for compiles in (False, True):
        model, optimizer, step = training(make, RULES[rule])
        run = ndl.compile(step) if compiles else step
        losses = []
        for i in range(100):
            if i % 25 == 24:
                optimizer.lr *= 0.7
            losses.append(float(run(batches[i % 3], labels[i % 3])))
        found.append((losses, [p.numpy() for p in model.parameters()]))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=2e-3, atol=1e-4)
    for p, q in zip(found[1][1], found[0][1], strict=True):
        np.testing.assert_allclose(p, q, rtol=2e-2, atol=2e-3)
    assert run.captures == 1
    assert "as one CUDA graph" in graphs(run), run.explain()


def test_no_python_between_kernels() -> None:
    _, _, step = training(network, RULES["sgd"])
    compiled = ndl.compile(step)
    x, y = tensor(16, 6), ndl.Tensor(np.arange(16) % 5)
    for _ in range(4):
        compiled(x, y)
    assert graphs(compiled).count("\n") == 0
    assert "as one CUDA graph" in graphs(compiled)


def test_reductions_side_by_side() -> None:
    """Independent, and each of many blocks that meet in memory of the device's."""

    def sums(*xs: ndl.Tensor) -> Any:
        return tuple(part for x in xs for part in (x.sum(), x.sum(0), x.max(1), (x @ x.T).sum(0)))

    xs = [tensor(300, 5000, seed=i) for i in range(4)]
    compiled = ndl.compile(sums)
    expected = [y.numpy() for y in sums(*xs)]
    for _ in range(50):
        for found, right in zip(compiled(*xs), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), right, rtol=1e-4, atol=1e-2)


def test_much_scratch_memory_is_shared_by_calls_in_order() -> None:
    from needle_backend_cuda import _ext  # noqa: PLC0415  (needs the libraries)

    def rows(x: ndl.Tensor) -> Any:
        return tuple(ndl.sort(x * k, 1).sum(0) for k in range(1, 5))

    x = tensor(40, 3000)
    expected = [y.numpy() for y in rows(x)]
    _ext.set_scratch_limit(0)
    try:
        compiled = ndl.compile(rows)
        for _ in range(4):
            for found, right in zip(compiled(x), expected, strict=True):
                np.testing.assert_allclose(found.numpy(), right, rtol=1e-5, atol=1e-4)
    finally:
        _ext.set_scratch_limit(512 << 20)
    assert "one after another" in graphs(compiled)


def test_a_replaced_parameter_is_taken_down_anew() -> None:
    w = tensor(8, 8, seed=1)
    compiled = ndl.compile(lambda x: (x @ w).relu() + x.sum())
    x = tensor(4, 8)
    for seed in range(2, 7):
        for _ in range(3):
            np.testing.assert_allclose(
                compiled(x).numpy(), ((x @ w).relu() + x.sum()).numpy(), rtol=1e-5, atol=1e-5
            )  # fmt: skip
        w.data = tensor(8, 8, seed=seed)
    assert compiled.captures == 1


def test_results_that_are_kept_keep_their_values() -> None:
    compiled = ndl.compile(lambda x: ((x @ x.T).relu(), x.sum()))
    inputs = [tensor(5, 5, seed=i) for i in range(8)]
    kept = [compiled(x) for x in inputs]
    for x, (product, total) in zip(inputs, kept, strict=True):
        np.testing.assert_allclose(product.numpy(), np.maximum(x.numpy() @ x.numpy().T, 0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(total.numpy(), x.numpy().sum(), rtol=1e-4, atol=1e-5)


def test_random_numbers_go_on() -> None:
    def noisy(x: ndl.Tensor) -> ndl.Tensor:
        return x + ndl.rand(64) * ndl.randn(64)

    ndl.manual_seed(5)
    expected = [noisy(tensor(64)).numpy() for _ in range(6)]
    compiled = ndl.compile(noisy)
    ndl.manual_seed(5)
    np.testing.assert_array_equal([compiled(tensor(64)).numpy() for _ in range(6)], expected)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_autocast(half: str) -> None:
    model = network().eval()
    x = tensor(16, 6)

    def run(x: ndl.Tensor) -> ndl.Tensor:
        with ndl.no_grad(), ndl.autocast(half):
            return model(x)

    compiled = ndl.compile(run)
    for _ in range(4):
        np.testing.assert_allclose(
            compiled(x).astype("float32").numpy(), run(x).astype("float32").numpy(), rtol=2e-2, atol=2e-2
        )  # fmt: skip
    with ndl.autocast(half), ndl.no_grad():
        outside = ndl.compile(model)
        lowered = outside(x).dtype
    with ndl.no_grad():
        assert outside(x).dtype == "float32"
    assert lowered == half
    assert outside.captures == 2


def test_precision_of_products_is_part_of_the_kind() -> None:
    x = tensor(64, 64)
    compiled = ndl.compile(lambda x: x @ x + x)
    exact = [compiled(x).numpy() for _ in range(3)][-1]
    ndl.set_matmul_precision("high")
    try:
        near = [compiled(x).numpy() for _ in range(3)][-1]
    finally:
        ndl.set_matmul_precision("highest")
    again = compiled(x).numpy()
    assert np.abs(near - exact).max() > 0
    np.testing.assert_array_equal(again, exact)


def test_work_that_cannot_be_taken_down_is_made_call_by_call(backend: Any) -> None:
    """A call that waits ends the capture: the results are right, the reason is told, the queue goes on."""
    layout = Layout.compact((16,))
    a, b = View(backend.allocate(64), layout, float32), View(backend.allocate(64), layout, float32)
    backend.upload(a.buffer, 0, memoryview(np.full(16, -2.0, np.float32)).cast("B"))
    calls = [("unary", (Unary.ABS, b, a)), ("waiting", (b,)), ("unary", (Unary.SQUARE, a, b))]
    recording = backend.recording(calls, [], [(), (0,), (1,)])
    for expected in (4.0, 16.0, 256.0, 65536.0):
        recording.run()
        found = np.zeros(16, np.float32)
        backend.download(a.buffer, 0, memoryview(found).cast("B"))
        assert (found == expected).all()
    assert "made one by one: they cannot be taken down, waiting: " in recording.note
    assert (tensor(8) + 0).numpy().shape == (8,)


def test_copies_of_other_threads_are_not_taken_down(gpu: ndl.Device) -> None:
    """Another thread sends and fetches while work is taken down, again and again: Adam's step changes each time."""
    _, _, step = training(network, RULES["adam"])
    compiled = ndl.compile(step)
    x, y = tensor(16, 6), ndl.Tensor(np.arange(16) % 5)
    wrong: list[int] = []
    over = threading.Event()

    def copies() -> None:
        seed = 0
        while not over.is_set():
            seed += 1
            sent = np.random.default_rng(seed).standard_normal(50_000).astype(np.float32)
            if not np.array_equal(ndl.tensor(sent, device=gpu).numpy(), sent):
                wrong.append(seed)

    thread = threading.Thread(target=copies)
    thread.start()
    try:
        losses = [float(compiled(x, y)) for _ in range(100)]
    finally:
        over.set()
        thread.join()
    assert not wrong
    assert np.isfinite(losses).all()
    assert "as one CUDA graph" in graphs(compiled), compiled.explain()


def test_memory_goes_with_the_function(backend: Any) -> None:
    def used() -> int:
        gc.collect()
        return int(backend.memory_stats()["used"])

    x = tensor(256, 256)
    before = used()
    compiled = ndl.compile(lambda x: ((x @ x).exp() @ x).sum())
    for _ in range(4):
        compiled(x)
    assert used() > before
    del compiled
    assert used() == before


def test_errors_of_one_call_leave_the_next_right() -> None:
    compiled = ndl.compile(lambda x: x.exp() * 2 + 1)
    x = tensor(8)
    compiled(x)
    with pytest.raises(DeviceError):
        ndl.compile(lambda x: x + ndl.ones(8, device="numpy"))(x)
    np.testing.assert_array_equal(compiled(x).numpy(), (x.exp() * 2 + 1).numpy())


# Core's and needle-nn's own tests of compiled functions, here on the GPU.


def module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_on_gpu", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


CORE = module("needle-core/tests/test_compile.py")
TRAINING = module("needle-nn/tests/test_compiled_training.py")


@pytest.mark.parametrize("name", CORE.FUNCTIONS)
def test_functions_of_core_s_tests(name: str) -> None:
    CORE.test_equals_the_function(name)
    CORE.test_results_stay_when_the_function_is_called_again(name)


@pytest.mark.parametrize("rule", ["by_data", "by_adding_up", "by_dropping_first"])
def test_training_steps_of_core_s_tests(rule: str) -> None:
    eager, replayed = CORE.parameters(), CORE.parameters()
    expected = CORE.train(6, getattr(CORE, rule)(*eager))
    found = CORE.train(6, ndl.compile(getattr(CORE, rule)(*replayed)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for p, q in zip(replayed, eager, strict=True):  # near, not equal: a recording's products are by tuned algorithms
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-4, atol=1e-6)
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TRAINING.ROWS)
def test_recipes_of_needle_nn_s_tests(name: str) -> None:
    expected, found = (TRAINING.run(TRAINING.ROWS[name], compiled) for compiled in (False, True))
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-3, atol=1e-4)
    for answer, right in zip(found[2], expected[2], strict=True):  # a bias before a batch norm is noise to Adam
        np.testing.assert_allclose(answer, right, atol=0.05 * np.abs(right).max())

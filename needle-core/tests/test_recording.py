"""Devices that record: core's side of it, on a backend that repeats calls in any order that is allowed."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import dispatch, nn, optim
from needle.backend import View
from needle.device import Device
from needle.layout import Layout
from needle.program.order import order
from needle.program.plan import Execution
from needle.reference import NumpyBackend
from needle.registry import registry


class Taken:
    """Calls that are made in an order chosen anew at each run, among those that `after` allows."""

    note = "taken down"

    def __init__(self, backend: Any, calls: Any, moving: Any, after: Any) -> None:
        self.backend, self.calls, self.moving, self.after = backend, list(calls), moving, after
        self.addresses: list[int] = []
        self.taken = self.updates = 0

    def update(self, call: int, args: Any) -> None:
        self.calls[call] = (self.calls[call][0], args)
        self.updates += 1

    def run(self) -> None:
        addresses = [id(view.buffer) for view in self.moving]
        self.taken += addresses != self.addresses
        self.addresses = addresses
        left, done = list(range(len(self.calls))), set[int]()
        while left:
            call = self.backend.chooser.choice([i for i in left if set(self.after[i]) <= done])
            op, args = self.calls[call]
            getattr(self.backend, op)(*args)
            left.remove(call)
            done.add(call)


class Recorder(NumpyBackend):
    strided = NumpyBackend.strided | {"elementwise"}

    def __init__(self) -> None:
        self.recordings: list[Taken] = []
        self.chooser = random.Random(0)

    def elementwise(self, dsts: Any, srcs: Any, expression: Any, scalars: Any) -> None:
        """Step by step, each in memory of its own."""
        shape = dsts[0].layout.shape
        values = [self._shaped(src, shape) for src in srcs]
        for step in expression.steps:
            layout = Layout.compact(shape)
            out = View(self.allocate(layout.size * step.result.itemsize), layout, step.result)
            inputs = [values[i] for i in step.inputs]
            if step.op == "binary_scalar":
                self.binary_scalar(step.kind, out, inputs[0], scalars[step.scalar], step.swapped)
            else:
                getattr(self, step.op)(*(() if step.kind is None else (step.kind,)), out, *inputs)
            values.append(out)
        for dst, result in zip(dsts, expression.results, strict=True):
            self.copy(dst, values[result])

    def _shaped(self, src: View, shape: Any) -> View:
        if src.layout.shape == shape or src.layout.size == 1:
            return src
        return View(src.buffer, src.layout.reshape(shape), src.dtype)

    def recording(self, calls: Any, moving: Any, after: Any) -> Any:
        self.recordings.append(Taken(self, calls, moving, after))
        return self.recordings[-1]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Any:
    backend, device = Recorder(), Device("recorder")
    monkeypatch.setitem(registry._backends, device, backend)
    monkeypatch.delitem(dispatch._dispatchers, device, raising=False)
    yield backend
    dispatch._dispatchers.pop(device, None)


def tensor(*shape: int, seed: int = 0, **options: Any) -> ndl.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return ndl.tensor(values, device=Device("recorder"), **options)


def network() -> Any:
    np.random.seed(0)
    return nn.Sequential(
        nn.Linear(6, 8, device=Device("recorder")), nn.ReLU(), nn.Linear(8, 3, device=Device("recorder"))
    )


def step_of(model: Any, optimizer: Any) -> Callable[..., Any]:
    def step(x: ndl.Tensor) -> ndl.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@pytest.mark.parametrize("rule", [lambda p: optim.SGD(p, 0.1), lambda p: optim.Adam(p, 0.01)])
def test_training_is_right_in_every_order(recorder: Any, rule: Any) -> None:
    eager, taken = network(), network()
    first, second = step_of(eager, rule(eager.parameters())), ndl.compile(step_of(taken, rule(taken.parameters())))
    for seed in range(20):
        x = tensor(5, 6, seed=seed)
        assert float(second(x)) == pytest.approx(float(first(x)), rel=1e-6)
    for p, q in zip(eager.parameters(), taken.parameters(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-5, atol=1e-6)
    assert "recorder:0: taken down" in second.explain()


def test_the_same_input_and_dropped_results_stay_where_they_are(recorder: Any) -> None:
    model = network()
    step, x = ndl.compile(step_of(model, optim.SGD(model.parameters(), 0.1))), tensor(5, 6)
    for _ in range(8):
        step(x)
    assert recorder.recordings[0].taken == 1


def test_inputs_that_move_are_copied(recorder: Any) -> None:
    f = ndl.compile(lambda x: (x * 2).exp().sum() + x.sum())
    inputs = [tensor(7, seed=i) for i in range(10)]
    found = [float(f(x)) for x in inputs]
    expected = [float(np.exp(2 * x.numpy()).sum() + x.numpy().sum()) for x in inputs]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert recorder.recordings[0].taken <= 4


def test_results_that_people_keep_are_theirs(recorder: Any) -> None:
    f = ndl.compile(lambda x: (x * 2, x.sum() + 1))
    inputs = [tensor(4, seed=i) for i in range(10)]
    kept = [f(x) for x in inputs]
    for x, (doubled, total) in zip(inputs, kept, strict=True):
        np.testing.assert_array_equal(doubled.numpy(), x.numpy() * 2)
        assert float(total) == pytest.approx(float(x.numpy().sum() + 1), rel=1e-5, abs=1e-5)
    assert recorder.recordings[0].taken <= 5


def test_an_input_that_is_written_is_meant_itself(recorder: Any) -> None:
    @ndl.compile
    def double(x: ndl.Tensor) -> None:
        x[...] = x * 2 + 0

    for seed in range(6):
        x = tensor(5, seed=seed)
        before = x.numpy().copy()
        double(x)
        np.testing.assert_array_equal(x.numpy(), before * 2)


def test_numbers_that_change_reach_the_recording(recorder: Any) -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.1)
    step, x = ndl.compile(step_of(model, optimizer)), tensor(5, 6)
    for _ in range(3):
        step(x)
    assert recorder.recordings[0].updates == 0
    before = [p.numpy().copy() for p in model.parameters()]
    optimizer.lr = 0.0
    step(x)
    assert recorder.recordings[0].updates == 1
    for p, value in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), value)


def test_random_numbers_go_on(recorder: Any) -> None:
    def noisy(x: ndl.Tensor) -> ndl.Tensor:
        return x + ndl.rand(4, device=x.device) * ndl.randn(4, device=x.device)

    compiled = ndl.compile(noisy)
    ndl.manual_seed(5)
    expected = [noisy(tensor(4)).numpy() for _ in range(5)]
    ndl.manual_seed(5)
    np.testing.assert_array_equal([compiled(tensor(4)).numpy() for _ in range(5)], expected)


@pytest.mark.parametrize("dropped", [False, True])
def test_large_parameters_are_updated_together_unless_their_gradients_die(recorder: Any, dropped: bool) -> None:
    device = Device("recorder")
    model = nn.Sequential(nn.Linear(300, 300, device=device), nn.ReLU(), nn.Linear(300, 300, device=device))
    optimizer = optim.SGD(model.parameters(), 0.1)

    @ndl.compile
    def step(x: ndl.Tensor) -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        if dropped:
            optimizer.zero_grad()

    step(tensor(2, 300))
    steps = [node.op for node in step.graphs()[0].nodes].count("sgd_step")
    assert steps == (3 if dropped else 1)


def test_a_device_may_decline(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Recorder, "recording", lambda self, calls, moving, after: asked.append(len(calls)))
    compiled = ndl.compile(lambda x: (x @ x) @ x)
    for seed in range(3):
        x = tensor(5, 5, seed=seed)
        np.testing.assert_allclose(compiled(x).numpy(), np.linalg.matrix_power(x.numpy(), 3), rtol=1e-4, atol=1e-5)
    assert asked == [2]
    assert "recorder" not in compiled.explain()


def test_precision_and_autocast_are_part_of_the_kind(recorder: Any) -> None:
    w = tensor(3, 3)
    f = ndl.compile(lambda x: x @ w)
    x = tensor(2, 3)
    assert f(x).dtype == "float32"
    with ndl.autocast("float16"):
        assert f(x).dtype == "float16"
    ndl.set_matmul_precision("high")
    try:
        f(x)
    finally:
        ndl.set_matmul_precision("highest")
    assert f(x).dtype == "float32"
    assert f.captures == 3


def test_a_convolution_its_norm_and_its_activation_are_two_nodes(recorder: Any) -> None:
    np.random.seed(0)
    device = Device("recorder")

    def part() -> Any:
        return nn.Sequential(nn.Conv(3, 3, 3, device=device), nn.BatchNorm2d(3, device=device), nn.ReLU())

    model = nn.Sequential(part(), nn.Residual(part()))
    for norm in (model.modules[0].modules[1], model.modules[1].fn.modules[1]):
        norm.running_mean.array.assign(tensor(3, seed=4).array)
        norm.running_var.array.assign(tensor(3, seed=5).exp().array)
    model.eval()
    with ndl.no_grad():
        compiled = ndl.compile(model)
        for seed in range(3):
            x = tensor(2, 3, 6, 6, seed=seed)
            np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-6)
    images = [node.op for node in compiled.graphs()[0].nodes if node.writes[0].layout.size > 3]
    assert images.count("conv2d") == images.count("elementwise") == 2
    assert not {"batch_norm", "unary", "binary"} & set(images)


def test_order_says_what_must_wait() -> None:
    x = ndl.Tensor(np.ones((4, 4), np.float32))
    compiled = ndl.compile(lambda x: ((x @ x).sum(), (x @ x.T).sum(), x.exp() @ x), disable="common_subexpressions")
    compiled(x)
    graph = compiled.graphs()[0]
    after = order(graph.nodes, Execution(graph).memory)
    names = [node.name for node in graph.nodes]
    assert [names[j] for j in after[names.index("sum")]] == ["matmul"]
    assert after[names.index("exp")] == () or all(names[j] == "sum" for j in after[names.index("exp")])
    behind: list[set[int]] = []
    for those in after:
        behind.append(set(those).union(*(behind[j] for j in those)))
        assert all(j not in behind[k] for j in those for k in those)  # nothing is said twice

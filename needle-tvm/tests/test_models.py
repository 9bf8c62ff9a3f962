"""Whole models and training steps against eager ones."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle as ndl
import needle_tvm
from needle import nn
from needle.errors import DeviceError, UnsupportedError
from needle.reference import NumpyBackend

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "course"))
from apps.models import ResNet9

STYLES = ["te", "relax"]


def batch(*shape: int, seed: int = 1, **options: Any) -> ndl.Tensor:
    return ndl.Tensor(np.random.default_rng(seed).standard_normal(shape).astype("float32"), **options)


def seeds_mlp(device: Any) -> nn.Module:
    """Two layers of 512, as the course's project had them."""
    np.random.seed(0)
    layers = [nn.Linear(512, 512, device=device), nn.ReLU(), nn.Linear(512, 512, device=device), nn.ReLU()]
    return nn.Sequential(*layers)


def functions(module: Any) -> set[str]:
    return {variable.name_hint for variable in module.get_global_vars()}


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "two layers": (seeds_mlp, (32, 512)),
    "three layers, odd sizes": (
        lambda device: nn.Sequential(
            nn.Linear(30, 50, device=device), nn.Tanh(), nn.Linear(50, 17, device=device), nn.ReLU(),
            nn.Linear(17, 3, device=device),
        ), (7, 30),
    ),
    "norms": (
        lambda device: nn.Sequential(
            nn.Linear(30, 64, device=device), nn.LayerNorm1d(64, device=device), nn.ReLU(),
            nn.BatchNorm1d(64, device=device),
        ), (7, 30),
    ),
    "a transformer layer": (lambda device: nn.TransformerLayer(32, 4, 8, 48, device=device), (2, 10, 32)),
    "ResNet9": (lambda device: ResNet9(device=device), (2, 3, 32, 32)),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", MODELS)
def test_inference(name: str, style: str, device: Any) -> None:
    make, shape = MODELS[name]
    ndl.manual_seed(0)
    model, x = make(device), batch(*shape, device=device)
    model.eval()
    with ndl.no_grad():
        compiled = ndl.compile(model, compiler="tvm", style=style)
        compiled(x)
        for seed in (2, 3):
            x = batch(*shape, seed=seed, device=device)
            np.testing.assert_allclose(compiled(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-5)
    assert compiled.captures == 1


@pytest.mark.parametrize(
    ("style", "fused"),
    [("te", {"main", "te_reshape", "fused_te_matmul_te_broadcast_to_te_ewise_add_te_relu"}),
     ("relax", {"main", "reshape", "fused_matmul_broadcast_to_add_relu"})],
)  # fmt: skip
def test_names_of_fused_functions(style: Any, fused: set[str], device: Any) -> None:
    module = needle_tvm.module(seeds_mlp(device), batch(32, 512, device=device), style=style)
    if style == "te":
        assert functions(module) == {
            "main", "te_matmul", "te_reshape", "te_broadcast_to", "te_ewise_add", "te_relu"
        }  # fmt: skip
        assert 'Const"][3],)' in str(module)  # weights are constants here
    assert functions(needle_tvm.fuse(module)) == fused


def test_the_module_runs_by_itself(device: Any) -> None:
    import tvm  # noqa: PLC0415

    model, x = seeds_mlp(device), batch(32, 512, device=device)
    machine = needle_tvm.build(needle_tvm.schedule(needle_tvm.fuse(needle_tvm.module(model, x))))
    found = machine["main"](tvm.runtime.tensor(x.numpy())).numpy()
    weights = [p.numpy() for p in model.parameters()]
    expected = np.maximum(np.maximum(x.numpy() @ weights[0] + weights[1], 0) @ weights[2] + weights[3], 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_weights_are_read_anew(device: Any) -> None:
    layer, x = nn.Linear(8, 8, device=device), batch(4, 8, device=device)
    with ndl.no_grad():
        compiled = ndl.compile(layer, compiler="tvm")
        compiled(x)
        layer.weight.data = ndl.ones(8, 8, device=device)  # other memory
        np.testing.assert_allclose(compiled(x).numpy(), layer(x).numpy(), rtol=1e-5, atol=1e-5)
        layer.bias.data += 3  # the same
        np.testing.assert_allclose(compiled(x).numpy(), layer(x).numpy(), rtol=1e-5, atol=1e-5)
    assert compiled.captures == 1


def test_results_lie_in_needles_memory(device: Any) -> None:
    """The last functions write where Needle's tensors are: nothing is left to be copied."""
    compiled = ndl.compile(lambda x: (x.exp(), x.tanh()), compiler="tvm")
    x = batch(32, 64, device=device)
    compiled(x)
    first, second = compiled(x), compiled(x)
    (program,) = compiled.programs[next(iter(compiled.programs))]
    assert program.execution.direct == [0, 1]
    np.testing.assert_array_equal(first[1].numpy(), second[1].numpy())
    assert first[1].array.buffer is not second[1].array.buffer


def test_the_beginning_of_a_larger_array(device: Any) -> None:
    """Its memory ends elsewhere than that of an array of its own."""
    large, small = batch(64, 7, device=device), batch(5, 7, seed=2, device=device)
    compiled = ndl.compile(lambda x: x.exp() + x[1:3, 2:4].sum(), compiler="tvm")
    for x in (large[:5], small, large[:5]):
        compiled(x)
        expected = np.exp(x.numpy()) + x.numpy()[1:3, 2:4].sum()
        np.testing.assert_allclose(compiled(x).numpy(), expected, rtol=1e-5, atol=1e-5)
    assert compiled.captures == 1


def test_numpys_device(device: Any) -> None:
    x = batch(5, 7, device="numpy")
    compiled = ndl.compile(lambda x: x.exp() + 1, compiler="tvm")
    compiled(x)
    np.testing.assert_allclose(compiled(x).numpy(), np.exp(x.numpy()) + 1, rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_steps(momentum: float, device: Any) -> None:
    """An MLP's step by SGD, with a rate that changes, against the same steps done eagerly."""
    runs = []
    for compiler in (None, "tvm"):
        np.random.seed(0)
        model = nn.Sequential(nn.Linear(20, 32, device=device), nn.ReLU(), nn.Linear(32, 5, device=device))
        optimizer = ndl.optim.SGD(model.parameters(), lr=0.1, momentum=momentum, weight_decay=0.01)

        def step(x: Any, y: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = ndl.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = step if compiler is None else ndl.compile(step, compiler=compiler)
        losses = []
        for i in range(12):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + i)
            y = ndl.Tensor(np.arange(9) % 5, dtype="int32", device=device)
            losses.append(run(batch(9, 20, seed=i % 3, device=device), y).item())
        runs.append((losses, [p.numpy() for p in model.parameters()]))
    np.testing.assert_allclose(runs[1][0], runs[0][0], rtol=1e-5)
    for found, expected in zip(runs[1][1], runs[0][1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_gradients_of_softmax(device: Any) -> None:
    def gradients(x: Any) -> Any:
        return ndl.grad(lambda x: (x.softmax(1) * x).sum() + (x.log_softmax(1) * x).sum())(x)

    compiled, x = ndl.compile(gradients, compiler="tvm"), batch(5, 9, device=device)
    compiled(x)
    np.testing.assert_allclose(compiled(x).numpy(), gradients(x).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: ndl.sort(x, 1), "tvm: there is no translation of argsort"),
        (lambda x: ndl.cumsum(x, 1), "tvm: there is no translation of cumsum"),
        (lambda x: ndl.rand(3, 4, device=x.device) + x, "tvm: there is no translation of uniform"),
        (lambda x: ndl.grad(lambda w: ndl.conv2d(x.reshape(1, 1, 3, 4), w).sum())(x[:2, :2].reshape(2, 2, 1, 1)),
         "tvm: there is no translation of conv2d_grad_weight"),
        (lambda x: x.astype("float16") + 1, "tvm: there is no translation of float16; compute in float32"),
    ],
)  # fmt: skip
def test_what_has_no_translation(function: Any, text: str, device: Any) -> None:
    with pytest.raises(UnsupportedError, match=text):
        ndl.compile(function, compiler="tvm")(batch(3, 4, device=device))


def test_memory_elsewhere(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = ndl.compile(lambda x: x + 1, compiler="tvm")
    monkeypatch.setattr(NumpyBackend, "host_view", lambda self, buffer: None)
    with pytest.raises(DeviceError, match="tvm runs on the processor, and numpy:0 has no memory on the host"):
        compiled(batch(3, 4, device="numpy"))


def test_the_readme(device: Any) -> None:
    """Its programs run, but for the search, which test_tuning runs."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    lines = [line for line in program.splitlines() if "tuned" not in line and not line.startswith("print(")]
    found: dict[str, Any] = {}
    exec("\n".join(lines), found)
    np.testing.assert_allclose(found["result"], found["y"].numpy(), rtol=1e-5, atol=1e-5)

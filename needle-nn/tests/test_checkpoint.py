"""Checkpoints: what comes back, what is refused, and that a kill never leaves a broken file."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import needle
from needle import Tensor, nn, optim
from needle.errors import DataError, ShapeError
from needle.nn import checkpoint


def make(device: Any = None, hidden: int = 5) -> tuple[nn.Module, optim.Optimizer]:
    model = nn.Sequential(nn.Linear(4, hidden, device=device), nn.ReLU(), nn.Linear(hidden, 3, device=device))
    return model, optim.Adam(model.parameters(), lr=0.1)


def train(model: nn.Module, optimizer: optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        x = Tensor(np.random.randn(6, 4), dtype="float32", device=optimizer.params[0].device)
        optimizer.reset_grad()
        (model(x) ** 2.0).sum().backward()
        optimizer.step()


def bits(model: nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]


def test_all_comes_back(tmp_path: Path, device: needle.Device) -> None:
    needle.manual_seed(0)
    model, optimizer = make(device)
    train(model, optimizer)
    checkpoint.save(tmp_path / "deep" / "c.safetensors", model, optimizer, epoch=3, settings={"lr": 0.1})
    train(model, optimizer)
    drawn = needle.init.rand(3).numpy().tolist(), np.random.rand()

    needle.manual_seed(1)
    again, second = make(device)
    facts = checkpoint.load(tmp_path / "deep" / "c.safetensors", again, second, random=True)
    assert facts == {"epoch": 3, "settings": {"lr": 0.1}} == checkpoint.facts(tmp_path / "deep" / "c.safetensors")
    train(again, second)
    assert bits(again) == bits(model)
    assert (needle.init.rand(3).numpy().tolist(), np.random.rand()) == drawn


def test_without_asking_random_numbers_go_on(tmp_path: Path) -> None:
    model, _ = make()
    checkpoint.save(tmp_path / "c", model)
    np.random.seed(5)
    checkpoint.load(tmp_path / "c", model)
    assert np.random.rand() == np.random.RandomState(5).rand()


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    model, optimizer = make()
    train(model, optimizer)
    checkpoint.save(tmp_path / "c", model, optimizer)
    arrays = safetensors.numpy.load_file(tmp_path / "c")
    assert sorted(arrays)[:4] == ["model.0.bias", "model.0.weight", "model.2.bias", "model.2.weight"]
    assert "optimizer.mean.0" in arrays
    np.testing.assert_array_equal(arrays["model.0.weight"], model.state_dict()["0.weight"].numpy())


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_types_are_exact(dtype: str, tmp_path: Path) -> None:
    source, target = (nn.Linear(3, 2, device="numpy").to(dtype=dtype) for _ in range(2))
    checkpoint.save(tmp_path / "c", source)
    checkpoint.load(tmp_path / "c", target)
    assert bits(source) == bits(target)
    assert target.weight.dtype == dtype


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    model, optimizer = make()
    train(model, optimizer)
    checkpoint.save(path, model, optimizer)

    def refused(error: type[Exception], *args: Any) -> str:
        with pytest.raises(error) as caught:
            checkpoint.load(path, *args)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    wider, _ = make(hidden=7)
    assert refused(ShapeError, wider) == (
        f"{path}: Sequential: the state is of another model: "
        "0.weight is (4, 5), not (4, 7), 0.bias is (1, 5), not (1, 7), 2.weight is (5, 3), not (7, 3)"
    )
    assert refused(DataError, nn.Linear(2, 2)) == (
        f"{path}: Linear: the state is of another model: missing weight, bias; "
        "unexpected 0.bias, 0.weight, 2.bias, 2.weight"
    )
    assert refused(DataError, model, optim.SGD(model.parameters())) == f"{path}: SGD: the state is of Adam"
    checkpoint.save(path, model)
    assert refused(DataError, model, optimizer) == f"{path}: Adam: the state is of no optimizer"

    safetensors.numpy.save_file({"weight": np.ones(2)}, path)
    assert "a safetensors file, but no checkpoint of Needle's; use load_state_dict" in refused(DataError, model)
    path.unlink()
    assert refused(DataError, model).startswith(f"{path}: cannot be read: ")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_truncated(share: float, tmp_path: Path) -> None:
    model, _ = make()
    checkpoint.save(tmp_path / "c", model)
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"c: truncated, or not a safetensors file \(.*\); take an earlier checkpoint$"):
        checkpoint.load(tmp_path / "c", model)


def test_garbage(tmp_path: Path) -> None:
    model, _ = make()
    (tmp_path / "c").write_bytes(b"\x10\0\0\0\0\0\0\0{this is no json}" + bytes(99))
    with pytest.raises(DataError, match="truncated, or not a safetensors file"):
        checkpoint.load(tmp_path / "c", model)


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "JSONDecodeError: .*"), ("[]", "AttributeError: .*"), ("{}", "no 'facts'")]
)
def test_a_damaged_header(text: str, reason: str, tmp_path: Path) -> None:
    model, _ = make()
    arrays = {f"model.{name}": value.numpy() for name, value in model.state_dict().items()}
    safetensors.numpy.save_file(arrays, tmp_path / "c", {"needle": text})
    for read in (lambda: checkpoint.load(tmp_path / "c", model), lambda: checkpoint.facts(tmp_path / "c")):
        with pytest.raises(DataError, match=rf"c: damaged \({reason}\); take an earlier checkpoint$"):
            read()


_WRITER = """
import sys
import numpy as np
from needle import nn
from needle.nn import checkpoint
model, number = nn.Linear(500, 500), 0
while True:
    number += 1
    for parameter in model.parameters():
        parameter.array.assign(number)
    checkpoint.save(sys.argv[1], model, number=number)
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path, model, seen = tmp_path / "c", nn.Linear(500, 500), 0
    for delay in (0.0, 0.003, 0.007, 0.012, random.Random().random() / 50):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(3)]
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        reported += [int(line) for line in writer.communicate()[0].split()]
        seen = checkpoint.load(path, model)["number"]
        assert reported[-1] <= seen <= reported[-1] + 1
        assert all(np.all(p.numpy() == seen) for p in model.parameters())
    assert {p.name for p in tmp_path.iterdir()} <= {"c", "c.tmp"}
    checkpoint.save(path, model)
    assert {p.name for p in tmp_path.iterdir()} == {"c"}


def test_facts_that_json_does_not_hold(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", nn.Linear(1, 1), kept=1)
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "c", nn.Linear(1, 1), thing=object())
    assert checkpoint.facts(tmp_path / "c") == {"kept": 1}


def test_random_state_is_json() -> None:
    state = json.loads(json.dumps(checkpoint.random_state()))
    first = np.random.randn(3).tolist()  # an odd number, so that one normal waits in the generator
    middle = json.loads(json.dumps(checkpoint.random_state()))
    second = np.random.randn(3).tolist()
    checkpoint.set_random_state(state)
    assert np.random.randn(3).tolist() == first
    checkpoint.set_random_state(middle)
    assert np.random.randn(3).tolist() == second

"""The examples run as they are, on tiny data."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle
from needle import nn, optim

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXT = "".join(f"the cat sat on the mat {'and ran ' * (i % 4)}\n" for i in range(120))


@pytest.fixture
def folder(tmp_path: Path, fashion_folder: Path, cifar_folder: Path) -> Path:
    """fashion, cifar-10-batches-py, train.txt and test.txt."""
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text(TEXT)
    return tmp_path


CALLS = {
    "mnist_mlp.py": ["--epochs", "1"],
    "digits_resnet.py": ["--epochs", "1", "--drawing", "first.svg"],
    "fashion_convnet.py": ["--epochs", "1", "--data", "fashion", "--batch-size", "20"],
    "cifar_resnet.py": ["--epochs", "1", "--data", ".", "--batch-size", "8", "--workers", "2"],
    "ptb_lstm.py": ["--epochs", "1", "--data", ".", "--width", "8"],
    "text_transformer.py": ["train.txt", "--epochs", "1", "--steps", "2", "--width", "8", "--layers", "1"],
}


def test_every_example_is_called() -> None:
    assert set(CALLS) == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", CALLS)
def test_it_runs(name: str, folder: Path) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *CALLS[name]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "epoch" in done.stdout
    assert not done.stderr
    if name == "digits_resnet.py":
        assert (folder / "first.svg").read_text().startswith("<svg")


def example(name: str) -> Any:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def images(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


def words(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.integers(0, 10, shape)


# Each example's model, its input, and the number of labels.
MODELS: dict[str, tuple[Callable[[], Any], Callable[[np.random.Generator], Any], int]] = {
    "mnist_mlp": (lambda: example("mnist_mlp").build_model(64, 20, needle.default_device()), images(8, 64), 8),
    "digits_resnet": (lambda: example("digits_resnet").build_model(), images(4, 1, 8, 8), 4),
    "fashion_convnet": (lambda: example("fashion_convnet").build_model(), images(2, 1, 28, 28), 2),
    "cifar_resnet": (lambda: example("cifar_resnet").ResNet9(), images(2, 3, 32, 32), 2),
    "ptb_lstm": (lambda: example("ptb_lstm").LanguageModel(10, 8), words(5, 3), 15),
    "text_transformer": (lambda: example("text_transformer").CharacterModel(10, 16, 1), words(2, 12), 24),
}


@pytest.mark.parametrize("name", MODELS)
def test_its_steps_are_the_same_compiled(name: str) -> None:
    """A hundred steps with Adam; the state of the recurrent one is handed from step to step."""
    make, draw, labels = MODELS[name]
    histories = []
    for compiled in (False, True):
        needle.manual_seed(0)
        rng = np.random.default_rng(1)
        batches = [(needle.Tensor(draw(rng)), needle.Tensor(rng.integers(0, 10, labels))) for _ in range(4)]
        model = make()
        optimizer, loss_of = optim.Adam(model.parameters(), 1e-3), nn.SoftmaxLoss()

        def step(x: Any, y: Any, *state: Any, own: Any = (model, optimizer, loss_of)) -> Any:
            model, optimizer, loss_of = own
            logits, *state = model(x, *state) if name == "ptb_lstm" else (model(x),)
            loss = loss_of(logits, y)
            optimizer.reset_grad()
            loss.backward()
            optimizer.step()
            return loss.detach(), *state

        run_step, seen = needle.compile(step) if compiled else step, []
        state: Any = [None] if name == "ptb_lstm" else []
        for i in range(100):
            loss, *state = run_step(*batches[i % 4], *state)
            seen.append(float(loss))
        histories.append(seen)
        if compiled:
            assert run_step.captures == 1 + (name == "ptb_lstm")
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-5)

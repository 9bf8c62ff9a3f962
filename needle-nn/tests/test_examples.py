"""The examples run as they are, on tiny data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

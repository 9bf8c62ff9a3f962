"""`needle train`, end to end on small settings."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle
from needle.cli import main
from needle_nn.nn import checkpoint
from needle_nn.train import curve, report
from needle_nn.train.recipe import Settings
from needle_nn.train.recipes import RECIPES
from needle_nn.train.recipes.digits import DIGITS
from needle_nn.train.trainer import Trainer


def call(*args: Any) -> int:
    """The command; argparse's exits become statuses."""
    try:
        return main(["train", *map(str, args)])
    except SystemExit as exit_:
        return int(exit_.code or 0)


def history(folder: Path) -> list[dict[str, Any]]:
    epochs: list[dict[str, Any]] = json.loads((folder / "history.json").read_text())["epochs"]
    return epochs


def results(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history(folder)]


def weights(folder: Path) -> dict[str, bytes]:
    arrays, _ = checkpoint._read(folder / "checkpoint.safetensors")
    return {name: array.tobytes() for name, array in arrays.items()}


def test_digits(tmp_path: Path, device: needle.Device, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("digits", "--device", device, "--out", tmp_path / "run") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = history(tmp_path / "run")
    assert f"digits on {device}: 1,501 training and 296 test images" in lines[0]
    assert sum(line.startswith("epoch ") for line in lines) == DIGITS.epochs == len(rows)
    assert rows[-1]["test_accuracy"] >= 0.97
    assert rows[-1]["loss"].hex() in lines[-2]
    files = ["checkpoint.safetensors", "curve.png", "history.json"]
    assert lines[-1].endswith(": " + ", ".join(files))
    assert (tmp_path / "run" / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_devices_agree(tmp_path: Path, device: needle.Device) -> None:
    for name in ("numpy", device):
        assert call("digits", "--device", name, "--out", tmp_path / str(name), "--epochs", 2) == 0
    here, reference = (history(tmp_path / str(name))[-1]["loss"] for name in (device, "numpy"))
    assert here == pytest.approx(reference, abs=1e-4)


def test_seeds(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert call("digits", "--epochs", 1, "--seed", seed, "--out", tmp_path / name) == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_fashion_mnist(tmp_path: Path, fashion_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--data", fashion_folder, "--epochs", 2, "--batch-size", 16, "--lr", 0.01, "--out", tmp_path / "run")
    assert call("fashion-mnist-mlp", *options) == 0
    assert "60 training and 20 test images" in capsys.readouterr().out
    assert call("fashion-mnist-mlp", "--resume", "--epochs", 3, "--out", tmp_path / "run") == 0
    assert len(history(tmp_path / "run")) == 3


def test_plot(tmp_path: Path) -> None:
    assert call("digits", "--epochs", 2, "--plot", "--out", tmp_path / "plot") == 0
    assert call("digits", "--epochs", 2, "--out", tmp_path / "plain") == 0
    assert weights(tmp_path / "plot") == weights(tmp_path / "plain")
    steps = [row["steps"] for row in history(tmp_path / "plot")]
    assert [set(row["steps"]) for row in history(tmp_path / "plain")] == [{"lr"}] * 2
    for row in steps:
        columns = [row[f"gradient_norm{which}"] for which in ("_least", "", "_largest")]
        assert {len(column) for column in (*columns, row["lr"])} == {16}  # 47 steps, three by three
        assert all(0 < least <= mean <= largest for least, mean, largest in zip(*columns, strict=True))
    rates = steps[0]["lr"] + steps[1]["lr"]
    assert rates == sorted(rates, reverse=True)
    assert steps[1]["lr"][-1] == pytest.approx(0, abs=1e-5)


def test_the_picture(tmp_path: Path) -> None:
    """Two panels, or four where norms are known; and after a resumption without --plot some epochs have none."""
    row = {"loss": 1.0, "test_loss": 2.0, "train_accuracy": 0.5, "test_accuracy": 0.4}
    norms = {f"gradient_norm{which}": [1.0, 2.0] for which in ("", "_least", "_largest")}
    plain = [{**row, "epoch": i, "steps": {"lr": [0.1, 0.05]}} for i in (1, 2)]
    mixed = [plain[0], {**plain[1], "steps": {"lr": [0.1, 0.05], **norms}}]
    sizes = []
    for name, rows in (("plain", plain), ("mixed", mixed)):
        assert curve.draw(tmp_path / f"{name}.png", "title", rows, DIGITS.measure, DIGITS.unit)
        sizes.append(int.from_bytes((tmp_path / f"{name}.png").read_bytes()[20:24], "big"))
    assert sizes[0] < sizes[1]


class Stop:
    """Answers yes once, after so many batches."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("batches", [1, 20, 47, 60])
def test_a_run_stopped_anywhere_ends_as_one_that_was_not(batches: int, tmp_path: Path, device: needle.Device) -> None:
    def trainer() -> Trainer:
        settings = Settings("digits", str(device), epochs=2, batch_size=32, lr=0.003, seed=7)
        return Trainer(DIGITS, settings, DIGITS.data(None, False))

    whole = trainer()
    while not whole.done:
        whole.train_epoch(lambda number, loss: None, lambda: False)
    whole.save(tmp_path / "whole" / "checkpoint.safetensors")

    first, stop = trainer(), Stop(batches)
    while first.train_epoch(lambda number, loss: None, stop) and stop.left > 0:
        pass
    first.save(tmp_path / "stopped" / "checkpoint.safetensors")

    needle.manual_seed(99)
    second = trainer()
    second.load(tmp_path / "stopped" / "checkpoint.safetensors")
    assert len(second.history) * 47 + (len(second.epoch.tally.sizes) if second.epoch else 0) == batches
    while not second.done:
        second.train_epoch(lambda number, loss: None, lambda: False)
    second.save(tmp_path / "stopped" / "checkpoint.safetensors")

    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert [{**row, "seconds": 0} for row in second.history] == [{**row, "seconds": 0} for row in whole.history]


# The command `needle`; a shell's background jobs, in which tests may run, ignore the signal.
SCRIPT = """
import signal, sys
from needle.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def start(folder: Path, *args: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, "train", *args]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def finish(process: "subprocess.Popen[str]", status: int = 0) -> str:
    """What it printed further, after it ended as expected."""
    text, _ = process.communicate(timeout=120)
    assert process.returncode == status, text
    return text


def wait_for(text: str, process: "subprocess.Popen[str]") -> str:
    """The first line with this text."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError("".join(seen))


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    options = ("digits", "--device", "numpy", "--epochs", "8")
    process = start(tmp_path, *options)
    wait_for("epoch 2/8", process)
    process.send_signal(signal.SIGINT)
    text = finish(process, status=130)
    assert "stopping after this batch" in text
    assert "saved in runs/digits. To go on:\n  needle train digits --resume\n" in text
    assert (tmp_path / "runs" / "digits" / "curve.png").exists()

    assert "going on after" in finish(start(tmp_path, "digits", "--resume"))
    finish(start(tmp_path, *options, "--out", "whole"))
    assert weights(tmp_path / "runs" / "digits") == weights(tmp_path / "whole")
    assert results(tmp_path / "runs" / "digits") == results(tmp_path / "whole")


def test_ctrl_c_ends_the_workers_quietly(tmp_path: Path) -> None:
    options = ("digits", "--device", "numpy", "--epochs", "50", "--workers", "2")
    process = start(tmp_path, *options, process_group=0)
    wait_for(" 2/50", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    text = finish(process, status=130)
    assert "To go on:" in text
    assert "Traceback" not in text


def test_a_killed_run_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    options = ("digits", "--device", "numpy", "--epochs", "4")
    process = start(tmp_path, *options)
    wait_for("epoch 2/4", process)
    process.kill()
    finish(process, status=-signal.SIGKILL)
    finish(start(tmp_path, "digits", "--resume"))
    finish(start(tmp_path, *options, "--out", "whole"))
    assert weights(tmp_path / "runs" / "digits") == weights(tmp_path / "whole")


def test_a_run_can_be_made_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", tmp_path)
    assert call("digits", *out, "--epochs", 1) == 0
    assert call("digits", *out, "--resume", "--epochs", 2) == 0
    assert len(history(tmp_path)) == 2
    capsys.readouterr()
    assert call("digits", *out, "--resume") == 0
    assert "going on after epoch 2 of 2" in capsys.readouterr().out
    assert call("digits", *out, "--epochs", 1) == 0
    assert f"{tmp_path} holds an earlier run, which this one replaces" in capsys.readouterr().out
    assert len(history(tmp_path)) == 1


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*args: Any, status: int = 1) -> str:
        assert call(*args) == status
        text = capsys.readouterr().err.rstrip("\n")
        assert status == 2 or "\n" not in text
        return text

    kept = tmp_path / "checkpoint.safetensors"
    out = ("--out", tmp_path)
    assert error("digits", "--resume", *out) == f"needle: {kept}: no such file; start the run without --resume"
    assert "no device 'nothing'" in error("digits", "--device", "nothing", *out)
    assert "apt install dataset-fashion-mnist" in error("fashion-mnist", "--data", tmp_path, *out)
    assert "argument --epochs: 0 is not above 0" in error("digits", "--epochs", 0, status=2)
    assert "argument --lr: invalid float value: 'fast'" in error("digits", "--lr", "fast", status=2)
    assert "argument --workers: -1 is not above 0" in error("digits", "--workers", -1, status=2)
    assert "RECIPE" in error(status=2)
    (tmp_path / "file").touch()
    assert "file/run/history.json.tmp: cannot be written: Not a directory" in error(
        "digits", "--out", tmp_path / "file/run"
    )
    assert call("digits", "--epochs", 1, *out) == 0
    capsys.readouterr()
    assert error("digits", "--resume", "--lr", 0.5, *out) == (
        f"needle: {kept}: the run has --lr 0.002, not 0.5; leave it out, or choose another --out"
    )
    assert "the run has recipe digits, not fashion-mnist" in error("fashion-mnist", "--resume", *out)
    kept.write_bytes(kept.read_bytes()[:5000])
    assert "truncated, or not a safetensors file" in error("digits", "--resume", *out)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for args in ((), *((name,) for name in RECIPES)):
        assert call(*args, "--help") == 0
        text = capsys.readouterr().out
        assert "needle train digits --resume" in text
        assert "Ctrl-C saves" in text


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(curve, "Figure", None)
    monkeypatch.setattr(report, "Console", None)
    assert call("digits", "--epochs", 1, "--out", tmp_path) == 0
    text = capsys.readouterr().out
    assert "no curve.png, since Matplotlib is not installed: pip install 'needle-nn[train]'" in text
    assert not (tmp_path / "curve.png").exists()
    assert "final loss" in text


def test_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(report, "_EVERY", 0.0)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    shown = report.Report()
    assert shown.console is not None
    with shown.bar("epoch 1/2", 3, 5) as on_batch:
        on_batch(4, needle.Tensor(np.float32(0.5)))
    assert "epoch 1/2" in capsys.readouterr().out

"""Every recipe on small data, stopped and resumed, on every device."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle
from needle.cli import main
from needle.errors import DataError
from needle_nn.nn import checkpoint
from needle_nn.train.recipe import PERPLEXITY, Recipe, Settings
from needle_nn.train.recipes import RECIPES, cifar, ptb, text
from needle_nn.train.trainer import Trainer

WORDS = "the cat sat on the mat and the dog ran to the cat\n"
STEPS = 100  # that are compared, compiled and eager
FEW = {"numpy": 4, "msl": 4, "mps": 4}  # images or texts in a batch, where more would take long (Metal is simulated)
SENTENCES = "".join(f"{WORDS[: 7 + i % 40]}\n" for i in range(200))


@pytest.fixture
def word_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "train.txt").write_text(SENTENCES)
    (folder / "test.txt").write_text(SENTENCES[:700])
    return folder


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "cats.txt"
    path.write_text(SENTENCES)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Language models so small that tests are quick."""
    monkeypatch.setattr(text, "LENGTH", 12)
    monkeypatch.setattr(text, "STEPS", 5)
    monkeypatch.setattr(ptb, "LENGTH", 6)

    def characters(train: Any, settings: Settings, device: needle.Device) -> Any:
        return text.CharacterModel(len(train.alphabet), device, width=16, layers=1)

    def words(train: Any, settings: Settings, device: needle.Device) -> Any:
        return ptb.WordModel(len(train.dictionary), settings.batch_size, device, width=12)

    monkeypatch.setitem(RECIPES, "text", replace(RECIPES["text"], model=characters))
    monkeypatch.setitem(RECIPES, "ptb", replace(RECIPES["ptb"], model=words))


@pytest.fixture
def places(fashion_folder: Path, cifar_folder: Path, word_folder: Path, text_file: Path) -> dict[str, Path | None]:
    return {
        "fashion-mnist": fashion_folder,
        "fashion-mnist-mlp": fashion_folder,
        "cifar10": cifar_folder,
        "ptb": word_folder,
        "text": text_file,
    }


def new(recipe: Recipe, place: Path | None, device: needle.Device, **changes: Any) -> Trainer:
    settings = Settings(recipe.name, str(device), epochs=2, batch_size=16, lr=recipe.lr, seed=3)
    split = recipe.data(place, False)
    if "digits" in recipe.name:
        split[0].images, split[0].labels = split[0].images[:48], split[0].labels[:48]
    return Trainer(recipe, replace(settings, **changes), split)


def run(trainer: Trainer, batches: int | None = None) -> Trainer:
    """Go on to the end, or for so many batches."""
    left = batches

    def stopped() -> bool:
        nonlocal left
        left = None if left is None else left - 1
        return left == 0

    while not trainer.done and left != 0:
        trainer.train_epoch(lambda number, loss: None, stopped)
    return trainer


def state(trainer: Trainer) -> Any:
    rows = [{**row, "seconds": 0} for row in trainer.history]
    return {name: tensor.numpy().tobytes() for name, tensor in trainer.model.state_dict().items()}, rows


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", list(RECIPES))
def test_a_run_stopped_in_an_epoch_ends_as_one_that_was_not(
    name: str, places: dict[str, Path | None], tmp_path: Path, device: needle.Device
) -> None:
    def fresh() -> Trainer:
        return new(RECIPES[name], places.get(name), device)

    whole = run(fresh())
    steps = len(whole.loader)
    first = run(fresh(), batches=steps + max(1, steps // 2) if steps > 1 else 1)
    first.save(tmp_path / "checkpoint.safetensors")
    needle.manual_seed(1234)
    second = fresh()
    second.load(tmp_path / "checkpoint.safetensors")
    assert (second.epoch is not None) == (steps > 1)
    assert state(run(second)) == state(whole)
    assert len(whole.history) == 2
    assert all(np.isfinite(row["test_loss"]) for row in whole.history)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["ptb", "text"])
def test_language_models_learn(name: str, places: dict[str, Path | None], device: needle.Device) -> None:
    trainer = run(new(RECIPES[name], places[name], device, epochs=12, lr=0.01))
    first, last = trainer.history[0], trainer.history[-1]
    assert last["test_loss"] < 0.6 * first["test_loss"]
    assert last["test_perplexity"] == pytest.approx(np.exp(last["test_loss"]))
    assert set(last) >= {"loss", "train_perplexity", "seconds"}
    assert "test_accuracy" not in last
    assert len(last["steps"]["gradient_norm"]) == len(last["steps"]["lr"])  # known, since they are clipped


def test_perplexity_of_nonsense_is_a_number() -> None:
    assert PERPLEXITY.of(1e6, 0.0) < float("inf")


@pytest.mark.usefixtures("small")
def test_the_state_goes_on_from_batch_to_batch(word_folder: Path) -> None:
    trainer = new(RECIPES["ptb"], word_folder, needle.device("numpy"))
    model = trainer.model
    assert isinstance(model, ptb.WordModel)
    model.eval()
    batches = [x for x, _ in trainer.loader.batches()][:2]
    with needle.no_grad():
        apart = needle.concatenate([model(x) for x in batches])
        model.begin()
        together = model(needle.concatenate(batches))
    np.testing.assert_allclose(apart.numpy(), together.numpy(), atol=1e-5)
    assert [name for name, _ in model.named_buffers()] == ["state.0", "state.1"]
    model(batches[0]).sum().backward()
    assert all(not part.requires_grad for part in model.state)


def test_gradients_are_clipped(word_folder: Path) -> None:
    recipe = replace(RECIPES["ptb"], clip=1e-3)
    trainer = new(recipe, word_folder, needle.device("numpy"))
    run(trainer, batches=1)
    total = sum(float((p.grad * p.grad).sum()) for p in trainer.model.parameters() if p.grad is not None)
    assert total**0.5 == pytest.approx(1e-3, rel=1e-2)
    assert trainer.epoch is not None
    assert trainer.epoch.tally.norms[0] > 1e-3


@pytest.mark.usefixtures("small")
def test_text_prints_samples(text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["train", "text", str(text_file), "--epochs", "2", "--out", str(out), "--device", "numpy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "training and" in lines[0]
    assert "pieces of" in lines[0]
    samples = [line for line in lines if line.startswith("  | ")]
    assert sum(len(line) - 4 for line in samples) + len(samples) - 2 == 480
    assert set("".join(line[4:] for line in samples)) <= set(SENTENCES)
    assert "perplexity" in lines[1]
    assert "test perplexity" in lines[-2]
    assert main(["train", "text", "--resume", "--epochs", "3", "--out", str(out)]) == 0  # the file is remembered
    assert len(json.loads((out / "history.json").read_text())["epochs"]) == 3


@pytest.mark.usefixtures("small")
def test_sampling_disturbs_nothing(text_file: Path) -> None:
    trainer = new(RECIPES["text"], text_file, needle.device("numpy"))
    before = checkpoint.random_state()
    first = text.write(trainer.model, trainer.split[0], 1)  # type: ignore[arg-type]
    assert checkpoint.random_state() == before
    assert text.write(trainer.model, trainer.split[0], 1) == first  # type: ignore[arg-type]
    assert text.write(trainer.model, trainer.split[0], 2) != first  # type: ignore[arg-type]


def test_text_without_a_file_is_pythons_documentation() -> None:
    train, test = text.text(None, False)
    assert len(train.numbers) + len(test.numbers) > 300_000
    assert "assert" in train.alphabet.decode(train.numbers[:20_000])


def test_resnet9_has_the_courses_parameters() -> None:
    model = cifar.resnet9(None, None, needle.device("numpy"))  # type: ignore[arg-type]
    assert model.num_parameters() == 431_946
    assert model(needle.zeros(2, 3, 32, 32, device="numpy")).shape == (2, 10)


def test_digits_resnet_learns() -> None:
    recipe, device = RECIPES["digits-resnet"], str(needle.default_device())
    trainer = Trainer(recipe, Settings(recipe.name, device, 1, 64, 4e-3, 0), recipe.data(None, False))
    run(trainer)
    assert trainer.history[0]["test_accuracy"] > 0.8


def test_workers_give_the_run_of_none_where_nothing_is_random(fashion_folder: Path, device: needle.Device) -> None:
    none, two = (run(new(RECIPES["fashion-mnist-mlp"], fashion_folder, device, workers=n)) for n in (0, 2))
    assert state(none) == state(two)


def test_workers_are_remembered(cifar_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["train", "cifar10", "--device", "numpy", "--out", str(tmp_path / "run")]
    fresh = [*options, "--data", str(cifar_folder), "--epochs", "1", "--batch-size", "16"]
    assert main([*fresh, "--workers", "2"]) == 0
    assert main([*options, "--resume", "--epochs", "2"]) == 0
    assert json.loads((tmp_path / "run" / "history.json").read_text())["settings"]["workers"] == 2
    capsys.readouterr()
    assert main([*options, "--resume", "--workers", "1"]) == 1
    assert "the run has --workers 2, not 1; leave it out" in capsys.readouterr().err


def test_download_reaches_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def data(place: Path | None, download: bool) -> Any:
        asked.append((place, download))
        raise DataError("nothing there")

    monkeypatch.setitem(RECIPES, "cifar10", replace(RECIPES["cifar10"], data=data))
    for options in ((), ("--download",), ("--data", "x")):
        assert main(["train", "cifar10", "--out", str(tmp_path / "run"), *options]) == 1
    assert asked == [(None, False), (None, True), (Path("x"), False)]


MISSING: list[tuple[str, Callable[[Path], list[str]], str]] = [
    ("cifar10", lambda path: ["--data", str(path)], "CIFAR-10: no data_batch_1 in "),
    ("ptb", lambda path: ["--data", str(path)], "train.txt: cannot be read: No such file or directory"),
    ("text", lambda path: [str(path / "none.txt")], "none.txt: cannot be read: No such file or directory"),
    ("text", lambda path: [str(path / "short.txt")], "CharacterDataset: "),
]


@pytest.mark.parametrize(("name", "options", "message"), MISSING)
def test_missing_data_is_one_line(
    name: str, options: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.txt").write_text("too short")
    assert main(["train", name, *options(tmp_path), "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def losses(name: str, place: Path | None, device: needle.Device, compiled: bool) -> list[float]:
    """Of so many steps of a recipe, over its batches again and again."""
    trainer = new(RECIPES[name], place, device, batch_size=FEW.get(device.backend, 16))
    trainer.model.train()
    trainer.recipe.begin(trainer.model)

    def step(x: needle.Tensor, y: needle.Tensor) -> needle.Tensor:
        loss: needle.Tensor = trainer.loss(trainer.model(x), y)
        trainer.optimizer.reset_grad()
        loss.backward()
        if trainer.recipe.clip is not None:
            trainer.optimizer.clip_grad_norm(trainer.recipe.clip)
        trainer.optimizer.step()
        return loss.detach()

    run_step, found = needle.compile(step) if compiled else step, []
    while len(found) < STEPS:
        for x, y in islice(trainer.loader.batches(), STEPS - len(found)):
            trainer.optimizer.lr = trainer.schedule(trainer.optimizer.steps)
            found.append(float(run_step(x, y)))
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", list(RECIPES))
def test_compiled_steps_equal_eager_ones(name: str, places: dict[str, Path | None], device: needle.Device) -> None:
    eager, compiled = (losses(name, places.get(name), device, how) for how in (False, True))
    np.testing.assert_allclose(compiled, eager, rtol=1e-5)

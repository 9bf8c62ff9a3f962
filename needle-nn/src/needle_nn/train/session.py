"""One call of `needle train`: settings, the run from start or checkpoint, its files, and its end."""

import argparse
import json
import shlex
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import needle
from needle.errors import DataError
from needle_nn.files import write_atomically
from needle_nn.nn import checkpoint
from needle_nn.train import curve
from needle_nn.train.recipe import Recipe, Settings
from needle_nn.train.recipes import RECIPES
from needle_nn.train.report import EXTRA, Report
from needle_nn.train.trainer import Trainer

STOPPED = 130  # what shells give for a command ended by Ctrl-C


def run(args: argparse.Namespace) -> int:
    """Train by the arguments of the command line; returns the exit status."""
    try:
        return _run(args, RECIPES[args.recipe], args.out or Path("runs") / args.recipe)
    except KeyboardInterrupt:
        print("needle: stopped at once; what was last saved is kept", file=sys.stderr)
        return STOPPED


def _run(args: argparse.Namespace, recipe: Recipe, folder: Path) -> int:
    report, kept = Report(), folder / "checkpoint.safetensors"
    settings = _resumed(args, kept) if args.resume else _fresh(args, recipe)
    _check_writable(folder)
    split = recipe.data(None if settings.data is None else Path(settings.data), args.download)
    trainer = Trainer(recipe, settings, split, norms=args.plot)
    if args.resume:
        trainer.load(kept)
    _introduce(report, trainer, kept, args.resume)
    with _Stop() as stop:
        finished = _train(report, trainer, folder, stop, draws=args.plot)
    if trainer.history:
        _draw(report, trainer, folder)
    if not finished:
        _explain(report, trainer, folder)
        return STOPPED
    _conclude(report, trainer, folder)
    return 0


def _train(report: Report, trainer: Trainer, folder: Path, stop: "_Stop", draws: bool) -> bool:
    """Epochs until the last or a stop, saving after each; whether it was the last."""
    epochs, recipe = trainer.settings.epochs, trainer.recipe
    while not trainer.done and not stop.asked:
        done = len(trainer.epoch.tally.sizes) if trainer.epoch else 0
        with report.bar(f"epoch {len(trainer.history) + 1}/{epochs}", done, len(trainer.loader)) as on_batch:
            whole = trainer.train_epoch(on_batch, lambda: stop.asked)
        trainer.save(folder / "checkpoint.safetensors")
        if whole:
            report.epoch(trainer.history[-1], epochs, recipe.measure)
            _write_history(trainer, folder)
            if recipe.sample is not None:
                report.line(recipe.sample(trainer.model, trainer.split[0], len(trainer.history)))
            if draws and not trainer.done:  # the last is drawn in any case
                _draw(report, trainer, folder)
    return trainer.done


class _Stop:
    """Turns Ctrl-C into a question asked between two batches, where all state is whole. A second one stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "_Stop":
        self.before = signal.getsignal(signal.SIGINT)
        if self.before is not signal.SIG_IGN:  # as in a job that the shell put in the background
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self.before)

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self.before)
        print("\nstopping after this batch; Ctrl-C again stops at once", flush=True)


def _fresh(args: argparse.Namespace, recipe: Recipe) -> Settings:
    """The settings of a new run: the arguments, and the recipe's where they are silent."""
    device = needle.default_device() if args.device is None else needle.device(args.device)
    return Settings(
        recipe=recipe.name,
        device=str(device),
        epochs=args.epochs or recipe.epochs,
        batch_size=args.batch_size or recipe.batch_size,
        lr=args.lr or recipe.lr,
        seed=0 if args.seed is None else args.seed,
        data=None if args.data is None else str(args.data),
        workers=args.workers or 0,
    )


def _resumed(args: argparse.Namespace, kept: Path) -> Settings:
    """The settings of the run that is kept; only its length, its device and the place of its data may change."""
    if not kept.exists():
        raise DataError(f"{kept}: no such file; start the run without --resume")
    facts = checkpoint.facts(kept)
    if "settings" not in facts:
        raise DataError(f"{kept}: no checkpoint of `needle train`; choose another --out")
    settings = Settings(**facts["settings"])
    for name in ("recipe", "batch_size", "lr", "seed", "workers"):
        asked, had = getattr(args, name), getattr(settings, name)
        if asked not in (None, had):
            option = "recipe" if name == "recipe" else f"--{name.replace('_', '-')}"
            raise DataError(f"{kept}: the run has {option} {had}, not {asked}; leave it out, or choose another --out")
    device = settings.device if args.device is None else str(needle.device(args.device))
    data = settings.data if args.data is None else str(args.data)
    return replace(settings, device=device, data=data, epochs=args.epochs or settings.epochs)


def _check_writable(folder: Path) -> None:
    """Fail before the first epoch, not after it."""
    probe = folder / "history.json.tmp"
    write_atomically(probe, b"")
    probe.unlink()


def _introduce(report: Report, trainer: Trainer, kept: Path, resume: bool) -> None:
    settings, (train, test) = trainer.settings, trainer.split
    counts = f"{len(train):,} training and {len(test):,} test {trainer.recipe.items}"
    report.line(
        f"{settings.recipe} on {settings.device}: {counts}, "
        f"{trainer.model.num_parameters():,} parameters, seed {settings.seed}"
    )
    if resume:
        report.line(f"going on {_position(trainer)}, from {kept}")
    elif kept.exists():
        report.line(f"{kept.parent} holds an earlier run, which this one replaces; --resume would go on with it")


def _position(trainer: Trainer) -> str:
    epochs = len(trainer.history)
    if trainer.epoch is None:
        return f"after epoch {epochs} of {trainer.settings.epochs}"
    batches = f"batch {len(trainer.epoch.tally.sizes)} of {len(trainer.loader)}"
    return f"after {batches} in epoch {epochs + 1} of {trainer.settings.epochs}"


def _write_history(trainer: Trainer, folder: Path) -> None:
    content = {"settings": asdict(trainer.settings), "epochs": trainer.history}
    write_atomically(folder / "history.json", json.dumps(content, indent=2).encode())


def _draw(report: Report, trainer: Trainer, folder: Path) -> None:
    settings, recipe = trainer.settings, trainer.recipe
    title = f"{settings.recipe} on {settings.device}, {trainer.model.num_parameters():,} parameters"
    if not curve.draw(folder / "curve.png", title, trainer.history, recipe.measure, recipe.unit):
        report.line(f"no curve.png, since Matplotlib is not installed: {EXTRA}")


def _explain(report: Report, trainer: Trainer, folder: Path) -> None:
    report.line(f"stopped {_position(trainer)}; saved in {folder}. To go on:")
    out = [] if folder == Path("runs") / trainer.settings.recipe else ["--out", str(folder)]
    report.line("  " + shlex.join(["needle", "train", trainer.settings.recipe, "--resume", *out]))


def _conclude(report: Report, trainer: Trainer, folder: Path) -> None:
    last, measure = trainer.history[-1], trainer.recipe.measure
    tested = f"test {measure.name} {measure.text(last[f'test_{measure.name}']).strip()}"
    report.line(f"final loss {last['loss']!r} ({last['loss'].hex()}), {tested}")
    report.line(f"kept in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")

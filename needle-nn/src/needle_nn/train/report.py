"""What a run shows: lines everywhere, and on a terminal with Rich a bar for the epoch under way."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from needle import Tensor
from needle_nn.train.recipe import Measure

try:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
except ModuleNotFoundError:  # the extra `train` is not installed
    Console = None  # type: ignore[assignment,misc]

EXTRA = "pip install 'needle-nn[train]'"
_EVERY = 0.2  # seconds between two readings of the loss, each of which waits for the device


class Report:
    """Prints to standard output."""

    def __init__(self) -> None:
        self.console = Console() if Console is not None and sys.stdout.isatty() else None
        if Console is None and sys.stdout.isatty():
            self.line(f"no progress bar, since Rich is not installed: {EXTRA}")

    def line(self, text: str) -> None:
        print(text, flush=True)

    def epoch(self, row: dict[str, Any], epochs: int, measure: Measure) -> None:
        """One line for an epoch that is done."""
        width = len(str(epochs))
        train, test = (measure.text(row[f"{part}_{measure.name}"]) for part in ("train", "test"))
        self.line(
            f"epoch {row['epoch']:{width}}/{epochs}  loss {row['loss']:.4f}  test loss {row['test_loss']:.4f}"
            f"  {measure.name} {train}  test {test}  {row['seconds']:.2f} s"
        )

    @contextmanager
    def bar(self, title: str, done: int, total: int) -> Iterator[Callable[[int, Tensor], None]]:
        """A function to be told of each batch: its number and its loss."""
        if self.console is None:
            yield lambda number, loss: None
            return
        title_column, loss_column = TextColumn("{task.description}"), TextColumn("{task.fields[loss]}")
        columns = (title_column, BarColumn(), MofNCompleteColumn(), loss_column, TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=total, completed=done, loss="")
            shown = time.monotonic()

            def on_batch(number: int, loss: Tensor) -> None:
                nonlocal shown
                progress.update(task, completed=number)
                if time.monotonic() - shown > _EVERY:
                    progress.update(task, loss=f"loss {loss.item():.4f}")
                    shown = time.monotonic()

            yield on_batch

"""The scorecard on a terminal."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table as RichTable

from needle_conformance.score import tables
from needle_conformance.score.card import Card
from needle_conformance.score.status import TOLERATED, Outcome, Status
from needle_conformance.score.tables import Table

COLOURS = {Status.NATIVE: "green", Status.VIEW: "green", Status.PASS: "green", Status.COMPOSED: "cyan",
           Status.HOST: "yellow", Status.XFAIL: "magenta", Status.BLOCKED: "dim"}  # fmt: skip
_WIDTH = 118  # where it is no terminal


def console(stderr: bool = False) -> Console:
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH)


def print_card(out: Console, card: Card, view: str, failures: int) -> None:
    """What was found: the view that was asked for, then what failed, then the score."""
    out.print(f"[bold]{escape(card.device)}[/bold]: {escape(card.description)}")
    for table in [tables.stages(card), *VIEWS[view](card)]:
        print_table(out, table)
    _print_failures(out, card, failures)
    for hint in card.hints:
        out.print(f"hint: {hint}", style="yellow", markup=False)
    if tables.left_out(card):
        out.print(tables.left_out(card), style="yellow")
    style = "bold green" if card.passed else "bold red"
    out.print(f"{card.device}: {tables.headline(card)} ({card.seconds:.0f} s)", style=style)


VIEWS: dict[str, Callable[[Card], list[Table]]] = {
    "support": lambda card: [tables.primitives(card), tables.reasons(card)],
    "functions": lambda card: [tables.functions(card), tables.reasons(card)],
    "perf": lambda card: [tables.speed(card)],
}


def print_table(out: Console, table: Table) -> None:
    if not table.rows:
        return
    shown = RichTable(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*(f"[{_colour(cell.status)}]{escape(cell.text)}[/]" if cell.status else escape(cell.text)
                        for cell in row))  # fmt: skip
    out.print(shown)


def _colour(status: Status) -> str:
    return COLOURS.get(status, "bold red")


def _print_failures(out: Console, card: Card, most: int) -> None:
    """The first failures whole, each op's only once; of the others a line."""
    found = card.failures()
    first = list({row.op or row.id: row for row in reversed(found)}.values())[::-1][:most]
    for row in first:
        out.print(f"\n[bold red]{row.status.value}[/] {escape(row.id)}")
        out.print(escape(row.message or row.reason))
        if row.script:
            out.print("[dim]to reproduce:[/]")
            out.print(Syntax(row.script, "python", theme="ansi_light", word_wrap=True, background_color="default"))
    rest = [row for row in found if row not in first]
    for row in rest[:most]:
        out.print(f"[bold red]{row.status.value}[/] {escape(row.id)}: {escape(row.reason)}")
    if len(rest) > most:
        out.print(f"and {len(rest) - most:,} more failures, all of which --json writes down")
    if found:
        out.print()


class Watch:
    """A progress bar on the standard error, where that is a terminal."""

    def __init__(self, device: str) -> None:
        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
        self.progress = Progress(*columns, console=console(stderr=True), transient=True)
        self.task = self.progress.add_task(device, total=None)
        self.wrong = 0

    def __enter__(self) -> "Watch":
        if self.progress.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.progress.live.is_started:  # it would write a line where it never began
            self.progress.stop()

    def expect(self, count: int) -> None:
        self.progress.update(self.task, total=count)

    def tell(self, outcome: Outcome) -> None:
        self.wrong += outcome.status not in TOLERATED and outcome.status is not Status.BLOCKED
        failed = f", [red]{self.wrong} failed[/]" if self.wrong else ""
        self.progress.update(self.task, advance=1, description=f"{outcome.stage}{failed}")

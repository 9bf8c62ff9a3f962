"""The command `needle-conform`: makes a backend's package, scores a device, and looks for what the tables miss."""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from needle.device import parse_device
from needle.errors import DeviceError
from needle.registry import registry
from needle_conformance import template
from needle_conformance.fuzz.parent import fuzz as run_fuzz
from needle_conformance.plugin import STAGES
from needle_conformance.score import badge, compare, html, markdown, tables
from needle_conformance.score.card import Card
from needle_conformance.score.pool import Task
from needle_conformance.score.runner import score as run_score
from needle_conformance.score.status import Status
from needle_conformance.score.terminal import VIEWS, Watch, console, print_card, print_table

_FILE = click.Path(dir_okay=False, path_type=Path)
_OLD = click.Path(exists=True, dir_okay=False, path_type=Path)
_MEASURE = {False: 2e-3, True: 2e-4}  # seconds for each kernel's time; of a quick run
_ANY = [s.value for s in Status]

_EPILOG = """\b
examples:
  needle-conform new foo                      a package that makes needle.foo() a device, green at once
  needle-conform score foo                    every op, dtype and layout: native, composed, on the host, or wrong
  needle-conform score foo --quick            the same in few dtypes and layouts, within half a minute
  needle-conform score foo --only exp --only 'ops/values/*float16*'
  needle-conform score foo --json new.json --compare old.json --fail-on host
  needle-conform fuzz foo --minutes 5         random programs against the reference

exit status: 0 if all that was asked for ran and is right, 1 if not, 2 for wrong usage."""


class Amount(click.FloatRange):
    """A float within bounds, and a number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        return found if math.isfinite(found) else self.fail(f"{value} is no finite number.", param, ctx)


class RefusedError(click.ClickException):
    """Wrong usage, told in one line."""

    exit_code = 2


class Commands(click.Group):
    """A group whose refusals take one line, like those of Needle's other commands."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _in_one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        if isinstance(error, _HELP) or error.ctx is None:
            raise
        raise RefusedError(f"{error.format_message()} See {error.ctx.command_path} --help") from error


_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())  # which older clicks have no class for


def _installed(context: click.Context, parameter: click.Parameter, device: str) -> str:
    """Refuse a device of which nothing is installed. Plug-ins are loaded in other processes, where they may crash."""
    try:
        name = parse_device(device).backend
    except DeviceError as error:
        raise RefusedError(str(error)) from error
    if name not in registry.names():
        there = ", ".join(registry.names())
        raise RefusedError(f"no device '{name}'; installed: {there}; pip install needle-backend-{name}")
    return device


def _named(context: click.Context, parameter: click.Parameter, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse an empty pattern, as of a variable that is not set: it would be the op of all rows that have none."""
    if not all(map(str.strip, patterns)):
        raise RefusedError("--only: the pattern is empty")
    return patterns


@click.group(
    cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="needle-conformance")
def main() -> None:
    """Conformance of Needle's devices: from an empty package to a device that is right, op by op."""


@main.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path), help="where to  [default: needle-backend-NAME, here]")
def new(name: str, folder: Path | None) -> None:
    """Write the package of a new backend: needle.NAME() is then a device, on which everything works.

    Four memory functions are written; each further one raises the score. docs/write-a-device.md leads the way.
    """
    problem = template.check_name(name)
    if problem is not None:
        raise RefusedError(problem)
    target = folder or Path(f"needle-backend-{name.replace('_', '-')}")
    try:
        made = template.write_package(name, target)
    except FileExistsError:
        raise RefusedError(f"{target} exists already; --folder names another") from None
    except OSError as error:
        raise RefusedError(f"{target} cannot be written: {error.strerror}") from error
    for path in made:
        click.echo(path)
    click.echo(f"\nnow: pip install -e '{target}[test]' && needle-conform score {name} --quick")


@main.command()
@click.argument("device", metavar="NAME[:INDEX]", callback=_installed)
@click.option(
    "--only",
    multiple=True,
    callback=_named,
    metavar="OP|PATTERN",
    help="rows of this op, or whose id matches; repeatable",
)
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="rows of this stage; repeatable")
@click.option("--quick", is_flag=True, help="few dtypes and layouts of each op")
@click.option(
    "--view",
    type=click.Choice(list(VIEWS)),
    default="support",
    show_default=True,
    help="what the terminal shows: how ops ran, the same of functions, or how fast they are",
)
@click.option("--json", "json_file", type=_FILE, help="write every row, for --compare and for programs")
@click.option("--markdown", "markdown_file", type=_FILE, help="write a report in Markdown")
@click.option("--html", "html_file", type=_FILE, help="write a report as one page")
@click.option("--badge", "badge_file", type=_FILE, help="write a badge, in SVG")
@click.option("--compare", "old_file", type=_OLD, metavar="OLD.json", help="list changes; fail if one is for the worse")
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(_ANY, case_sensitive=False),
    help="fail if a primitive or function has this status; repeatable",
)
@click.option("--keep-going", is_flag=True, help="run the stages after one that failed, too")
@click.option(
    "--jobs",
    type=click.IntRange(0, 256),
    help="worker processes; 0: none, all in this one, for a debugger  [default: the CPUs, at most 4]",
)
@click.option("--timeout", type=Amount(1), default=60.0, show_default=True, help="seconds for one row")
@click.option("--failures", type=click.IntRange(0), default=5, show_default=True, help="failures that are shown whole")
def score(
    device: str, only: tuple[str, ...], stages: tuple[str, ...], quick: bool, view: str, json_file: Path | None,
    markdown_file: Path | None, html_file: Path | None, badge_file: Path | None, old_file: Path | None,
    fail_on: tuple[str, ...], keep_going: bool, jobs: int | None, timeout: float, failures: int,
) -> None:  # fmt: skip
    """Try every row of the suite on a device, and tell for each op, dtype and layout how it ran.

    Rows run in worker processes, so that a crash or a hang is one row. What did not run has not passed.
    """
    files = {"--json": json_file, "--markdown": markdown_file, "--html": html_file, "--badge": badge_file}
    _check_writable(files)
    old = _read(old_file)
    task = Task(device, only, stages, quick, _MEASURE[quick], seconds=timeout)
    try:
        with Watch(device) as watch:
            card = run_score(task, jobs, keep_going, watch.tell, watch.expect)
    except DeviceError as error:
        raise RefusedError(f"{error}; `needle doctor -v` tells more") from error
    for file, text in zip(files.values(), (Card.as_json, markdown.page, html.page, badge.svg), strict=True):
        if file is not None:
            file.write_text(text(card), encoding="utf-8")
    out = console()
    print_card(out, card, view, failures)
    if not card.rows:
        out.print("nothing ran: no row matches", style="bold red")
    worse = _compared(old, card) if old else False
    refused = _refused(card, fail_on)
    sys.exit(0 if card.passed and not worse and not refused else 1)


@main.command()
@click.argument("device", metavar="NAME[:INDEX]", callback=_installed)
@click.option("--minutes", type=Amount(min=0, min_open=True), default=1.0, show_default=True)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="where to begin; the same programs for the same seed"
)
@click.option("--compile", "compiled", is_flag=True, help="run each program through needle.compile")
def fuzz(device: str, minutes: float, seed: int, compiled: bool) -> None:
    """Run random programs of ops on a device, and compare results and gradients with the reference.

    The first that is wrong is made smaller, and printed as a script.
    """
    out = console()
    try:
        found = run_fuzz(device, minutes, seed, compiled)
    except DeviceError as error:
        raise RefusedError(f"{error}; `needle doctor -v` tells more") from error
    if found.failure:
        out.print(f"[bold red]FAIL[/] {device}, after {found.count:,} programs, at seed {found.seed}:")
        out.print(found.failure, markup=False)
        out.print("to reproduce:", style="dim")
        out.print(found.script, markup=False, soft_wrap=True)
    elif not found.count:
        out.print(f"{device}: no program ran in the time; --minutes allows more", style="bold red")
    else:
        out.print(f"{device}: {found.count:,} random programs, all right; seeds {seed} to {found.seed}")
    sys.exit(1 if found.failure or not found.count else 0)


def _check_writable(files: dict[str, Path | None]) -> None:
    """Refuse what could not be written, before anything runs."""
    taken: dict[Path, str] = {}
    for option, file in files.items():
        if file is None:
            continue
        if not file.parent.is_dir():
            raise RefusedError(f"{option}: there is no folder {file.parent}")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise RefusedError(f"{option}: {file} cannot be written")
        other = taken.setdefault(file.resolve(), option)
        if other != option:
            raise RefusedError(f"{other} and {option} name the same file, {file}")


def _read(file: Path | None) -> Card | None:
    try:
        return Card.read(file) if file else None
    except ValueError as error:
        raise RefusedError(f"--compare: {error}") from error


def _compared(old: Card, card: Card) -> bool:
    """Print the changes; whether one is for the worse."""
    out, found = console(), compare.changes(old, card)
    print_table(out, compare.table(found))
    print_table(out, compare.slower(old, card))
    worse = sum(change.worse for change in found)
    out.print(f"against {old.device} of before: {len(found) - worse:,} rows better or new, {worse:,} worse")
    if old.options != card.options:
        out.print(f"compared only what both have; before: {tables.left_out(old) or 'the whole suite'}", style="yellow")
    return worse > 0


def _refused(card: Card, fail_on: tuple[str, ...]) -> bool:
    """Print what has a status that the caller does not accept; whether there is any."""
    refused = [row for row in (*card.kernels, *card.functions) if row.status.value.lower() in map(str.lower, fail_on)]
    if refused:
        ops = list(dict.fromkeys(row.op for row in refused))
        told = f"{', '.join(ops[:12])}{' ...' if len(ops) > 12 else ''}"
        console().print(f"--fail-on: {len(refused):,} rows of {len(ops)} ops: {told}", style="bold red")
    return bool(refused)


if __name__ == "__main__":
    main()

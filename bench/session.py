"""One run of the bench: ceilings, then each work checked and raced, then the table, JSON and charts."""

import argparse
import gc
import os
import sys
from collections.abc import Iterable

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import needle as ndl
from bench import ceilings, charts, memory, report
from bench.race import WrongResultError, race
from bench.report import Row
from bench.sides import Needle, Side, Torch
from bench.work import Work
from bench.works import WORKS
from needle.dispatch import dispatcher

HALVES = ("float16", "bfloat16")


def chosen(args: argparse.Namespace) -> list[Work]:
    """The works that the options ask for."""
    words = [word.strip().lower() for word in args.only.split(",") if word.strip()]
    works = [w for w in WORKS if not words or any(word in f"{w.group}: {w.name}".lower() for word in words)]
    works = [w for w in works if w.only_on in ("", args.device.partition(":")[0])]
    works = [w for w in works if (w.quick or not args.quick) and (w.any_dtype or args.dtype not in HALVES)]
    if not works:
        raise SystemExit(f"bench: no work of {len(WORKS)} has {args.only!r} in its group or name; see --list")
    return works


def on_accelerator(args: argparse.Namespace) -> bool:
    return Torch(args.device).device.type != "cpu"


def show_works(args: argparse.Namespace) -> None:
    """Print what would run."""
    console = Console()
    works = chosen(args)
    for group in dict.fromkeys(work.group for work in works):
        names = [work.name for work in works if work.group == group]
        console.print(f"[bold]{group}[/bold] ({len(names)})", *names, sep="\n  ", highlight=False)


def rivals(args: argparse.Namespace) -> list[Side]:
    """Needle on the device, and those it runs against."""
    against = args.against.split(",")
    sides: list[Side] = [Needle(args.device, args.dtype)]
    if "torch" in against:
        sides.append(Torch(args.device, args.dtype))
    if "numpy" in against:
        sides.append(Needle("numpy", args.dtype))
    return sides


def run(args: argparse.Namespace, threads: int) -> int:
    """Race, show, save; 1 if a result was wrong."""
    torch.set_num_threads(threads)
    console = Console(width=None if sys.stdout.isatty() else 132)
    works, sides = chosen(args), rivals(args)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    limits = ceilings.measure(Torch(args.device).device, threads)
    console.print(f"[bold]{report.machine()['cpu']}[/bold], {threads} thread{'s' * (threads > 1)}, load {load:.1f}")
    console.print(f"ceilings: {limits.bandwidth / 1e9:.1f} GB/s, {limits.flops / 1e9:.0f} GFLOP/s ({limits.how})")
    path = args.out / f"{stem(args, threads)}.json"
    rows: list[Row] = []
    failures: list[str] = []
    for work in tracked(works, console):
        try:
            laps = race(work, sides, args.rounds, args.turn)
        except WrongResultError as error:
            failures.append(str(error))
            console.print(f"[red]wrong:[/red] {error}", highlight=False)
            continue
        item = np.dtype(np.float32).itemsize if args.dtype == "float32" else 2
        rows.append(Row(work.group, work.name, laps, work.moved * item, work.flops, limits))
        # What there is, should the run end early.
        report.save(path, rows, [], report.facts(args, threads, limits, load, failures))
        gc.collect()
    report.show(rows, console)
    peaks = memory.compare(args, console) if wants_memory(args) else []
    report.save(path, rows, peaks, report.facts(args, threads, limits, load, failures))
    where = card(args) if on_accelerator(args) else f"{threads} thread{'s' * (threads > 1)}"
    title = f"{args.device}, {where}, {args.dtype}"
    pictures = charts.draw(rows, args.out, stem(args, threads), title)
    console.print(f"written: {path}" + "".join(f", {picture.name}" for picture in pictures), highlight=False)
    return 1 if failures else 0


def tracked(works: list[Work], console: Console) -> Iterable[Work]:
    """The works, with a bar that says which one runs."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(works))
        for work in works:
            progress.update(task, description=f"{work.group}: {work.name}"[:60])
            yield work
            progress.advance(task)


def stem(args: argparse.Namespace, threads: int) -> str:
    """The name of this run's files; the parts say how it differs from the usual one."""
    where = slug(card(args)) if on_accelerator(args) else f"{threads}-thread{'s' * (threads > 1)}"
    parts = [args.device.replace(":", ""), where]
    parts += [args.dtype] * (args.dtype != "float32") + ["quick"] * args.quick + ["numpy"] * ("numpy" in args.against)
    return "-".join([*parts, *(["part"] if args.only else [])])


def card(args: argparse.Namespace) -> str:
    """The accelerator's name, as its backend tells it."""
    return dispatcher(ndl.device(args.device)).backend.describe().split(",")[0]


def slug(name: str) -> str:
    return "-".join(name.lower().split())


def wants_memory(args: argparse.Namespace) -> bool:
    return not args.only or "memory" in args.only

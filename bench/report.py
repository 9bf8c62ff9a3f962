"""What a run found: the table on the terminal, the means of groups, and the JSON with the machine's description."""

import argparse
import datetime
import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import needle as ndl
from bench.ceilings import Ceilings
from bench.race import Lap
from needle.dispatch import dispatcher


@dataclass(frozen=True)
class Row:
    """One work's times; the first lap is Needle's."""

    group: str
    name: str
    laps: list[Lap]
    nbytes: float
    flops: float
    ceilings: Ceilings

    def ratio(self, rival: int = 1) -> float:
        """Needle's time over the rival's: below 1, Needle is faster."""
        return self.laps[0].median / self.laps[rival].median

    def share(self, lap: int) -> float | None:
        return self.ceilings.share(self.laps[lap].median, self.nbytes, self.flops)

    def as_json(self) -> dict[str, Any]:
        laps = [{"rival": lap.rival, "median": lap.median, "spread": lap.spread, "rounds": len(lap.seconds),
                 "share": self.share(i)} for i, lap in enumerate(self.laps)]  # fmt: skip
        ratios = [self.ratio(i) for i in range(1, len(self.laps))]
        return {"group": self.group, "name": self.name, "bytes": self.nbytes, "flops": self.flops, "ratios": ratios,
                "laps": laps}  # fmt: skip


def means(rows: list[Row], rival: int = 1) -> dict[str, float]:
    """The geometric mean of the ratios, by group."""
    groups = dict.fromkeys(row.group for row in rows)
    return {g: statistics.geometric_mean(r.ratio(rival) for r in rows if r.group == g) for g in groups}


def show(rows: list[Row], console: Console) -> None:
    """Print a table of each group."""
    if not rows:
        return
    rivals = [lap.rival for lap in rows[0].laps]
    for group in dict.fromkeys(row.group for row in rows):
        table = Table(title=group, title_justify="left", title_style="bold", box=None, padding=(0, 1))
        table.add_column("", min_width=36)
        for rival in rivals:
            table.add_column(rival, justify="right")
        for rival in rivals[1:]:
            table.add_column(f"ratio to {rival.split()[0] if 'numpy' not in rival else 'numpy'}", justify="right")
        table.add_column("of ceiling", justify="right")
        for row in (r for r in rows if r.group == group):
            ratios = [row.ratio(i) for i in range(1, len(rivals))]
            share = row.share(0)
            cells = [duration(lap.median) for lap in row.laps] + [colored(ratio) for ratio in ratios]
            table.add_row(row.name, *cells, "" if share is None else f"{share:.0%}")
        blanks = [""] * len(rivals)
        table.add_row("[bold]geometric mean[/bold]", *blanks,
                      *[colored(means(rows, i)[group]) for i in range(1, len(rivals))], "")  # fmt: skip
        console.print(table, "")


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def colored(ratio: float) -> str:
    color = "green" if ratio <= 1 else "yellow" if ratio <= 1.15 else "red"
    return f"[{color}]{ratio:.2f}[/{color}]"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind = (index / "level").read_text().strip(), (index / "type").read_text().strip()
        caches[f"L{level} {kind.lower()}"] = (index / "size").read_text().strip()
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "caches": caches,
            "system": platform.platform(), "python": platform.python_version()}  # fmt: skip


def facts(
    args: argparse.Namespace, threads: int, limits: Ceilings, load: float, failures: list[str]
) -> dict[str, Any]:  # fmt: skip
    """All that a reader needs to judge the figures."""
    backend = dispatcher(ndl.device(args.device)).backend
    return {
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": args.device,
        "backend": backend.describe(),
        "threads": threads,
        "dtype": args.dtype,
        "versions": {**{name: version(name) for name in ("needle-core", "torch", "numpy")}, **backend.versions()},
        "rounds": args.rounds,
        "load before": load,
        "ceilings": asdict(limits),
        "wrong results": failures,
    }


def save(path: Path, rows: list[Row], peaks: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Write everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**facts, "means": means(rows) if rows and len(rows[0].laps) > 1 else {},
               "results": [row.as_json() for row in rows], "peak memory": peaks}  # fmt: skip
    path.write_text(json.dumps(content, indent=1) + "\n")

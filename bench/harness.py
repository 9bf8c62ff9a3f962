"""Races in one process: rivals take turns, round after round, and the medians of their times are compared.

Alternating matters: the speed of a machine drifts by half between runs, so only ratios from one run mean anything.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Work = Callable[[], Any]


@dataclass(frozen=True)
class Result:
    """Medians in seconds, and how many times the baseline's time the contender takes."""

    work: str
    contender: float
    baseline: float

    @property
    def ratio(self) -> float:
        return self.contender / self.baseline


def race(work: str, contender: Work, baseline: Work, rounds: int = 11, seconds: float = 0.1) -> Result:
    """Median times of two rivals that take turns; a turn repeats the work for about `seconds`."""
    repeats = [max(1, int(seconds / _one(f))) for f in (contender, baseline)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for f, n, record in zip((contender, baseline), repeats, times, strict=True):
            start = time.perf_counter()
            for _ in range(n):
                f()
            record.append((time.perf_counter() - start) / n)
    return Result(work, statistics.median(times[0]), statistics.median(times[1]))


def _one(f: Work) -> float:
    """The time of one run, warmed up."""
    for _ in range(3):
        f()
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def table(results: list[Result], contender: str, baseline: str) -> str:
    """The results as text, with the geometric mean of the ratios last."""
    width = max(len(r.work) for r in results)
    lines = [f"{'':{width}}  {contender + ' us':>14}  {baseline + ' us':>14}  ratio"]
    lines += [f"{r.work:{width}}  {r.contender * 1e6:14.1f}  {r.baseline * 1e6:14.1f}  {r.ratio:5.2f}" for r in results]
    mean = statistics.geometric_mean(r.ratio for r in results)
    return "\n".join([*lines, f"{'geometric mean':{width}}  {'':14}  {'':14}  {mean:5.2f}"])


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def save(path: Path, results: list[Result], **facts: str) -> None:
    """Write results and the description of the machine as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(r), "ratio": r.ratio} for r in results]
    path.write_text(json.dumps({"machine": machine(), **facts, "results": rows}, indent=2) + "\n")

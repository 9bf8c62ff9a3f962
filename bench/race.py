"""Races in one process: rivals take turns, round after round; and the check that they do the same work rightly."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.sides import Side, Torch
from bench.work import Run, Work

TOLERANCES = {"float32": 1.0, "float16": 1e3, "bfloat16": 1e4}  # times the work's own
LONG = 1.5  # seconds; a rival whose single run takes longer has 3 rounds only
REST = (
    0.02  # seconds before each turn, for the threads of the rival before to fall asleep: PyTorch's spin for 5 to 10 ms
)


class WrongResultError(Exception):
    """A rival's result is not the one computed in float64."""


@dataclass
class Lap:
    """The times of one rival, in seconds per run."""

    rival: str
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        if len(self.seconds) < 3:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def race(work: Work, sides: Sequence[Side], rounds: int, turn: float, check: bool = True) -> list[Lap]:
    """Times of all sides, which take turns; a turn repeats the work for about `turn` seconds."""
    with work.under():
        return _race(work, sides, rounds, turn, check)


def _race(work: Work, sides: Sequence[Side], rounds: int, turn: float, check: bool) -> list[Lap]:
    runs = [work.prepare(side) for side in sides]
    if check:
        compare(work, sides, runs)
    laps = [Lap(side.name) for side in sides]
    once = [warm_time(side, run) for side, run in zip(sides, runs, strict=True)]
    repeats = [max(1, round(turn / seconds)) for seconds in once]
    for number in range(rounds):
        for side, run, lap, n, seconds in zip(sides, runs, laps, repeats, once, strict=True):
            if number < 3 or seconds < LONG:
                time.sleep(REST)
                lap.seconds.append(timed(side, run, n))
    return laps


def timed(side: Side, run: Run, n: int) -> float:
    """Seconds per run, of n runs and the wait for the last."""
    side.synchronize()
    start = time.perf_counter()
    for _ in range(n):
        run()
    side.synchronize()
    return (time.perf_counter() - start) / n


def warm_time(side: Side, run: Run) -> float:
    """Seconds of one run after others; a long one is not run again."""
    seconds = timed(side, run, 1)
    for _ in range(3):
        if seconds < 0.3:
            seconds = timed(side, run, max(1, min(20, int(0.01 / seconds))))
    return seconds


def compare(work: Work, sides: Sequence[Side], runs: Sequence[Run]) -> None:
    """Raise WrongResultError unless all sides' results are near those of PyTorch on the CPU in float64."""
    exact = Torch("cpu", "float64")
    reference = work.prepare(exact)
    for call in range(work.calls):
        expected = arrays(exact, reference())
        for side, run in zip(sides, runs, strict=True):
            tolerance = work.tolerance * TOLERANCES[str(side.dtype).removeprefix("torch.")]
            for found, right in zip(arrays(side, run()), expected, strict=True):
                error = distance(found, right)
                if not error <= tolerance:
                    allowed = f"{error:.1e}, allowed is {tolerance:.0e}"
                    raise WrongResultError(f"{work.name}, run {call + 1}: {side.name} is off by {allowed}")


def arrays(side: Side, result: object) -> list[np.ndarray]:
    return [side.numpy(tensor) for tensor in (result if isinstance(result, tuple) else (result,))]


def distance(found: np.ndarray, right: np.ndarray) -> float:
    """The largest difference, as a share of the largest element; infinite between different shapes."""
    if found.size != right.size:
        return float("inf")
    if right.size == 0:
        return 0.0
    scale = float(np.abs(right).max()) or 1.0
    return float(np.abs(found.reshape(right.shape) - right).max()) / scale

"""Scores a device: its rows by stage, in worker processes or here; a stage that fails blocks those after it."""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from needle.errors import BackendError
from needle.registry import device as as_device
from needle_conformance.plugin import STAGES
from needle_conformance.score.about import About, about
from needle_conformance.score.attempt import Attempts
from needle_conformance.score.card import Card, versions
from needle_conformance.score.pool import Pool, Task, WorkerDiedError
from needle_conformance.score.rows import Row, asked, rows
from needle_conformance.score.status import WRONG, Outcome, Status

Tell = Callable[[Outcome], None]


@dataclass
class Here:
    """Runs rows in this process, for a debugger, and for devices that exist in it alone."""

    task: Task
    tell: Tell
    about: About = field(default_factory=About)
    found: dict[str, Row] = field(default_factory=dict)

    def rows(self) -> list[Outcome]:
        device = as_device(self.task.device)
        try:
            self.about = about(device)
        except BackendError as error:
            raise WorkerDiedError(f"{error}\n{''.join(traceback.format_exception(error))}".strip()) from error
        self.found = {row.id: row for row in rows(device, self.task.only, self.task.stages, self.task.quick)}
        return [row.outcome() for row in self.found.values()]

    def run(self, outcomes: Sequence[Outcome]) -> None:
        attempts = Attempts(as_device(self.task.device), self.task.measure)
        for outcome in outcomes:
            vars(outcome).update(vars(attempts.run(self.found[outcome.id])))
            self.tell(outcome)

    def close(self) -> None: ...


def score(
    task: Task, jobs: int | None = None, keep_going: bool = False, tell: Tell = lambda outcome: None,
    expect: Callable[[int], None] = lambda count: None,
) -> Card:  # fmt: skip
    """The card of a device. `expect` is told how many rows there will be, `tell` of each as it ends.

    0 jobs: everything in this process. DeviceError where there is no such device, or none is ready.
    """
    began = time.monotonic()
    workers = min(os.cpu_count() or 1, 4) if jobs is None else jobs
    with closing(Pool(task, workers, tell) if workers else Here(task, tell)) as pool:
        try:
            found = pool.rows()
            expect(len(found))
            idle = [_idle(pattern) for pattern in task.only if not any(asked(row, pattern) for row in found)]
            for stage, some in by_stage(found):
                if keep_going or not _block(some, found, stage, tell):
                    pool.run(some)
            found += idle
        except WorkerDiedError as death:
            found = [_unopened(task, death)]
            tell(found[0])
    options = {"only": list(task.only), "stages": list(task.stages), "quick": task.quick, "keep_going": keep_going}
    seconds, known = round(time.monotonic() - began, 1), pool.about
    return Card(task.device, known.description, found, {k: v for k, v in options.items() if v}, seconds, versions(),
                list(known.dtypes), list(known.hints))  # fmt: skip


def by_stage(all_rows: list[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    for stage in STAGES:
        some = [row for row in all_rows if row.stage == stage]
        if some:
            yield stage, some


def _block(some: list[Outcome], found: list[Outcome], stage: str, tell: Tell) -> bool:
    """Whether an earlier stage failed; the rows of this one are then blocked."""
    failed = next((s for s, earlier in by_stage(found) if any(row.status in WRONG for row in earlier)), None)
    if failed is None or failed == stage:
        return False
    for row in some:
        row.status, row.reason = Status.BLOCKED, f"stage {failed} failed"
        tell(row)
    return True


def _idle(pattern: str) -> Outcome:
    """For a pattern that selects nothing: a slip of the pen must not pass for a success."""
    return Outcome(pattern, "metadata", "", "", "", Status.FAIL, "--only: no row has this op or an id that matches")


def _unopened(task: Task, death: WorkerDiedError) -> Outcome:
    """The only row of a device that does not even open."""
    text = str(death)
    late = text.startswith("no answer")
    lines = text.splitlines()
    last = lines[-1] if len(lines) > 1 else ""
    return Outcome("metadata/open", "metadata", "", "", "", Status.TIMEOUT if late else Status.CRASH,
                   f"{task.device} does not open: {lines[0]}{': ' if last else ''}{last}", text)  # fmt: skip

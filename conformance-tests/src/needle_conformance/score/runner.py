"""Scores a device: its rows by stage, in worker processes; a stage that fails blocks those after it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from needle_conformance.plugin import STAGES
from needle_conformance.score.card import Card, versions
from needle_conformance.score.pool import Pool, Task, WorkerDiedError
from needle_conformance.score.status import WRONG, Outcome, Status

Tell = Callable[[Outcome], None]


def score(
    task: Task, jobs: int = 0, keep_going: bool = False, tell: Tell = lambda outcome: None,
    expect: Callable[[int], None] = lambda count: None,
) -> Card:  # fmt: skip
    """The card of a device. `expect` is told how many rows there will be, `tell` of each as it ends."""
    began = time.monotonic()
    with closing(Pool(task, jobs or min(os.cpu_count() or 1, 4), tell)) as pool:
        try:
            rows = pool.rows()
            expect(len(rows))
            for stage, some in by_stage(rows):
                if keep_going or not _block(some, rows, stage, tell):
                    pool.run(some)
        except WorkerDiedError as death:
            rows = [_unopened(task, death)]
            tell(rows[0])
    options = {"only": task.only, "stages": task.stages, "quick": task.quick, "keep_going": keep_going}
    return Card(task.device, pool.description, rows, {k: v for k, v in options.items() if v},
                time.monotonic() - began, versions())  # fmt: skip


def by_stage(rows: list[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    for stage in STAGES:
        some = [row for row in rows if row.stage == stage]
        if some:
            yield stage, some


def _block(some: list[Outcome], rows: list[Outcome], stage: str, tell: Tell) -> bool:
    """Whether an earlier stage failed; the rows of this one are then blocked."""
    failed = next((s for s, earlier in by_stage(rows) if any(row.status in WRONG for row in earlier)), None)
    if failed is None or failed == stage:
        return False
    for row in some:
        row.status, row.reason = Status.BLOCKED, f"stage {failed} failed"
        tell(row)
    return True


def _unopened(task: Task, death: WorkerDiedError) -> Outcome:
    """The only row of a device that does not even open."""
    text = str(death)
    late = text.startswith("no answer")
    lines = text.splitlines()
    last = lines[-1] if len(lines) > 1 else ""
    return Outcome("metadata/open", "metadata", "", "", "", Status.TIMEOUT if late else Status.CRASH,
                   f"{task.device} does not open: {lines[0]}{': ' if last else ''}{last}", text)  # fmt: skip

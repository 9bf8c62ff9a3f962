"""Worker processes: rows are handed out in chunks; a worker that dies or hangs costs one row, and is replaced."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from needle.errors import DeviceError
from needle_conformance.ending import ended, last_words
from needle_conformance.score.about import About
from needle_conformance.score.replay import Replay
from needle_conformance.score.status import Outcome, Status

_CHUNK = 64  # rows at a time: few, so that workers end together
_DEATHS = 3  # of the rows of one op, after which its other rows are blocked
_SHRUNK = 6  # deaths of a whole score, of which the first of each op is made smaller: that takes seconds


@dataclass(frozen=True)
class Task:
    """What every worker of a score is told."""

    device: str
    only: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    quick: bool = False
    measure: float = 0.0  # seconds of taking the time of each kernel
    seconds: float = 60.0  # that a row may take


class WorkerDiedError(Exception):
    """The device cannot be opened in a process of its own."""


class Worker:
    """One process, and what it has said."""

    def __init__(self, task: Task, list_rows: bool = False) -> None:
        self.task = task
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "needle_conformance.score.worker", str(writer)], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=self.errors, pass_fds=[writer], start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        os.set_blocking(reader, False)
        self.reader, self.unread = reader, b""
        self.began = time.monotonic()  # of what it does now
        self.row: str | None = None  # that it runs now
        self.waiting: list[str] = []  # rows of its chunk that it has not ended
        self.ready = False
        about = {"device": task.device, "only": task.only, "stages": task.stages, "quick": task.quick}
        self.send({**about, "measure": task.measure, "list": list_rows})

    def send(self, command: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; the reader will tell
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()

    def give(self, chunk: list[str]) -> None:
        self.waiting, self.began = list(chunk), time.monotonic()
        self.send({"run": chunk})

    def messages(self) -> Iterator[dict[str, Any]] | None:
        """What it said since, or None once it has died."""
        found = bytearray(self.unread)
        try:
            while part := os.read(self.reader, 1 << 16):
                found += part
        except BlockingIOError:
            ended = False
        else:
            ended = True
        *lines, self.unread = bytes(found).split(b"\n")
        return None if ended and not lines else iter([json.loads(line) for line in lines])

    @property
    def late(self) -> bool:
        return time.monotonic() - self.began > self.task.seconds

    def end(self, at_once: bool = False) -> str:
        """Stop it, by force if it is late or nobody waits; tell how it ended, with the last that it wrote."""
        was_alive = self.process.poll() is None and self.late
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if was_alive or at_once:
                os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        os.close(self.reader)
        last = last_words(self.errors)
        self.errors.close()
        return f"{ended(None if was_alive else code, self.task.seconds)}\n{last}".strip()


@dataclass
class Pool:
    """Runs rows in up to `jobs` workers; `tell` is called with each outcome."""

    task: Task
    jobs: int
    tell: Callable[[Outcome], None]
    workers: list[Worker] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)  # by op
    about: About = field(default_factory=About)

    def rows(self) -> list[Outcome]:
        """The rows of the device, as its first worker lists them."""
        worker = Worker(self.task, list_rows=True)
        self.workers.append(worker)
        while True:
            for message in self._listen(worker):
                if "no_device" in message:
                    raise DeviceError(message["no_device"])
                if "about" in message:
                    self.about = About(**message["about"])
                if "rows" in message:
                    worker.ready = True
                    return [Outcome.from_dict(row) for row in message["rows"]]

    def _listen(self, worker: Worker) -> Iterator[dict[str, Any]]:
        with selectors.DefaultSelector() as selector:
            selector.register(worker.reader, selectors.EVENT_READ)
            selector.select(0.2)
        found = worker.messages()
        if found is None or worker.late:
            self.workers.remove(worker)
            raise WorkerDiedError(worker.end())
        return found

    def run(self, outcomes: Sequence[Outcome]) -> None:
        """Run some rows; each outcome is filled in and told."""
        left = {o.id: o for o in outcomes}
        queue = [[o.id for o in outcomes[i : i + _CHUNK]] for i in range(0, len(outcomes), _CHUNK)]
        while left:
            queue = self._without_deadly(queue, left)
            self._hand_out(queue)
            for worker in self._heard():
                self._hear(worker, left, queue)

    def _without_deadly(self, queue: list[list[str]], left: dict[str, Outcome]) -> list[list[str]]:
        """The queue less the rows of ops that have killed too many workers; these are blocked."""
        deadly = {op for op, n in self.deaths.items() if n >= _DEATHS}
        if not deadly:
            return queue
        for row_id in [i for chunk in queue for i in chunk if left[i].op in deadly]:
            outcome = left.pop(row_id)
            outcome.status, outcome.reason = Status.BLOCKED, f"{_DEATHS} rows of {outcome.op} killed their process"
            self.tell(outcome)
        return [kept for chunk in queue if (kept := [i for i in chunk if i in left])]

    def _hand_out(self, queue: list[list[str]]) -> None:
        for worker in self.workers:
            if queue and not worker.waiting:
                worker.give(queue.pop(0))
        while queue and len(self.workers) < self.jobs:
            worker = Worker(self.task)
            worker.give(queue.pop(0))
            self.workers.append(worker)

    def _heard(self) -> list[Worker]:
        """The workers that have said something, died, or been silent for too long."""
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                selector.register(worker.reader, selectors.EVENT_READ, worker)
            heard = [key.data for key, _ in selector.select(0.2)]
        return heard + [w for w in self.workers if w not in heard and w.waiting and w.late]

    def _hear(self, worker: Worker, left: dict[str, Outcome], queue: list[list[str]]) -> None:
        found = worker.messages()
        for message in found or ():
            worker.began = time.monotonic()
            if "start" in message:
                worker.row = message["start"]
            elif "done" in message:
                outcome = Outcome.from_dict(message["done"])
                worker.row = None
                worker.waiting.remove(outcome.id)
                vars(left.pop(outcome.id)).update(vars(outcome))
                self.tell(outcome)
        if found is None or worker.late:
            self._bury(worker, left, queue)

    def _bury(self, worker: Worker, left: dict[str, Outcome], queue: list[list[str]]) -> None:
        """A worker that died: its row is told of, the rest of its chunk goes back to the queue."""
        self.workers.remove(worker)
        status = Status.TIMEOUT if worker.late else Status.CRASH
        told = worker.end()
        if worker.row is None and worker.waiting:
            if not any(self.deaths.values()):
                raise WorkerDiedError(told)
            worker.row = worker.waiting[0]
        if worker.row is not None:
            outcome = left.pop(worker.row)
            outcome.status, outcome.message, outcome.reason = status, told, told.splitlines()[0]
            about = outcome.op or outcome.id
            outcome.script = Replay(self.task.device, outcome.id, self.task.seconds).script(
                outcome.reason, shrink=not self.deaths[about] and self.deaths.total() < _SHRUNK
            )
            self.deaths[about] += 1
            worker.waiting.remove(outcome.id)
            self.tell(outcome)
        if worker.waiting:
            queue.insert(0, worker.waiting)

    def close(self) -> None:
        """Stop all workers; one that still has rows was interrupted, and nobody waits for them."""
        for worker in self.workers:
            worker.end(at_once=bool(worker.waiting))
        self.workers.clear()

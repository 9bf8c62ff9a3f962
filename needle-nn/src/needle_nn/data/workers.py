"""Worker processes that make batches ahead of time.

Worker w of n makes batches w, w + n, w + 2n, ... and sends each through a pipe of its own. A full pipe holds its
writer back, so every worker is a batch and a pipe's fill ahead, and reading the pipes in turn gives the batches in
their order. Nothing is shared and nothing is locked.
"""

import gc
import multiprocessing
import pickle
import random
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import DataError
from needle_nn.data.dataset import Arrays, Dataset, fetch

# Threads of other libraries do not live on in a forked process; the workers compute with NumPy alone and need none.
# On macOS system libraries may not be used after a fork.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


@dataclass(frozen=True)
class Job:
    """The batches of a pass: items by number, and for each batch the seed of its random transforms."""

    dataset: Dataset | Sequence[Any]
    parts: list[NumpyArray[Any]]
    seeds: list[tuple[int, int]]


@dataclass(frozen=True)
class Failure:
    """What a worker sends in the place of a batch that it could not make."""

    error: str
    trace: str
    expected: bool  # a DataError, whose text says all


@dataclass
class _Worker:
    process: BaseProcess
    reader: Connection


def batches(job: Job, workers: int, method: str) -> Iterator[Arrays]:
    """The batches in order, made by so many processes; they end with the iterator, however it ends."""
    crew: list[_Worker] = []
    try:
        for number in range(min(workers, len(job.parts))):
            crew.append(_start(job, number, workers, method))  # noqa: PERF401  if one fails, those before are dismissed
        for i in range(len(job.parts)):
            yield _receive(crew[i % workers], i, len(job.parts[i]))
    finally:
        _dismiss(crew)


def _start(job: Job, number: int, workers: int, method: str) -> _Worker:
    context: Any = multiprocessing.get_context(method)
    reader, writer = context.Pipe(duplex=False)
    inherited = reader if method == "fork" else None
    args = (job, number, workers, writer, inherited)
    process: BaseProcess = context.Process(target=_work, args=args, name=f"worker {number}", daemon=True)
    try:
        with warnings.catch_warnings():  # of forking a process with threads: see START_METHOD
            warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reader.close()
        raise DataError(
            f"DataLoader: the dataset cannot be sent to a worker process: {error}; define its classes and transforms "
            "at the top of a module, or use num_workers=0"
        ) from error
    finally:
        writer.close()  # the worker then holds the only one, and its end is the end of the pipe
    return _Worker(process, reader)


def _receive(worker: _Worker, batch: int, items: int) -> Arrays:
    """The worker's next batch, or its failure as an error."""
    wait([worker.reader, worker.process.sentinel])
    try:
        result = worker.reader.recv() if worker.reader.poll() else None
    except (EOFError, ConnectionError):
        result = None
    if result is None:
        raise DataError(f"DataLoader: {worker.process.name} {_death(worker.process)} in batch {batch} of {items} items")
    if isinstance(result, Failure):
        text = result.error if result.expected else f"DataLoader: batch {batch}: {result.error}"
        error = DataError(text)
        error.add_note(f"{worker.process.name}:\n{result.trace.rstrip()}")
        raise error
    arrays: Arrays = result
    return arrays


def _death(process: BaseProcess) -> str:
    process.join()
    code = process.exitcode or 0
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"


def _dismiss(crew: list[_Worker]) -> None:
    for worker in crew:
        worker.reader.close()
        worker.process.terminate()
    for worker in crew:
        worker.process.join()
        worker.process.close()


def _work(job: Job, number: int, workers: int, writer: Connection, inherited: Connection | None) -> None:
    """What a worker does. Ctrl-C is the main process's to handle; SIGTERM ends a worker at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if inherited is not None:  # forked: this copy of the reading end would keep the pipe open after its reader is gone
        inherited.close()
        gc.freeze()  # the main process's tensors are not this one's to free
    with suppress(BrokenPipeError, ConnectionError):  # nobody reads any longer
        for i in range(number, len(job.parts), workers):
            result = _make(job, i)
            writer.send(result)
            if isinstance(result, Failure):
                return


def _make(job: Job, i: int) -> Arrays | Failure:
    """Batch i. Its random numbers depend on its seed alone, and so not on the number of workers."""
    np.random.seed(job.seeds[i])
    random.seed(hash(job.seeds[i]))
    try:
        return fetch(job.dataset, job.parts[i])
    except Exception as error:
        expected = isinstance(error, DataError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        return Failure(text, traceback.format_exc(), expected)

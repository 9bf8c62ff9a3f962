"""Worker processes of the loader: the same batches, in order; their failures, deaths and ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from needle import data
from needle.errors import DataError

METHODS = ["fork", "spawn"]


class Numbers(data.Dataset):
    """0, 1, 2, ..., with something done at one of them."""

    def __init__(self, n: int, event: Callable[[], Any] | None = None, at: int = -1) -> None:
        super().__init__()
        self.n, self.event, self.at = n, event, at

    def __getitem__(self, index: int) -> Any:
        if index == self.at and self.event is not None:
            self.event()
        return np.float32(index), index

    def __len__(self) -> int:
        return self.n


def fail() -> None:
    raise LookupError("no such picture")


def fail_as_told() -> None:
    raise DataError("picture 7 is damaged")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    sys.exit(3)


def noise(image: Any) -> Any:
    return image + np.random.rand()


def passes(dataset: data.Dataset, n: int = 2, **options: Any) -> list[list[list[float]]]:
    np.random.seed(5)
    loader = data.DataLoader(dataset, 4, shuffle=True, **options)
    return [[batch[0].numpy().ravel().tolist() for batch in loader] for _ in range(n)]


@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (2, "fork"), (3, "fork"), (2, "spawn")])
def test_the_same_batches_in_the_same_order(workers: int, method: str) -> None:
    dataset = Numbers(22)
    assert passes(dataset, num_workers=workers, start_method=method) == passes(dataset)


def test_more_workers_than_batches_and_tensors_of_their_types() -> None:
    (x, y), *rest = data.DataLoader(Numbers(3), 2, num_workers=9)
    assert len(rest) == 1
    assert (x.dtype, y.dtype, y.numpy().tolist()) == ("float32", "int64", [0, 1])


def test_a_pass_can_begin_later() -> None:
    loader = data.DataLoader(Numbers(10), 3, shuffle=True, num_workers=2)
    np.random.seed(2)
    whole = [batch[0].numpy().tolist() for batch in loader]
    np.random.seed(2)
    assert [batch[0].numpy().tolist() for batch in loader.batches(start=2)] == whole[2:]


@pytest.mark.parametrize("generator", [None, 4])
def test_random_transforms_do_not_depend_on_how_many_workers_there_are(generator: int | None) -> None:
    dataset = data.ImageDataset(np.zeros((12, 1, 1), np.uint8), np.zeros(12), transforms=[noise])

    def drawn(workers: int) -> Any:
        own = None if generator is None else np.random.default_rng(generator)
        return passes(dataset, num_workers=workers, generator=own)

    first, second = drawn(1)
    assert drawn(1) == drawn(3) == [first, second]
    assert len({value for batch in first + second for value in batch}) == 24


def test_unshuffled_passes_draw_anew() -> None:
    dataset = data.ImageDataset(np.zeros((4, 1, 1), np.uint8), np.zeros(4), transforms=[noise])
    loader = data.DataLoader(dataset, 4, num_workers=1)
    assert next(iter(loader))[0].numpy().tolist() != next(iter(loader))[0].numpy().tolist()


FAILURES = [
    (fail, "DataLoader: batch 2: LookupError: no such picture"),
    (fail_as_told, "picture 7 is damaged"),
    (die, "DataLoader: worker 0 was killed by SIGKILL in batch 2 of 3 items"),
    (leave, "DataLoader: worker 0 exited with status 3 in batch 2 of 3 items"),
]


@pytest.mark.parametrize(("event", "text"), FAILURES, ids=[event.__name__ for event, _ in FAILURES])
@pytest.mark.parametrize("method", METHODS)
def test_a_failure_comes_as_one_error_in_its_place(event: Any, text: str, method: str) -> None:
    loader = data.DataLoader(Numbers(20, event, at=7), 3, num_workers=2, start_method=method)
    batches = iter(loader)
    assert [next(batches)[0].numpy().tolist() for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(DataError) as caught:
        next(batches)
    assert str(caught.value) == text
    if event in (fail, fail_as_told):
        (note,) = caught.value.__notes__
        assert note.startswith("worker 0:\nTraceback (most recent call last):\n")
        assert f"in {event.__name__}\n" in note
    assert not multiprocessing.active_children()


def test_what_cannot_be_sent() -> None:
    dataset = data.ImageDataset(np.zeros((4, 1, 1), np.uint8), np.zeros(4), transforms=[lambda x: x])
    with pytest.raises(DataError) as caught:
        list(data.DataLoader(dataset, 2, num_workers=2, start_method="spawn"))
    text = str(caught.value)
    assert text.startswith("DataLoader: the dataset cannot be sent to a worker process: ")
    assert text.endswith("; define its classes and transforms at the top of a module, or use num_workers=0")
    assert len(list(data.DataLoader(dataset, 2, num_workers=2, start_method="fork"))) == 2
    with pytest.raises(DataError, match="num_workers is -1; it must be 0 or more"):
        data.DataLoader(dataset, num_workers=-1)


def test_an_abandoned_pass_leaves_no_process() -> None:
    batches = iter(data.DataLoader(Numbers(20_000), 1, num_workers=3))
    next(batches)
    assert len(multiprocessing.active_children()) == 3
    del batches
    assert not multiprocessing.active_children()


SCRIPT = """
import os, signal, time
import numpy as np
from needle import data

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs, tests among them, ignore

class Slow(data.Dataset):
    def __getitem__(self, index):
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(0.05)
        return np.float32(index)
    def __len__(self):
        return 10_000

for batch in data.DataLoader(Slow(), 1, num_workers=2):
    pass
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_main_process(how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    assert process.stdout is not None
    pids = {int(process.stdout.readline()) for _ in range(6)}
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.kill()
    _, errors = process.communicate(timeout=20)
    assert errors.count("Traceback") == (1 if how is signal.SIGINT else 0), errors
    end = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(pids) == 2
    assert not any(map(alive, pids))

"""What the score says: each status, reasons, blocking, and that what did not run never passes."""

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import right
from conftest import Here

import needle as ndl
from needle.errors import DeviceError
from needle_conformance.score.attempt import attempt
from needle_conformance.score.card import Card, native_share, percent
from needle_conformance.score.pool import Pool, Task
from needle_conformance.score.rows import rows
from needle_conformance.score.runner import score
from needle_conformance.score.status import Outcome, Status


def statuses(card: Card, op: str = "", stage: str = "") -> set[Status]:
    return {row.status for row in card.rows if op in ("", row.op) and stage in ("", row.stage)}


@pytest.mark.parametrize(("device", "way", "reason"), [
    ("memory", Status.HOST, "the backend has no"), ("required", Status.COMPOSED, "the backend has no softmax"),
    ("numpy", Status.NATIVE, ""), ("narrow", Status.COMPOSED, "the backend has no softmax"),
])  # fmt: skip
def test_ways(device: str, way: Status, reason: str, here: Here) -> None:
    """Devices of four functions, of ten and of all; what they do not have is told."""
    card = here(device, "softmax", "T")
    assert card.passed, [f"{r.id}: {r.reason}" for r in card.failures()]
    assert statuses(card, "softmax") == {way}
    assert statuses(card, "T") >= {Status.VIEW}
    assert all(reason in row.reason for row in card.kernels)
    assert native_share(card.kernels) == (way is Status.NATIVE)


@pytest.mark.parametrize("device", ["memory", "required", "narrow"])
def test_incomplete_devices_pass(device: str, here: Here) -> None:
    card = here(device, quick=True)
    assert card.passed, [f"{r.id}: {r.reason}" for r in card.failures()]
    assert percent(native_share(card.required)) == ("0 %" if device == "memory" else "100 %")
    assert len(card.rows) > 2000
    assert Status.BLOCKED not in statuses(card)


def test_bytes(here: Here) -> None:
    """What a fallback copies is counted: both operands there, the result there and back."""
    [row] = here("memory", "kernels/kernel/add[float32-compact]").rows
    assert (row.bytes, row.moved) == (3 * 240, 4 * 240)
    [row] = here("required", "kernels/kernel/add[float32-compact]").rows
    assert (row.bytes, row.moved) == (3 * 240, 0)


def test_a_declined_kernel_is_on_the_host(here: Here) -> None:
    card = here("declining", "tanh")
    assert statuses(card, "tanh", "kernels") == {Status.HOST}
    assert {row.reason for row in card.kernels} == {"no tanh in the hardware"}


def test_expected_failures(here: Here) -> None:
    """They are tolerated, and do not block; a pattern's brackets are brackets."""
    card = here("sine_expected", "kernels/kernel/exp[float32-p*", "ops/values/exp[float32-compact]", "tanh")
    assert card.passed
    assert {(row.stage, row.status) for row in card.rows if row.op == "exp"} == {
        ("kernels", Status.XFAIL), ("ops", Status.XFAIL),
    }  # fmt: skip
    assert {row.reason for row in card.rows if row.status is Status.XFAIL} == {"exp is sine here", "here too"}


def test_expected_failures_are_strict(here: Here) -> None:
    card = here("right_but_expected", "tanh", stages=("ops",))
    assert {row.dtype for row in card.failures()} == {"float32"}
    assert {(row.status, row.reason) for row in card.failures()} == {(Status.XPASS, "it never fails")}


def test_expected_failures_name_rows() -> None:
    """Told where the whole suite was asked for; a part of it cannot know."""
    device = ndl.device("name_less")
    whole = {row.id: row for row in rows(device)}
    failed = attempt(whole["metadata/profile"], device)
    assert (failed.status, failed.reason) == (Status.FAIL, "xfails['ops/values/tanhh[*'] matches no test")
    assert score(Task("name_less", stages=("metadata",)), 0).passed


def test_wider_tolerance(here: Here) -> None:
    assert here("wider", "tanh", stages=("kernels", "ops")).passed
    assert not here("sine", "exp", stages=("kernels",)).passed


def test_a_failure_blocks_later_stages(here: Here) -> None:
    card = here("sine", "exp", "tanh")
    assert statuses(card, stage="kernels") == {Status.NATIVE, Status.FAIL}
    assert statuses(card, stage="ops") == statuses(card, stage="gradients") == {Status.BLOCKED}
    assert "stage kernels failed" in {row.reason for row in card.rows}
    assert native_share(card.functions) == 0
    going_on = here("sine", "exp", "tanh", keep_going=True)
    assert Status.BLOCKED not in statuses(going_on)
    assert statuses(going_on, "exp", "ops") >= {Status.FAIL}
    assert statuses(going_on, "tanh", "ops") == {Status.NATIVE}
    assert Status.BLOCKED not in statuses(here("sine", "exp", stages=("ops",)))


def test_what_did_not_run_has_not_passed(here: Here) -> None:
    assert not Card("x", "", []).passed
    blocked = Outcome("a", "kernels", "exp", "float32", "compact")
    assert not Card("x", "", [blocked]).passed
    assert native_share([blocked]) == 0
    card = here("numpy", "exq", "tanh")
    assert not card.passed
    assert [(row.id, row.reason) for row in card.failures()] == [
        ("exq", "--only: no row has this op or an id that matches")
    ]


# In worker processes.


def test_a_crash_is_a_row() -> None:
    """The rows of the op that kills its process, and no others; after three, the rest of them are not tried."""
    card = score(Task("crashing", ("reciprocal", "exp"), ("kernels", "ops"), quick=True), 2, keep_going=True)
    crashed = [row for row in card.rows if row.status is Status.CRASH]
    assert {row.op for row in crashed} == {"reciprocal"}
    assert all("SIGSEGV" in row.reason and "in unary" in row.message for row in crashed)
    assert not any("Extension modules" in row.message for row in crashed)
    assert all("# the row alone: the process died of SIGSEGV\n# kernel reciprocal" in row.script for row in crashed)
    blocked = [row for row in card.rows if row.status is Status.BLOCKED]
    assert {row.reason for row in blocked} <= {"3 rows of reciprocal killed their process"}
    assert len(crashed) <= 4
    assert statuses(card, "exp") == {Status.NATIVE}


def test_what_is_interrupted_ends_at_once() -> None:
    """Ctrl-C closes the pool while a worker is in the middle of a row."""
    pool = Pool(Task("hanging", ("kernels/kernel/trunc[float32-compact]",)), 1, lambda outcome: None)
    [row] = pool.rows()
    [worker] = pool.workers
    worker.give([row.id])
    said: list[dict[str, Any]] = []
    while {"start": row.id} not in said:
        said += worker.messages() or ()
        time.sleep(0.01)
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 2
    assert worker.process.returncode == -signal.SIGKILL


def test_an_exit_is_a_row() -> None:
    card = score(Task("exiting", ("kernels/kernel/atan2[float32-compact]", "kernels/kernel/add[float32-compact]")), 1)
    assert {row.op: row.status for row in card.rows} == {"add": Status.NATIVE, "atan2": Status.CRASH}
    [row] = card.failures()
    assert row.message == "the process ended with status 3\nlost the device"


def test_a_hang_is_a_row() -> None:
    card = score(Task("hanging", ("kernels/kernel/trunc[float32-compact]", "ceil"), ("kernels",), seconds=2.0), 2)
    assert statuses(card, "ceil") == {Status.NATIVE}
    [row] = card.failures()
    assert (row.status, row.reason) == (Status.TIMEOUT, "no answer for 2 s; its process was ended")


@pytest.mark.parametrize(("jobs", "how"), [(1, "the process ended with status 1: needle.errors.BackendError"), (0, "")])
def test_a_device_that_does_not_open(jobs: int, how: str) -> None:
    [row] = score(Task("unopenable"), jobs).rows
    assert row.status is Status.CRASH
    assert row.reason.startswith(f"unopenable does not open: {how}")
    assert "RuntimeError: no such library" in row.reason
    assert "right.py" in row.message


@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize(("device", "text"), [
    ("cuda9", "no device 'cuda9'; ready: "), ("numpy:1", "no device 'numpy:1'; numpy has only 0"),
])  # fmt: skip
def test_a_device_that_is_not_there(device: str, text: str, jobs: int) -> None:
    with pytest.raises(DeviceError, match=text):
        score(Task(device), jobs)


def test_slips_of_the_pen(here: Here) -> None:
    """Methods that are like a missing one of the protocol; none of a device that has no such."""
    found = here("misspelt", "exp", stages=("kernels",)).hints
    assert found == [
        f"Misspelt.{name} is no function of the protocol and is never called; did you mean {likely}?"
        for name, likely in (("log_softmax_", "log_softmax"), ("matmull", "matmul"))
    ]
    for device in ("numpy", "required", "memory"):
        assert here(device, "exp", stages=("kernels",)).hints == []


def test_an_exception_tells_its_line(here: Here) -> None:
    """The last one of the backend's own, not of the library that it called."""
    card = here("raising", "kernels/kernel/exp[float32-compact]")
    [row] = card.failures()
    text = Path(right.__file__).read_text()
    line = 1 + text[: text.index("return read(x).resh")].count("\n")
    assert row.reason == (
        f"ValueError: cannot reshape array of size 60 into shape (7,11), at right.py:{line}, in _refused"
    )
    assert row.message.endswith(
        f"\nat right.py:{line}, in _refused: return read(x).reshape(-1, 7, 11)  # the line that a report must show"
    )
    [row] = here("sine", "kernels/kernel/exp[float32-compact]").failures()
    assert "right.py" not in row.message, "a wrong number has no line"


def test_printing_does_no_harm() -> None:
    card = score(Task("printing", ("kernels/kernel/exp[float32-compact]", "metadata/describe")), 1)
    assert card.passed


def test_json(tmp_path: Path, here: Here) -> None:
    """A card survives, and its summary says what it says."""
    card = here("sine", "exp", "tanh")
    (tmp_path / "card.json").write_text(card.as_json())
    assert Card.read(tmp_path / "card.json") == card
    summary = json.loads(card.as_json())["summary"]
    assert summary["passed"] is False
    assert 0 < summary["primitives"] < 1


@pytest.mark.parametrize(("content", "why"), [
    (b"", "JSONDecodeError"), (b"\xff\xfe", "UnicodeDecodeError"), (b"[1, 2]", "TypeError"),
    (b"[" * 10**5, "RecursionError"),
    (b'{"format": 1}', "KeyError: 'rows'"), (b'{"name": "needle"}', "KeyError: 'format'"),
    (b'{"format": 1, "rows": 3}', "TypeError"), (b'{"format": 1, "rows": "abc"}', "TypeError"),
    (b'{"format": 1, "rows": [{"id": "a", "stage": "ops", "status": "GOOD"}]}',
     "ValueError: 'GOOD' is not a valid Status"),
    (b'{"format": 1, "rows": [{"id": 3, "stage": "ops", "status": "PASS"}]}', "TypeError: id is 3"),
    (b'{"format": 1, "rows": [{"id": "a", "stage": "ops", "status": "PASS", "seconds": "1"}]}',
     "TypeError: seconds is '1'"),
    (b'{"format": 1, "rows": [], "device": "a", "description": "", "options": [], "seconds": 1, "versions": {}}',
     "TypeError: options is []"),
])  # fmt: skip
def test_what_is_no_card(content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"card.json: no score of needle-conform ({why}")):
        Card.read(file)


def test_a_card_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"format": 7, "rows": []}')
    with pytest.raises(ValueError, match=r"card\.json: a score of format 7, this is needle-conformance for 1"):
        Card.read(tmp_path / "card.json")

"""Random programs: the right ones pass, a wrong device is caught, and the script fails again."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import seed as seeded

import needle as ndl
from needle.errors import DeviceError
from needle_conformance.fuzz.parent import fuzz
from needle_conformance.fuzz.program import Program
from needle_conformance.fuzz.strategies import programs


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(program=programs())
def test_the_reference_is_right(program: Program) -> None:
    program.check(ndl.device("numpy"))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(program=programs())
def test_compiled_programs_give_what_they_give_eager(program: Program) -> None:
    program.check(ndl.device("numpy"), compiled=True)


def test_programs_differ_and_are_of_many_ops() -> None:
    """The functions that programs call: all that the strategies know, sooner or later."""
    wanted = {"tanh", "exp", "relu", "where", "maximum", "sum", "logsumexp", "softmax", "cumsum", "reshape", "permute",
              "flip", "concatenate", "@", "/", "*", "astype"}  # fmt: skip
    seen: set[str] = set()

    @settings(max_examples=200, deadline=None, database=None)
    @given(program=programs())
    def collect(program: Program) -> None:
        seen.update(word for s in program.statements for word in s.replace("(", " ").replace(".", " ").split())

    for round_ in range(20):  # which come in one round depends on hypothesis
        seeded(round_)(collect)()
        if seen >= wanted:
            break
    assert seen >= wanted


@pytest.mark.parametrize(("device", "calls"), [
    ("halves_accumulate_in_half", None),  # which random float32 programs cannot see
    ("sine", r"(exp|erf)\("),  # the gradient of erf is an exp; which program comes first, hypothesis decides
    ("batches_share_the_first_matrix", "@"), ("crashing", "/"),
])  # fmt: skip
def test_a_wrong_device(device: str, calls: str | None) -> None:
    found = fuzz(device, minutes=0.5 if calls else 0.02)
    if calls is None:
        assert (found.failure, found.count > 0) == ("", True)
        return
    assert found.failure
    assert re.search(calls, found.script)
    assert found.script.count("# v") <= 3 or "process ended" in found.failure
    again = subprocess.run([sys.executable, "-W", "ignore", "-c", found.script], capture_output=True, text=True,
                           check=False)  # fmt: skip
    assert again.returncode != 0
    assert "AssertionError: " in again.stderr or again.returncode < 0, again.stderr


def test_a_hang() -> None:
    found = fuzz("hanging_on_sums", minutes=1, limit=3)
    assert found.failure == "no answer for 3 s"
    assert "sum" in found.script


def test_an_exception_tells_its_line() -> None:
    found = fuzz("raising", minutes=2)
    assert re.search(r"\nat right.py:\d+, in _refused: return read", found.failure)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="no device 'numpy:1'; numpy has only 0"):
        fuzz("numpy:1", minutes=0.02)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fuzz("numpy", minutes=0.03).count
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_does_not_open() -> None:
    found = fuzz("unopenable", minutes=0.02)
    assert "no such library" in found.failure

"""Scripts of what a row's values do not show: derivatives, crashes, hangs; each fails again in a process of its own."""

import re
import subprocess
import sys

import pytest
from conftest import Here

import needle as ndl
from needle.dispatch import dispatcher
from needle.dtype import as_dtype
from needle.ops.matmul import MatMul
from needle_conformance.calls import calls_of
from needle_conformance.cases import CASES
from needle_conformance.score.attempt import attempt
from needle_conformance.score.pool import Task
from needle_conformance.score.replay import Replay
from needle_conformance.score.rows import find, row_script
from needle_conformance.score.runner import score
from needle_conformance.score.status import Outcome, Status
from needle_conformance.shrink import WHOLE, shrunk_script
from needle_conformance.trial import Trial


def again(script: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)


@pytest.mark.parametrize(("device", "row", "texts"), [
    ("wrong_slopes", "gradients/first/sin[float64-permuted]",
     ["# first derivative of sin[float64-compact]", "operand 0: float64 (1, 1), strides (1, 1), offset 0"]),
    ("wrong_slopes", "gradients/first/sin[float16-sliced]",
     ["# first derivative of sin[float16-compact]", "operand 0: float16 (1, 1)", "np.array([[0.0]], 'float16')"]),
    ("wrong_slopes", "gradients/second/sin[float64-compact]",
     ["# second derivative of sin[float64-compact]", "operand 0: float64 (1, 1)"]),
    ("wrong_strided_slopes", "gradients/first/sin[float64-sliced]",
     ["# first derivative of sin[float64-sliced]", "operand 0: float64 ("]),
])  # fmt: skip
def test_gradient(device: str, row: str, texts: list[str], here: Here) -> None:
    """The smallest operands of a wrong derivative; both derivatives are printed, and compared again."""
    [failed] = here(device, row).rows
    assert failed.status is Status.FAIL
    assert all(text in failed.script for text in [*texts, ", seed "]), failed.script
    ran = again(failed.script)
    assert "by rule, on the device: [" in ran.stdout
    assert "by central differences, " in ran.stdout
    assert re.search(r"AssertionError: .*(gradient of operand|second derivative) \d: ", ran.stderr), ran.stderr


def test_a_wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong on the reference as well: fewer elements, also where a row fixes the shapes, but the same values."""
    right = MatMul.vjp
    monkeypatch.setattr(MatMul, "vjp", lambda op, g, *rest: right(op, -g, *rest))
    trial = find("numpy", "gradients/first/matmul[float64-permuted]").trial
    script = shrunk_script("first", trial)
    assert "# operand 0: float64 (1, 1), " in script
    assert "# operand 1: float64 (1, 1), " in script
    with pytest.raises(AssertionError, match="gradient of operand 0: 1 of 1 elements differ"):
        exec(script, {})


def test_the_function_itself_is_right(here: Here) -> None:
    """So that its own script would have passed."""
    assert here("wrong_slopes", "ops/values/sin[float64-*").passed


@pytest.mark.parametrize(("test", "dtype"), [("first", "float32"), ("second", "float64")])
def test_gradient_scripts_are_python(test: str, dtype: str) -> None:
    """Of every row: it runs, and finds nothing wrong with the reference."""
    device = ndl.device("numpy")
    available = dispatcher(device).backend.dtypes
    cases = [c for c in CASES if dtype in c.float_dtypes(available) and (test == "first" or c.polymorphic)]
    assert len(cases) > 40
    for case in cases:
        if test == "second" and case.orders < 2:
            continue
        call = next(calls_of(test, Trial(case, device, as_dtype(dtype), "permuted")))
        exec(call.script(WHOLE), {})


def test_a_row_without_operands() -> None:
    """Its script runs the row alone."""
    failed = attempt(find("dtypes_are_missing", "metadata/dtypes"), ndl.device("dtypes_are_missing"))
    assert failed.script.startswith("# metadata/dtypes on dtypes_are_missing:0\n")
    assert again(failed.script).returncode == 1
    assert again(row_script("numpy", "metadata/dtypes")).returncode == 0


def one(device: str, row: str, seconds: float = 60.0) -> Outcome:
    [failed] = score(Task(device, (row,), seconds=seconds), 1).failures()
    return failed


@pytest.mark.parametrize(("row", "about", "operands"), [
    ("kernels/kernel/reciprocal[float32-permuted]", "# kernel reciprocal[float32-permuted]", "(1, 1, 1)"),
    ("ops/values/div[float32-flipped]", "# div[float32-compact]", "operand 1: float32 (1, 1, 1), strides"),
    ("gradients/first/div[float32-permuted]", "# first derivative of div[float32-compact]",
     "operand 1: float32 (1, 1), strides"),
])  # fmt: skip
def test_crash(row: str, about: str, operands: str) -> None:
    """The call that killed the process, made smaller in processes of its own; and it does so again."""
    failed = one("crashing", row)
    assert failed.status is Status.CRASH
    assert failed.script.startswith(
        "# seen: the process died of SIGSEGV\n# the row alone: the process died of SIGSEGV\n"
    )
    assert all(text in failed.script for text in (about, ", seed ", operands, "; shrunk to")), failed.script
    assert again(failed.script).returncode == -11


def test_crash_of_more_than_calls() -> None:
    """A row that asks more than whether its calls are right is run as it is."""
    failed = one("crashing", "ops/shapes/div[float32-compact]")
    assert "# operand 1: float32 (3, 4, 5), strides (20, 5, 1), offset 0\n" in failed.script
    assert again(failed.script).returncode == -11


def test_not_alone() -> None:
    """What a row alone does not show is not said of it."""
    script = Replay("numpy", "kernels/kernel/exp[float32-compact]", 10.0).script("it died", shrink=True)
    assert script.startswith(
        "# seen: it died\n# the row alone did not end its process; what ran before it may matter\n"
    )
    assert again(script).returncode == 0


def test_exit() -> None:
    failed = one("exiting", "kernels/kernel/atan2[float32-compact]")
    assert failed.script.startswith("# seen: the process ended with status 3\n")
    ran = again(failed.script)
    assert (ran.returncode, ran.stderr) == (3, "lost the device\n")


def test_hang() -> None:
    failed = one("hanging", "kernels/kernel/trunc[float32-compact]", seconds=2.0)
    assert failed.status is Status.TIMEOUT
    assert failed.script.startswith("# seen: no answer for 2 s; its process was ended\n# the row alone: no answer for")
    assert "strides (20, 5, 1), offset 0" in failed.script
    with pytest.raises(subprocess.TimeoutExpired):
        again(failed.script, seconds=4.0)

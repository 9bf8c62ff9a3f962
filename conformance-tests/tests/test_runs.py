"""How a run of the pytest plug-in ends, in a process of its own; `test_score.py` tries the rows themselves."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from needle.registry import device as as_device
from needle_conformance.score.rows import rows


@dataclass
class Run:
    """What a run of the suite gave."""

    code: int
    text: str

    @property
    def counts(self) -> Counter[str]:
        """The outcomes of the last line: `3 failed, 20 passed, 7 blocked`."""
        last = self.text.strip().splitlines()[-1]
        return Counter({name: int(n) for n, name in re.findall(r"(\d+) (\w+)", last)})

    @property
    def failed(self) -> set[str]:
        """The stages that failed."""
        return set(re.findall(r"^FAILED \S*test_(\w+)\.py::", self.text, re.MULTILINE))


Conform = Callable[..., Run]


@pytest.fixture
def conform(tmp_path: Path) -> Conform:
    """conform(device, arguments) runs the suite on a device of these tests."""

    def run(device: str, *arguments: str) -> Run:
        command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=short", "-p", "no:cacheprovider",
                   "-p", "needle_conformance.plugin", f"--rootdir={tmp_path}", "--pyargs", "needle_conformance",
                   *(["--device", device] if device else []), *arguments]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        return Run(done.returncode, done.stdout + done.stderr)

    return run


def test_some_of_it(conform: Conform) -> None:
    run = conform("wider", "--stage", "memory", "--stage", "metadata", "-k", "item or describe")
    assert run.code == 0, run.text
    assert "wider:0: NumPy" in run.text
    assert "wider:0: NumPy" in run.text


def test_what_was_not_native_is_told(conform: Conform) -> None:
    run = conform("required", "--stage", "training", "-k", "by_hand")
    assert run.code == 0, run.text
    assert re.search("composed +the backend has no matmul: matmul", run.text)


def test_processes_count_together(conform: Conform) -> None:
    pytest.importorskip("xdist")
    options = "--stage", "training", "-k", "by_hand"
    alone, spread = conform("required", *options), conform("required", *options, "-n", "2")
    assert spread.code == 0, spread.text
    for line in (r"training +\d+ passed", r"composed +the backend has no matmul: matmul \(\d+ times\)"):
        assert re.search(line, spread.text)[0] == re.search(line, alone.text)[0]  # type: ignore[index]


def test_processes_in_which_nothing_ran_are_a_failure(conform: Conform) -> None:
    pytest.importorskip("xdist")
    run = conform("wider", "--stage", "memory", "-k", "no_such_test", "-n", "2")
    assert run.code != 0
    assert "FAILED wider:0: nothing ran on it" in run.text


def test_nothing_run_is_a_failure(conform: Conform) -> None:
    run = conform("wider", "--device", "numpy", "--stage", "memory", "-k", "numpy and synchronize")
    assert run.code == 1
    assert "FAILED wider:0: nothing ran on it" in run.text
    assert "FAILED numpy:0" not in run.text
    assert run.text.count("every op ran natively") == 1  # of numpy


@pytest.mark.parametrize(("device", "text"), [
    ("cuda9", "no device 'cuda9'; ready:"), ("numpy:7", "no device 'numpy:7'; numpy has only 0"),
    ("a b", "device: cannot read 'a b'"),
])  # fmt: skip
def test_unknown_device(device: str, text: str, conform: Conform) -> None:
    run = conform(device)
    assert run.code == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --device: {text}" in run.text


def test_a_failure_blocks_what_comes_after(conform: Conform) -> None:
    run = conform("sine", "--stage", "kernels", "--stage", "errors", "-k", "exp[float32 or refused")
    assert run.code == 1
    assert run.failed == {"kernels"}
    assert run.counts["blocked"] > 20
    assert "to reproduce kernels/kernel/exp[float32-offset]" in run.text
    assert "read: float32 (3, 4, 5), strides (20, 5, 1), offset 7" in run.text
    assert "t = trial('exp', 'sine:0', 'float32', 'offset')" in run.text


def test_a_gradient_has_its_own_script(conform: Conform) -> None:
    run = conform("wrong_slopes", "--stage", "gradients", "-k", "test_first and 0-sin[float64-compact")
    assert run.counts["failed"] == 1, run.text
    assert "# first derivative of sin[float64-compact] on wrong_slopes:0, seed " in run.text
    assert "d.check_first()" in run.text


def test_expected_failures(conform: Conform) -> None:
    """They pass for failures and block nothing; one that passes is a failure."""
    run = conform("sine_expected_too", "--stage", "kernels", "--stage", "errors", "-k",
                  "(0-exp[float32-p and not prob) or (refused and squeeze)")  # fmt: skip
    assert run.counts["xfailed"] > 1
    assert not run.counts["blocked"], run.text[-3000:]
    assert run.failed == {"errors"}
    assert "it never fails" in run.text


def test_ids_are_those_of_the_score(conform: Conform) -> None:
    """What pytest collects and what is scored are the same tests."""
    run = conform("wider", "--collect-only", "--stage", "copy", "--stage", "errors", "--stage", "training")
    found = re.findall(r"test_(\w+)\.py::test_(\w+)\[wider:0-?(.*)\]$", run.text, re.MULTILINE)
    ids = {f"{stage}/{test}" + (f"/{trial}" if trial else "") for stage, test, trial in found}
    assert ids == {row.id for row in rows(as_device("wider"), stages=("copy", "errors", "training"))}

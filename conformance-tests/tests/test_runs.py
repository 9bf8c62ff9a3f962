"""How a run ends: what did not run is no success, and expected failures are strict."""

from collections.abc import Callable

import pytest
from backends import REFERENCE
from conftest import Run

RIGHT = REFERENCE
WRONG_EXP = (
    REFERENCE
    + """
    def unary(self, kind, dst, x):
        super().unary(Unary.SIN if kind is Unary.EXP else kind, dst, x)
"""
)

ConformFixture = Callable[..., Run]


def test_some_of_it(conform: ConformFixture) -> None:
    run = conform(RIGHT, "--stage", "ops", "--stage", "metadata", "-k", "tanh or describe")
    assert run.code == 0, run.text
    assert "made:0: NumPy" in run.text
    assert "every op ran natively" in run.text


def test_nothing_run_is_a_failure(conform: ConformFixture) -> None:
    run = conform(RIGHT, "--stage", "memory", "-k", "no_test_has_this_name")
    assert run.code != 0
    assert "FAILED made:0: nothing ran on it" in run.text


def test_nothing_run_on_one_of_two_is_a_failure(conform: ConformFixture) -> None:
    run = conform(RIGHT, "--device", "numpy", "--stage", "memory", "-k", "numpy and synchronize")
    assert run.code == 1
    assert "FAILED made:0: nothing ran on it" in run.text
    assert "FAILED numpy:0" not in run.text


@pytest.mark.parametrize(("device", "text"), [
    ("cuda9", "no device 'cuda9'; ready:"), ("numpy:7", "no device 'numpy:7'; numpy has only 0"),
    ("a b", "cannot read 'a b'"),
])  # fmt: skip
def test_unknown_device(device: str, text: str, conform: ConformFixture) -> None:
    run = conform(None, device=device)
    assert run.code == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --device: {'device: ' if ' ' in device else ''}{text}" in run.text


def test_all_devices_by_default(conform: ConformFixture) -> None:
    run = conform(RIGHT, "--stage", "metadata", device="")
    assert run.code == 0, run.text
    assert "\nmade:0: NumPy" in run.text
    assert "\nnumpy:0: NumPy" in run.text


def test_a_failure_blocks_what_comes_after(conform: ConformFixture) -> None:
    run = conform(WRONG_EXP, "-k", "exp[")
    assert run.code == 1
    assert run.failed == {"kernels"}
    assert run.counts["blocked"] > 20
    assert "ops       " in run.text


def test_a_stage_alone_is_not_blocked(conform: ConformFixture) -> None:
    run = conform(WRONG_EXP, "--stage", "ops", "-k", "exp[float32 or tanh[float32")
    assert run.failed == {"ops"}
    assert not run.counts["blocked"]


def test_expected_failures(conform: ConformFixture) -> None:
    """They pass for failures, and block nothing; a pattern's brackets are brackets."""
    xfails = {"kernels/kernel/exp[*": "exp is sine here", "ops/values/exp[*": "here too"}
    stages = ("--stage", "kernels", "--stage", "ops", "--stage", "errors")
    run = conform(
        WRONG_EXP, *stages, "-k", "(0-exp[float32 and not shapes and not empty) or (refused and squeeze)", xfails=xfails
    )
    assert run.counts["xfailed"] > 10
    assert not run.counts["failed"], run.text[-3000:]


def test_expected_failures_are_strict(conform: ConformFixture) -> None:
    run = conform(RIGHT, "--stage", "ops", "-k", "tanh[float32", xfails={"ops/values/tanh[float32-*": "it never fails"})
    assert run.code == 1
    assert run.failed == {"ops"}
    assert "it never fails" in run.text


def test_expected_failures_name_tests(conform: ConformFixture) -> None:
    """Told where all stages are run; a part of them cannot tell."""
    of_each_stage = "profile or synchronize or order or tanh[float32-compact or reshape_rest or by_hand"
    run = conform(RIGHT, "-k", of_each_stage, xfails={"ops/values/tanhh[*": "a slip of the pen"})
    assert run.failed == {"metadata"}
    assert "xfails['ops/values/tanhh[*'] matches no test" in run.text
    assert conform(None, "--stage", "metadata", "-k", "profile").code == 0


def test_wider_tolerance(conform: ConformFixture) -> None:
    """The backend's own, by op and dtype."""
    source = (
        REFERENCE
        + """
    def unary(self, kind, dst, x):
        super().unary(kind, dst, x)
        if kind is Unary.TANH and dst.dtype == "float32":
            write(dst, read(dst) * np.float32(1.0001))
"""
    )
    run = conform(source, "-k", "tanh[float32-compact", rtol={("tanh", "float32"): 2e-4})
    assert run.failed <= {"gradients"}, run.text[-3000:]

"""How the suite runs: devices, the order of the stages, blocking, expected failures, and the report."""

from collections.abc import Generator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import Any

import pytest

from needle.device import Device
from needle.dispatch import dispatcher
from needle.errors import NeedleError
from needle.fallback import reset_fallbacks, set_fallback
from needle.registry import device as as_device
from needle.registry import devices as ready_devices
from needle.registry import registry
from needle_conformance.plugin import STAGES
from needle_conformance.progress import Progress
from needle_conformance.score.rows import row_script
from needle_conformance.shrink import shrunk_script
from needle_conformance.workers import Gathering

PROGRESS = pytest.StashKey[Progress]()
_TESTS = "needle_conformance.test_"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PROGRESS] = Progress(_devices(config.getoption("needle_devices")))
    config.pluginmanager.register(Gathering(config.stash[PROGRESS]))
    fallbacks_pass = ExitStack()
    fallbacks_pass.enter_context(set_fallback("silent"))
    config.add_cleanup(fallbacks_pass.close)
    reset_fallbacks()


def _devices(names: list[str]) -> list[Device]:
    """The devices asked for, or all that are ready; each is opened, so that one that cannot be ends the run here."""
    try:
        found = list(dict.fromkeys(as_device(name) for name in names)) or ready_devices()
        for device in found:
            dispatcher(device)
    except NeedleError as error:
        raise pytest.UsageError(f"--device: {error}") from error
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test runs on each device, and over each trial if it is marked so."""
    if not metafunc.module.__name__.startswith(_TESTS):
        return
    devices = metafunc.config.stash[PROGRESS].devices
    marker = metafunc.definition.get_closest_marker("over")
    if marker is None:
        metafunc.parametrize("device", devices, ids=str)
        return
    pairs = [(device, trial) for device in devices for trial in marker.args[0](device)]
    metafunc.parametrize(("device", "trial"), pairs, ids=[f"{device}-{trial}" for device, trial in pairs])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Our items by device and stage, after all others."""
    devices = config.stash[PROGRESS].devices
    ours = [item for item in items if _is_ours(item)]
    others = [item for item in items if not _is_ours(item)]
    kept = [item for item in ours if device_of(item) in devices]  # not those for which there is no trial
    for item in kept:
        _expect_failures(item)
    kept.sort(key=lambda item: (devices.index(device_of(item)), STAGES.index(stage_of(item))))
    items[:] = others + kept
    config.hook.pytest_deselected(items=list(set(ours) - set(kept)))


@pytest.fixture
def progress(pytestconfig: pytest.Config) -> Progress:
    return pytestconfig.stash[PROGRESS]


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether the run has every stage, so that each expected failure must be among its tests."""
    return {stage_of(item) for item in request.session.items if _is_ours(item)} == set(STAGES)


def _is_ours(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.module.__name__.startswith(_TESTS)


def stage_of(item: Any) -> str:
    return str(item.module.__name__).removeprefix(_TESTS)


def device_of(item: Any) -> Device:
    device: Device = item.callspec.params["device"]
    return device


def id_of(item: Any) -> str:
    """What a backend's profile names: `ops/values/exp[float32-permuted]`, or `metadata/describe`."""
    name = f"{stage_of(item)}/{item.originalname.removeprefix('test_')}"
    trial = item.callspec.params.get("trial")
    return name if trial is None else f"{name}/{trial}"


def _expect_failures(item: pytest.Item) -> None:
    """Mark what the backend's profile expects to fail; brackets in its patterns stand for themselves."""
    for pattern, reason in registry.conformance_profile(device_of(item).backend).xfails.items():
        if fnmatchcase(id_of(item), pattern.replace("[", "[[]")):
            item.config.stash[PROGRESS].patterns.add(pattern)
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _is_ours(item):
        failed = item.config.stash[PROGRESS].blocker(device_of(item), stage_of(item))
        if failed:
            pytest.skip(f"BLOCKED: stage {failed} failed on {device_of(item)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _is_ours(item) and (report.when == "call" or (report.when == "setup" and not report.passed) or report.failed):
        outcome = _outcome(report)
        report.user_properties.append(("needle", outcome))
        item.config.stash[PROGRESS].note(device_of(item), stage_of(item), outcome)
        if outcome == "failed":
            report.sections.append((f"to reproduce {id_of(item)}", _script(item)))
    return report


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail") and report.skipped:
        return "xfailed"
    return "blocked" if report.skipped and "BLOCKED" in str(report.longrepr) else report.outcome


def _script(item: Any) -> str:
    """The script of the trial, or of the test alone."""
    trial = item.callspec.params.get("trial")
    test = item.originalname.removeprefix("test_")
    return shrunk_script(test, trial, shrink=False) or row_script(device_of(item), id_of(item), trial)


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    blocked = ("needle", "blocked") in getattr(report, "user_properties", ()) and report.when == "setup"
    return ("blocked", "B", "BLOCKED") if blocked else None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What did not run is no success."""
    asked_to_run = not session.config.option.collectonly
    if asked_to_run and session.exitstatus == 0 and not session.config.stash[PROGRESS].complete():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.option.collectonly:
        return
    progress = config.stash[PROGRESS]
    terminalreporter.section("conformance")
    for device in progress.devices:
        terminalreporter.write_line(f"{device}: {dispatcher(device).backend.describe()}")
        for line in progress.table(device):
            terminalreporter.write_line(line)
        if device in progress.idle():
            continue
        terminalreporter.write_line("  what was not native:")
        for line in progress.fallback_lines(device):
            terminalreporter.write_line(f"  {line}")
    for device in progress.idle():
        terminalreporter.write_line(f"FAILED {device}: nothing ran on it", red=True)

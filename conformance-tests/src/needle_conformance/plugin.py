"""The pytest plug-in: its options, and what loads the rest of it. Pytest imports this module in every run."""

from pathlib import Path

import pytest

# In order: a stage in which a device fails blocks those after it. A stage is the module `test_<stage>.py`.
STAGES = ("metadata", "memory", "copy", "kernels", "ops", "gradients", "errors", "training")

_PACKAGE = Path(__file__).parent
_SESSION = "needle_conformance.session"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("needle", "conformance of Needle's backends")
    group.addoption(
        "--device", action="append", default=[], dest="needle_devices", metavar="NAME[:INDEX]",
        help="a device to test, as in 'cpu' or 'cuda:1'; may be repeated; all that are ready, by default",
    )  # fmt: skip
    group.addoption(
        "--stage", action="append", default=[], dest="needle_stages", choices=STAGES,
        help="run this stage alone; may be repeated",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "over(trials): run the test for each of trials(device), on each device")
    if any(_PACKAGE.name in str(argument) for argument in config.args):
        config.pluginmanager.import_plugin(_SESSION)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The suite's tests are collected only where it was asked for, and of these only the stages that were."""
    if collection_path.parent != _PACKAGE or not collection_path.name.startswith("test_"):
        return None
    stages = config.getoption("needle_stages") or STAGES
    asked = config.pluginmanager.hasplugin(_SESSION) and collection_path.stem.removeprefix("test_") in stages
    return None if asked else True

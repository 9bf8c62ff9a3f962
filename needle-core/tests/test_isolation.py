"""Plug-ins that crash, hang, print or are damaged: each really installed, none harms what stands beside it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from site_folder import Site

Plugin = Callable[..., str]

CRASH = "__import__('ctypes').string_at(0)"  # reads address 0
HANG = "__import__('time').sleep(3600)"
LATE = "it did not tell its devices in 1 s; NEEDLE_PROBE_SECONDS allows more"

WORKS = """
import needle
assert needle.ones(3, device="theirs").sum().item() == 3
try:
    needle.device("broken")
except needle.DeviceError as error:
    print(str(error).partition("; ready")[0])
"""


@pytest.fixture
def both(site: Site, device_plugin: Plugin) -> Callable[[str], Site]:
    """Install a broken plug-in beside a good one."""

    def install(broken: str) -> Site:
        site.backend("broken", broken)
        site.backend("theirs", device_plugin("theirs"))
        return site

    return install


def diagnosis(site: Site, *options: str, **environment: str) -> dict[str, Any]:
    """What `needle doctor --json` tells, plug-ins and devices by name."""
    done = site.python("-m", "needle", "doctor", "--json", *options, **environment)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    report["plugins"] = {plugin["name"]: plugin for plugin in report["plugins"]}
    report["devices"] = {device["device"]: device for device in report["devices"]}
    assert report["plugins"]["theirs"]["state"] == "READY"
    assert {"copy", "reduce", "matmul"} <= set(report["devices"]["theirs:1"]["native"])
    return report


@pytest.mark.parametrize("isolated", ["", "isolated"])
@pytest.mark.parametrize(
    "plugin",
    ["import sys; print('to you'); print('to all', file=sys.stderr); raise OSError('no')",
     "import sys; sys.stdout.write('to you'); sys.exit(3)"],
)  # fmt: skip
def test_prints_at_import_do_not_mix_with_results(
    both: Callable[[str], Site], device_plugin: Plugin, plugin: str, isolated: str
) -> None:
    site = both(plugin)
    reason = "OSError: no" if "OSError" in plugin else "SystemExit: 3"
    done = site.python("-c", WORKS, NEEDLE_PROBE=isolated)
    assert (done.returncode, done.stdout) == (0, f"no device 'broken': IMPORT_FAILED, {reason}\n")
    assert "to you" in done.stderr or isolated
    report = diagnosis(site, NEEDLE_PROBE=isolated)
    assert "to you" in report["plugins"]["broken"]["printed"]


def test_native_prints_do_not_mix_with_the_report(both: Callable[[str], Site], device_plugin: Plugin) -> None:
    report = diagnosis(both("import os; os.write(1, b'native')\n" + device_plugin("broken")))
    assert report["plugins"]["broken"]["state"] == "READY"


@pytest.mark.parametrize("isolated", ["", "isolated"])
def test_a_probe_that_hangs_is_given_up(both: Callable[[str], Site], device_plugin: Plugin, isolated: str) -> None:
    site = both(device_plugin("broken", probe=HANG))
    done = site.python("-c", WORKS, NEEDLE_PROBE=isolated, NEEDLE_PROBE_SECONDS="1")
    assert done.returncode == 0
    assert done.stdout in (f"no device 'broken': IMPORT_FAILED, {why}{LATE}\n" for why in ("", "TimeoutError: "))
    plugin = diagnosis(site, NEEDLE_PROBE=isolated, NEEDLE_PROBE_SECONDS="1")["plugins"]["broken"]
    assert plugin["state"] == "IMPORT_FAILED"
    assert LATE in plugin["reason"]
    assert "NEEDLE_DISABLE" in plugin["remedy"]


def test_an_import_that_hangs_is_given_up_when_isolated(both: Callable[[str], Site]) -> None:
    plugin = diagnosis(both(HANG), "--isolate", NEEDLE_PROBE_SECONDS="1")["plugins"]["broken"]
    assert (plugin["state"], plugin["reason"]) == ("IMPORT_FAILED", LATE)
    assert "backend_of_broken.py" in plugin["traceback"]  # where it hangs


@pytest.mark.parametrize("where", ["import", "info", "probe"])
def test_a_crash_is_a_state_when_isolated(both: Callable[[str], Site], device_plugin: Plugin, where: str) -> None:
    site = both(CRASH if where == "import" else device_plugin("broken", **{where: CRASH}))
    done = site.python("-c", WORKS, NEEDLE_PROBE="isolated")
    crashed = "no device 'broken': IMPORT_FAILED, it crashed with SIGSEGV\n"
    assert (done.returncode, done.stdout) == (0, crashed)
    plugin = diagnosis(site, "--isolate")["plugins"]["broken"]
    assert plugin["reason"] == "it crashed with SIGSEGV"
    assert "backend_of_broken.py" in plugin["traceback"]
    assert site.python("-c", WORKS).returncode != 0  # what the isolation is for


def test_a_plugin_that_ends_its_process(both: Callable[[str], Site], device_plugin: Plugin) -> None:
    report = diagnosis(both(device_plugin("broken", probe="__import__('os')._exit(7)")), "--isolate")
    assert report["plugins"]["broken"]["reason"] == "it ended its process with status 7"


@pytest.mark.parametrize(
    ("create", "error"), [(CRASH, "it crashed with SIGSEGV"), (HANG, LATE), ("1 / 0", "ZeroDivisionError")]
)
def test_a_device_that_does_not_open_is_an_error_of_its_own(
    both: Callable[[str], Site], device_plugin: Plugin, create: str, error: str
) -> None:
    site = both(device_plugin("broken", create=create))
    report = diagnosis(site, "--isolate", NEEDLE_PROBE_SECONDS="1" if create == HANG else "")
    assert report["plugins"]["broken"]["state"] == "READY"
    assert error in report["devices"]["broken:0"]["error"]


def test_isolated_plugins_are_used_as_others(both: Callable[[str], Site], device_plugin: Plugin) -> None:
    """A folder that only this process has on its path, too."""
    site = both(device_plugin("broken", probe="Probe(reason='no driver')"))
    program = "import sys; sys.path.insert(0, {0!r})\nimport needle\nprint(needle.devices(), needle.broken)"
    moved = site.folder.rename(site.folder.with_name("elsewhere"))
    done = site.python("-c", program.format(str(moved)), NEEDLE_PROBE="isolated")
    assert done.returncode == 0, done.stderr
    assert "theirs(1)" in done.stdout


@pytest.mark.parametrize(
    ("question", "raises"),
    [("memory_stats", "OSError('gone')"), ("describe", "SystemExit(4)"), ("supports", "ValueError('x')"),
     ("versions", "OSError('gone')"), ("implements", "KeyError('x')")],
)  # fmt: skip
def test_a_question_that_raises_is_one_error_among_answers(
    both: Callable[[str], Site], device_plugin: Plugin, question: str, raises: str
) -> None:
    method = f"\ndef raising(*args):\n    raise {raises}\nSmall.{question} = raising\n"
    device = diagnosis(both(device_plugin("broken", create="Small()") + method))["devices"]["broken:0"]
    assert device["error"].startswith(f"{question}: {raises.partition('(')[0]}: ")
    assert device["dtypes"] == ["bool", "int32", "float32"]
    assert ("native" in device and "matmul" in device["native"]) == (question != "implements")
    assert (device["description"] == "") == (question == "describe")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[needle.backends]\nbroken\n", "line 2 is not 'name = module': 'broken'"),
        (b"[needle\xff\xfe]\nx = y\n", "Unicode"),
    ],
)
def test_a_damaged_distribution_hides_no_other(
    both: Callable[[str], Site], device_plugin: Plugin, content: bytes, why: str
) -> None:
    site = both(device_plugin("broken", probe="Probe()"))
    site.install("an-aged-thing", {}, version="0.3")
    (site.folder / "an_aged_thing-0.3.dist-info" / "entry_points.txt").write_bytes(content)
    (line,) = {line for line in diagnosis(site)["damaged"] if line.startswith("an-aged-thing 0.3: ")}
    assert line.startswith("an-aged-thing 0.3: entry_points.txt cannot be read, ")
    assert why in line
    assert line in site.python("-m", "needle", "doctor").stdout
    done = site.python("-c", "import needle; print(needle.theirs()); needle.device('absent')")
    assert done.stdout == "theirs:0\n"
    assert line in done.stderr


def test_a_distribution_without_metadata(both: Callable[[str], Site], device_plugin: Plugin) -> None:
    site = both(device_plugin("broken"))
    (site.folder / "needle_backend_broken-1.0.dist-info" / "METADATA").unlink()
    assert diagnosis(site)["plugins"]["broken"]["state"] == "READY"


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ("BackendInfo('broken', protocol='1.0')", "its protocol is '1.0', not a pair of ints"),
        ("BackendInfo('broken', protocol=(1,))", "its protocol is (1,), not a pair of ints"),
        ("BackendInfo('broken', priority='high')", "its priority is 'high', not an int"),
    ],
)
def test_what_an_info_may_not_say(both: Callable[[str], Site], device_plugin: Plugin, info: str, reason: str) -> None:
    report = diagnosis(both(device_plugin("broken", info=info)))
    assert report["plugins"]["broken"]["reason"] == f"BackendError: {reason}"
    assert report["default"]


def test_devices_are_a_tuple_of_texts(both: Callable[[str], Site], device_plugin: Plugin) -> None:
    report = diagnosis(both(device_plugin("broken", probe="Probe('gpu')")))
    assert (
        report["plugins"]["broken"]["reason"] == "BackendError: needle_probe gave devices 'gpu', not a tuple of texts"
    )


@pytest.mark.parametrize(
    ("variable", "value"), [("NEEDLE_PROBE", "apart"), ("NEEDLE_PROBE_SECONDS", "soon"), ("NEEDLE_PROBE_SECONDS", "-1")]
)
def test_settings_that_mean_nothing_are_told(site: Site, device_plugin: Plugin, variable: str, value: str) -> None:
    site.backend("theirs", device_plugin("theirs"))
    done = site.python("-c", "import needle; needle.device('theirs')", **{variable: value})
    assert f"{variable} is '{value}'; it is " in done.stderr

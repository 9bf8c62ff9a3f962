"""The command `needle`: what it prints, its exit status, and subcommands of other packages."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from site_folder import Site

import needle
from needle import cli, doctor, entries
from needle.backend import Backend
from needle.dispatch import COMPOSED

COMMANDS = """
from needle.errors import ShapeError
def register(subparsers):
    parser = subparsers.add_parser("greet", help="say something")
    parser.add_argument("--fail", action="store_true")
    parser.set_defaults(run=run)
def run(args):
    if args.fail:
        raise ShapeError("greet: shapes differ")
    print("hello")
    return 7
"""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other package adds commands."""
    monkeypatch.setattr(entries, "find", lambda group: ([], []))


def test_the_script_is_installed() -> None:
    (script,) = entry_points(group="console_scripts", name="needle")
    assert script.load() is cli.main


def test_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "INDEX", "STATE", "DESCRIPTION"]
    rows = [line.split() for line in lines[1:-1]]
    assert [row[1:3] for row in rows if row[0] == "*"] == [str(needle.default_device()).split(":")]
    assert any(["numpy", "0", "READY"] in (row[:3], row[1:4]) for row in rows)
    assert lines[-1].startswith("* the default")


def test_devices_when_the_named_default_is_missing(site: Site) -> None:
    done = site.python("-m", "needle", "devices", NEEDLE_DEVICE="absent")
    assert done.returncode == 0
    assert "numpy" in done.stdout
    assert "no default: no device 'absent'; ready: " in done.stdout


def test_doctor_tells_versions_environment_and_primitives(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEEDLE_EXAMPLE", "some value")
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    parts = {"python", "platform", "packages", "environment", "default", "damaged", "plugins", "devices"}
    assert parts == set(report)
    assert report["packages"]["needle-core"] == needle.__version__
    assert "numpy" in report["packages"]
    assert report["environment"]["NEEDLE_EXAMPLE"] == "some value"
    (numpy,) = [device for device in report["devices"] if device["device"] == "numpy:0"]
    assert "float64" in numpy["dtypes"]
    assert not numpy["error"]
    assert {"unary", "matmul"} <= set(numpy["native"])
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "some value" in text
    assert max(map(len, text.splitlines())) < 160


def test_doctor_knows_every_primitive_of_the_protocol() -> None:
    functions = inspect.getmembers(Backend, inspect.isfunction)
    methods = {name for name, function in functions if "View" in str(inspect.signature(function))}
    assert {*doctor.KERNELS, *COMPOSED} == methods - {"sequence", "recording"}  # of primitives, and none themselves


def test_doctor_tells_which_way_an_op_runs(site: Site) -> None:
    plugin = """
        from needle.backend import Backend, BackendInfo, Probe, hookimpl
        from needle.dtype import bool_, float32, int32
        from needle.kinds import Unary
        class Bare(Backend):
            dtypes = frozenset([bool_, float32, int32])
            def allocate(self, nbytes): ...
            def upload(self, dst, offset, host): ...
            def download(self, src, offset, host): ...
            def synchronize(self): ...
            def copy(self, dst, src): ...
            def matmul(self, dst, a, b, transpose_a, transpose_b): ...
            def memory_stats(self): return {"used": 12345, "system_allocations": 1700}
            def versions(self): return {"driver": "12.3"}
            def unary(self, kind, dst, x): ...
            def supports(self, op, kind, dtypes):
                return "no such\\nunit" if kind in (Unary.ERF, Unary.ISNAN) and dtypes[1] is float32 else None
            def describe(self): return "bare metal"
        @hookimpl
        def needle_backend_info(): return BackendInfo("bare", priority=-1)
        @hookimpl
        def needle_probe(): return Probe(("a device",))
        @hookimpl
        def needle_create_backend(index): return Bare()
    """
    site.install("needle-backend-bare", {"bare.py": plugin}, "[needle.backends]\nbare = bare\n")
    report = json.loads(site.run("from needle.cli import main; main(['doctor', '--json'])"))
    (bare,) = [device for device in report["devices"] if device["device"] == "bare:0"]
    assert (bare["description"], bare["memory"]) == ("bare metal", {"used": 12345, "system_allocations": 1700})
    assert bare["versions"] == {"driver": "12.3"}
    assert bare["native"] == ["copy", "unary", "matmul"]
    assert bare["host"] == ["cast", "binary", "where", "reduce"]
    assert bare["declined"] == {"unary erf": "no such unit", "unary isnan": "no such unit"}
    assert {"softmax", "adam_step"} < set(bare["composed"])
    assert report["packages"]["needle-backend-bare"] == "1.0"
    text = site.run("from needle.cli import main; main(['doctor'])")
    assert "used 12,345 bytes, system_allocations 1,700\n" in text
    assert "versions  driver 12.3\n" in text


@pytest.mark.parametrize(("command", "file"), [("include-dir", "needle/view.h"), ("cmake-dir", "needle-config.cmake")])
def test_folders_for_builds(capsys: pytest.CaptureFixture[str], command: str, file: str) -> None:
    assert cli.main([command]) == 0
    assert (Path(capsys.readouterr().out.strip()) / file).is_file()


@pytest.mark.parametrize("argv", [["train", "digits", "--device", "cpu"], ["train", "--help"], ["train"]])
@pytest.mark.usefixtures("alone")
def test_train_without_needle_nn_says_where_it_is(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert cli.main(argv) == 1
    assert capsys.readouterr().err == "needle: train is in 'needle-nn': pip install 'needle-nn[train]'\n"


@pytest.mark.parametrize(
    ("argv", "error"),
    [(["fly"], "invalid choice: 'fly'"), (["devices", "--fast"], "unrecognized arguments: --fast")],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], argv: list[str], error: str) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert error in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    text = capsys.readouterr().out
    for word in ("devices", "doctor", "train", "examples:", "NEEDLE_DISABLE", "exit status"):
        assert word in text
    for command in ("devices", "doctor", "include-dir", "cmake-dir"):
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "--help"])
        assert stop.value.code == 0
        assert len(capsys.readouterr().out) > 100


def test_every_variable_that_core_reads_is_in_the_help() -> None:
    sources = "".join(path.read_text() for path in Path(needle.__file__).parent.rglob("*.py"))
    read = {part.split('"')[0] for part in sources.split('environ.get("')[1:]}
    assert read
    assert all(f"{name}=" in cli._EXAMPLES for name in read)


def test_a_command_of_another_package(site: Site) -> None:
    site.install("greeter", {"greeter.py": COMMANDS}, "[needle.commands]\ngreet = greeter:register\n")
    assert ["greet", "say", "something"] in map(str.split, site.python("-m", "needle", "--help").stdout.splitlines())
    done = site.python("-m", "needle", "greet")
    assert (done.returncode, done.stdout) == (7, "hello\n")


def test_an_error_is_one_line_unless_the_traceback_is_wanted(site: Site) -> None:
    site.install("greeter", {"greeter.py": COMMANDS}, "[needle.commands]\ngreet = greeter:register\n")
    done = site.python("-m", "needle", "greet", "--fail")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "needle: greet: shapes differ\n")
    debugged = site.python("-m", "needle", "greet", "--fail", NEEDLE_DEBUG="1")
    assert debugged.returncode == 1
    assert debugged.stderr.startswith("Traceback")
    assert debugged.stderr.endswith("ShapeError: greet: shapes differ\n")


@pytest.mark.parametrize(
    ("register", "reason"),
    [
        ("raise OSError('no\\nlibrary')", "OSError: no library"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("def register(subparsers): subparsers.add_parser('half'); 1 / 0", "ZeroDivisionError: division by zero"),
        ("register = None", "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_a_broken_command_is_one_line_and_spares_the_others(site: Site, register: str, reason: str) -> None:
    site.install("badness", {"badness.py": register}, "[needle.commands]\nbad = badness:register\n", version="3.2")
    site.install("greeter", {"greeter.py": COMMANDS}, "[needle.commands]\ngreet = greeter:register\n")
    done = site.python("-m", "needle", "greet")
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert done.stderr == f"needle: the command 'bad' of badness 3.2 is broken: {reason}\n"
    assert site.python("-m", "needle", "half").returncode == 2


def test_an_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(isolate: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupted)
    assert cli.main(["doctor"]) == 130


@pytest.mark.parametrize("command", ["doctor", "devices"])
def test_a_reader_that_had_enough_is_no_traceback(command: str) -> None:
    read, write = os.pipe()
    os.close(read)
    line = [sys.executable, "-c", "import sys; from needle.cli import main; sys.exit(main())", command]
    ended = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_table_aligns_columns() -> None:
    lay_out: Callable[[list[tuple[str, ...]]], str] = doctor.table
    assert lay_out([("a", "bb", ""), ("ccc", "d", "e")]) == "a    bb\nccc  d   e"

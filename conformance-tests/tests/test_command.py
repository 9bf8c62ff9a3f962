"""The command: what it writes, and its exit status. Everything runs in this process (`--jobs 0`)."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from needle_conformance.command import main
from needle_conformance.score.card import Card


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def score(device: str, *arguments: str) -> Result:
    return run("score", device, "--jobs", "0", "--stage", "kernels", "--only", "exp", *arguments)


@pytest.mark.parametrize(("device", "arguments", "status", "text"), [
    ("numpy", [], 0, "numpy: passed; native: the required ten 100 %"),
    ("memory", [], 0, "memory: passed; native: the required ten 0 %"),
    ("memory", ["--fail-on", "host"], 1, "--fail-on: "),
    ("required", ["--fail-on", "host"], 0, "passed"),
    ("sine", [], 1, "NOT PASSED"),
    ("numpy", ["--only", "exq"], 1, "--only: no row has this op or an id that matches"),
    ("numpy", ["--view", "perf"], 0, "speed-up"),
])  # fmt: skip
def test_score(device: str, arguments: list[str], status: int, text: str) -> None:
    done = score(device, *arguments)
    assert done.exit_code == status, done.output
    assert text in done.output


@pytest.mark.parametrize("arguments", [["score"], ["score", "--jobs", "0"], ["fuzz"]], ids=" ".join)
@pytest.mark.parametrize(("device", "text"), [
    ("cuda9", r"no device 'cuda9'; installed: .*\bnumpy\b.*; pip install needle-backend-cuda9"),
    ("numpy:1", r"no device 'numpy:1'; numpy has only 0; `needle doctor -v` tells more"),
    ("a b", r"device: cannot read 'a b'; write a name and perhaps an index, as in 'cuda:1'"),
])  # fmt: skip
def test_a_device_that_is_not_there(device: str, text: str, arguments: list[str]) -> None:
    """One line, and the status of wrong usage."""
    done = run(*arguments, device)
    assert done.exit_code == 2
    assert re.fullmatch(f"Error: {text}\n", done.output), done.output


def test_reports_and_comparison(tmp_path: Path) -> None:
    files = {f"--{kind}": tmp_path / f"score.{kind}" for kind in ("json", "markdown", "html", "badge")}
    done = score("required", *(str(part) for pair in files.items() for part in pair))
    assert done.exit_code == 0, done.output
    assert all(file.stat().st_size > 300 for file in files.values())
    old = files["--json"]
    assert Card.read(old).device == "required"
    done = score("required", "--compare", str(old))
    assert (done.exit_code, "0 rows better or new, 0 worse" in done.output) == (0, True), done.output
    done = score("memory", "--compare", str(old))
    assert (done.exit_code, "0 worse" in done.output) == (1, False), done.output
    old.write_text("{}")
    done = score("required", "--compare", str(old))
    assert done.exit_code == 2
    assert "no score of needle-conform" in done.output


@pytest.mark.parametrize(("arguments", "text"), [
    ("score numpy --json {0}/none/a", "Error: --json: there is no folder {0}/none"),
    ("score numpy --json {0}/a --html {0}/../{1}/a", "Error: --json and --html name the same file, {0}/../{1}/a"),
    ("score numpy --badge {0}", "Invalid value for '--badge': File '{0}' is a directory"),
    ("score numpy --compare {0}/none", "Invalid value for '--compare': File '{0}/none' does not exist"),
    ("score numpy --only exp --only ''", "Error: --only: the pattern is empty"),
    ("score numpy --stage kernel", "'kernel' is not one of 'metadata', 'memory', "),
    ("score numpy --timeout nan", "nan is no finite number"),
    ("score numpy --timeout 0.5", "0.5 is not in the range x>=1"),
    ("score numpy --jobs 1000", "1000 is not in the range 0<=x<=256"),
    ("fuzz numpy --minutes 0", "0.0 is not in the range x>0"),
    ("fuzz numpy --minutes inf", "inf is no finite number"),
    ("fuzz numpy --minutes soon", "'soon' is not a valid float"),
    ("score", "Missing argument 'NAME[:INDEX]'. See main score --help"), ("scores", "No such command 'scores'"),
    ("fuzz numpy --hours 1", "No such option '--hours'"),
    ("new foo --folder {0}", "Error: {0} exists already; --folder names another"),
    ("new foo --folder {0}/file/foo", "Error: {0}/file/foo cannot be written: Not a directory"),
    ("new " + 300 * "a", "cannot be written: File name too long"),
])  # fmt: skip
def test_wrong_usage(arguments: str, text: str, tmp_path: Path) -> None:
    """It is told before anything runs, in a line."""
    (tmp_path / "file").touch()
    done = run(*shlex.split(arguments.format(tmp_path, tmp_path.name)))
    assert done.exit_code == 2, done.output
    line = done.output.removesuffix("\n")
    assert text.format(tmp_path, tmp_path.name) in line
    assert line.startswith("Error: ")
    assert "\n" not in line


def test_no_program_is_no_success() -> None:
    done = run("fuzz", "numpy", "--minutes", "1e-6")
    assert (done.exit_code, done.output) == (1, "numpy: no program ran in the time; --minutes allows more\n")


@pytest.mark.parametrize(("name", "text"), [
    ("naïve", "is no name of a device"), ("", "is no name of a device"), ("a b", "is no name of a device"),
    ("Foo", "is no name of a device"), ("lambda", "is no name of a device"), ("numpy", "there is a backend 'numpy'"),
    ("exp", "needle.exp has a meaning already"),
])  # fmt: skip
def test_names_that_no_device_can_have(name: str, text: str, tmp_path: Path) -> None:
    done = run("new", name, "--folder", str(tmp_path / "package"))
    assert (done.exit_code, text in done.output) == (2, True), done.output
    assert not (tmp_path / "package").exists()


def test_new(tmp_path: Path) -> None:
    """A package whose code compiles and has no gaps left; it overwrites nothing."""
    folder = tmp_path / "package"
    done = run("new", "my_own", "--folder", str(folder))
    assert done.exit_code == 0, done.output
    made = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "src" / "needle_backend_my_own" / "backend.py" in made
    for path in made:
        text = path.read_text()
        assert "{{" not in text.replace("${{ matrix.python }}", "")
        if path.suffix == ".py":
            compile(text, str(path), "exec")
    assert "class MyOwnBackend(Backend):" in (folder / "src" / "needle_backend_my_own" / "backend.py").read_text()
    done = run("new", "my_own", "--folder", str(folder))
    assert (done.exit_code, "exists" in done.output) == (2, True)


def test_help() -> None:
    """Each command explains itself, with examples and exit statuses."""
    text = run("--help").output
    assert all(word in text for word in ("new", "score", "fuzz", "examples:", "exit status:"))
    for command in ("new", "score", "fuzz"):
        assert run(command, "--help").exit_code == 0

"""How processes and calls end, in words."""

import io
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import right  # a module of one file, as a backend may be

from needle import reference
from needle.errors import KernelError
from needle.registry import device as as_device
from needle_conformance import ending


@pytest.mark.parametrize(("code", "words"), [
    (None, "no answer for 2.5 s; its process was ended"), (-11, "the process died of SIGSEGV"),
    (3, "the process ended with status 3"),
])  # fmt: skip
def test_ended(code: int | None, words: str) -> None:
    assert ending.ended(code, 2.5) == words


def test_last_words() -> None:
    """The list of extension modules is left out before the end is taken: it may be longer than that."""
    text = b"Fatal Python error\n\n  File x in unary\n\nExtension modules: " + b"a.b, " * 2000 + b"(total: 2000)\n"
    assert ending.last_words(io.BytesIO(text), 100) == "Fatal Python error\n\n  File x in unary"
    assert ending.last_words(io.BytesIO(b"x" * 9 + b"\xff"), 3) == "xx\ufffd"


def _caught(source: str, file: str) -> Exception:
    """What a piece of code raises that says it is from this file."""
    try:
        exec(compile(source, file, "exec"), {"KernelError": KernelError})
    except Exception as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(("source", "line"), [
    ("1 / 0", 1),
    ("def f():\n  return int('x')\n\nf()", 2),
    ("import json\njson.loads('{')", 2),  # the last line of its own, before that of the library
    ("try:\n  1 / 0\nexcept Exception as e:\n  raise KernelError('exp', 'no') from e", 4),  # itself first
])  # fmt: skip
def test_raised_at(source: str, line: int) -> None:
    place, _ = ending.raised_at(_caught(source, right.__file__), as_device("required"))
    assert place.startswith(f"right.py:{line}, in ")
    assert ending.raised_at(_caught(source, "/elsewhere/right.py"), as_device("required")) == ("", "")


def test_raised_at_below_another_error() -> None:
    """What core raises from a backend's error is followed to that."""
    error = KernelError("exp", "failed")
    error.__cause__ = _caught("1 / 0", right.__file__)
    assert ending.raised_at(error, as_device("required"))[0] == "right.py:1, in <module>"
    error.__cause__, error.__suppress_context__ = None, True
    assert ending.raised_at(error, as_device("required")) == ("", "")


def test_the_reference_is_one_file_of_core() -> None:
    folder = Path(reference.__file__).parent
    assert (
        ending.raised_at(_caught("1 / 0", reference.__file__), as_device("numpy"))[0] == "reference.py:1, in <module>"
    )
    assert ending.raised_at(_caught("1 / 0", str(folder / "dispatch.py")), as_device("numpy")) == ("", "")


def test_a_package_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file below it is the backend's, wherever its class stands."""
    package = tmp_path / "needle_backend_foo"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "parts" / "backend.py").write_text(
        "from needle.reference import NumpyBackend\n\nclass Foo(NumpyBackend): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    backend = import_module("needle_backend_foo.parts.backend").Foo()
    device = as_device("required")
    monkeypatch.setattr(ending, "dispatcher", lambda device: SimpleNamespace(backend=backend))
    place, _ = ending.raised_at(_caught("1 / 0", str(package / "kernels.py")), device)
    assert place == "needle_backend_foo/kernels.py:1, in <module>"
    assert ending.raised_at(_caught("1 / 0", str(tmp_path / "needle_backend_foo2.py")), device) == ("", "")

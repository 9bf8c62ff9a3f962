"""needle.nn, needle.optim and needle.data are this package, and say so where it is missing."""

import subprocess
import sys

import pytest

import needle
import needle_nn.data
import needle_nn.nn
import needle_nn.optim

PAIRS = [(needle.nn, needle_nn.nn), (needle.optim, needle_nn.optim), (needle.data, needle_nn.data)]
_HIDDEN = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
"""


@pytest.mark.parametrize(("forwarded", "package"), PAIRS)
def test_every_public_name_is_forwarded(forwarded: object, package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert forwarded.__all__ == names  # type: ignore[attr-defined]
    assert all(getattr(forwarded, name) is getattr(package, name) for name in names)


def run(hidden: str, code: str) -> str:
    program = _HIDDEN.format(name=hidden) + code
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["nn", "optim", "data"])
def test_needle_nn_is_missing(name: str) -> None:
    text = f"needle.{name} is in 'needle-nn': pip install needle-nn"
    assert f"ModuleNotFoundError: {text}" in run("needle_nn", f"import needle.{name}")
    assert f"ModuleNotFoundError: {text}" in run("needle_nn", f"from needle.{name} import *")
    assert f"AttributeError: {text}" in run("needle_nn", f"import needle; needle.{name}")
    assert run("needle_nn", "import needle; print(needle.ones(1).item())") == "1.0\n"


def test_a_broken_import_inside_needle_nn_is_shown_as_it_is() -> None:
    assert "ModuleNotFoundError: No module named 'safetensors'" in run("safetensors", "import needle.nn")

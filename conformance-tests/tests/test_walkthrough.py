"""docs/write-a-device.md, run as it is read: each function that is written raises the score to what the page says."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from needle_conformance import template

_PAGE = Path(__file__).parents[2] / "docs" / "write-a-device.md"
_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHARE = re.compile(r"(\d+) %")
_REQUIRED = re.compile(r"required ten (\d+) %")


@dataclass
class Toy:
    """The package of the page, installed in a folder."""

    source: Path
    site: Path

    def write(self, code: str) -> None:
        """Indented code goes into the class, the rest above it."""
        text = self.source.read_text()
        at = len(text) if code.startswith("    ") else text.index("class Memory")
        self.source.write_text(f"{text[:at]}\n{code}\n\n{text[at:]}".rstrip() + "\n")

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        program, *arguments = shlex.split(command)
        assert program == "needle-conform"
        return subprocess.run(
            [sys.executable, "-m", "needle_conformance.command", *arguments], capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """`needle-conform new toy`, installed by pip; its code is then read from where it is written."""
    folder, site = tmp_path / "needle-backend-toy", tmp_path / "site"
    template.write_package("toy", folder)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--target", str(site), str(folder)], check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'src'}:{site}", prepend=":")
    return Toy(folder / "src" / "needle_backend_toy" / "backend.py", site)


def _alike(found: str, wanted: str) -> bool:
    """The same words, and the same share of the required ten; the other shares move a little with each primitive that
    Needle gains, which is no reason to write the page anew."""
    (required, *others), (required_there, *others_there) = (map(int, _SHARE.findall(line)) for line in (found, wanted))
    near = all(abs(a - b) <= 2 for a, b in zip(others, others_there, strict=True))
    return _SHARE.sub("%", found) == _SHARE.sub("%", wanted) and required == required_there and near


def test_the_page(toy: Toy) -> None:
    """All its blocks, in their order."""
    shares: list[int] = []
    for kind, text in _BLOCK.findall(_PAGE.read_text()):
        if kind == "python":
            toy.write(text.rstrip())
            continue
        command, *wanted = text.strip().removeprefix("$ ").splitlines()
        if not wanted or wanted[0].startswith("$"):
            continue  # what the fixture has done
        done = toy.run(command)
        last = [line for line in done.stdout.splitlines() if line.startswith("toy: ")][-1]
        assert _alike(last.rpartition(" (")[0], wanted[0]), f"{last}\nbut the page says\n{wanted[0]}\n{done.stderr}"
        assert done.returncode == 0
        shares += map(int, _REQUIRED.findall(last)[:1])
    assert (shares[0], shares[-1]) == (0, 100)
    rising = shares[: shares.index(100) + 1]
    assert len(rising) == 7, "the memory functions, and the six kernels"
    assert all(before < after for before, after in pairwise(rising)), rising
    assert toy.source.read_text().count("\n") < 190, "the whole device, with its comments"

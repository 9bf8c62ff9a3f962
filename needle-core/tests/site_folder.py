"""A folder of distributions installed for one test, and fresh interpreters that find them there."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from needle import entries
from needle.registry import BUILT_IN

Modules = dict[str, str]

OUTSIDE = sorted({entry.name for entry in entries.find("needle.backends")[0]} - {BUILT_IN})


class Site:
    """A site folder: what installing a wheel leaves, which is modules and a .dist-info that names entry points."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, modules: Modules, entry_points: str = "", version: str = "1.0") -> None:
        """Install a distribution; `modules` are texts by path, `entry_points` is the text of its file."""
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        files = {**modules, f"{info}/METADATA": metadata, f"{info}/entry_points.txt": entry_points}
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        for path, text in {**files, f"{info}/RECORD": record, f"{info}/INSTALLER": "test\n"}.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(dedent(text))

    def backend(self, name: str, plugin: str, distribution: str = "") -> None:
        """Install a backend whose plug-in module has this text."""
        module = f"backend_of_{distribution.replace('-', '_') or name}"
        self.install(
            distribution or f"needle-backend-{name}",
            {f"{module}.py": plugin},
            f"[needle.backends]\n{name} = {module}\n",
        )

    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run an interpreter in which a warning is an error; the result, whatever its status.

        The backends that are installed outside the folder, of which nothing is known here, are not loaded there.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NEEDLE_")}
        path = os.pathsep.join([str(self.folder), *filter(None, [kept.pop("PYTHONPATH", "")])])
        disabled = ",".join([*OUTSIDE, *filter(None, [environment.pop("NEEDLE_DISABLE", "")])])
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            env={**kept, "PYTHONPATH": path, "NEEDLE_DISABLE": disabled, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def run(self, program: str, **environment: str) -> str:
        """The output of a program, which must succeed without a word on the standard error."""
        done = self.python("-c", dedent(program), **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

"""Installs needle-core and needle-nn in every mix of wheel and editable, and lets mypy, pyright and Python judge
the two programs beside this file in each. Run by `nox -s types`, in an environment that has the two checkers.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PACKAGES = ("needle-core", "needle-nn")
PROGRAMS = ("as_attributes.py", "as_modules.py")
PYRIGHT = {
    "typeCheckingMode": "standard",
    "enableTypeIgnoreComments": False,
    "reportUnnecessaryTypeIgnoreComment": True,
    "include": PROGRAMS,
}


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command quietly; on failure, show what it said and stop."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def environment(folder: Path) -> Path:
    """An empty environment with what the two packages and their editable builds need; its interpreter."""
    run(sys.executable, "-m", "venv", folder, cwd=ROOT)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "numpy", "pluggy", "safetensors", "hatchling", "editables", cwd=ROOT)
    return python


def install(python: Path, package: str, kind: str) -> None:
    source = ["--editable", ROOT / package] if kind == "editable" else [ROOT / package]
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--force-reinstall"]
    run(python, "-m", "pip", "install", *flags, *source, cwd=ROOT)


def check(python: Path, folder: Path) -> None:
    """The programs run, and both checkers see through the forwarding."""
    strict = ["--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", "--python-executable", python]
    for program in PROGRAMS:  # one at a time: mypy would let one see what the other imports
        run(python, "-W", "error", program, cwd=folder)
        run(sys.executable, "-m", "mypy", *strict, program, cwd=folder)
    run(sys.executable, "-m", "pyright", "--pythonpath", python, cwd=folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in PROGRAMS:
            shutil.copy(HERE / program, folder)
        (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
        python = environment(folder / "environment")
        for kinds in product(("wheel", "editable"), repeat=2):
            for package, kind in zip(PACKAGES, kinds, strict=True):
                install(python, package, kind)
            check(python, folder)
            print("mypy and pyright agree:", ", ".join(f"{p} {k}" for p, k in zip(PACKAGES, kinds, strict=True)))


main()

"""The package of a new backend: writes the files of `files/`, with a device's name in them.

A file's name there is its path in the package, with `+` for `/` and `needle_backend_name` for the module, and `.txt`
behind it, so that no tool takes a text with gaps for code.
"""

import keyword
import re
from importlib.resources import files
from pathlib import Path

import needle
from needle.registry import registry

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_name(name: str) -> str | None:
    """Why a device cannot bear this name, or None."""
    if not _NAME.fullmatch(name) or name.endswith("_") or keyword.iskeyword(name):
        return f"{name!r} is no name of a device: lower-case letters, digits and _, as in 'foo'"
    if name in registry.names():
        return f"there is a backend {name!r} already"
    if hasattr(needle, name):
        return f"needle.{name} has a meaning already, so it cannot be a device"
    return None


def write_package(name: str, folder: Path) -> list[Path]:
    """Write the package into a new folder; the paths of its files."""
    words = {"{{name}}": name, "{{Name}}": name.title().replace("_", ""), "{{dist}}": name.replace("_", "-")}
    folder.mkdir(parents=True)
    made = []
    for source in sorted(files(__name__).joinpath("files").iterdir(), key=lambda s: s.name):
        place = source.name.removesuffix(".txt").replace("+", "/")
        path = folder / place.replace("needle_backend_name", f"needle_backend_{name}")
        text = source.read_text(encoding="utf-8")
        for gap, word in words.items():
            text = text.replace(gap, word)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        made.append(path)
    return made

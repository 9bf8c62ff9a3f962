"""Files that are replaced whole or not at all."""

import os
from os import PathLike
from pathlib import Path

from needle.errors import DataError


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Replace a file by one step that either happens or does not, and that outlasts a power failure."""
    target = Path(path)
    draft = target.with_name(f"{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(content)
        move_into_place(draft, target)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; check the folder and its free space") from error


def move_into_place(draft: Path, target: Path) -> None:
    """Give a finished file its name, after its bytes have reached the disk."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

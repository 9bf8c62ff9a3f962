"""Compiled kernels on disk, by the hash of all that they depend on.

They lie in NEEDLE_CUDA_CACHE, else in `needle/cuda` of the user's cache folder; NEEDLE_CUDA_CACHE=off keeps none. A
file is a checksum and the kernel; where they do not fit, it is made again. A folder that cannot be written is done
without.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

VARIABLE = "NEEDLE_CUDA_CACHE"
log = logging.getLogger("needle.compile")


def folder() -> Path | None:
    """Where kernels are kept, or None."""
    asked = os.environ.get(VARIABLE, "")
    if asked:
        return None if asked == "off" else Path(asked)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "needle" / "cuda"
    except RuntimeError:  # a user without a home
        return None


def key(source: str, headers: Mapping[str, str], *rest: str) -> str:
    """The hash of a source, what it includes and what compiles it."""
    parts = [source, *(f"{name}\0{text}" for name, text in sorted(headers.items())), *rest]
    return hashlib.sha256("\0\0".join(parts).encode()).hexdigest()


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """The kernel of that name from the disk, or made and put there."""
    where = folder()
    if where is None:
        return make()
    path = where / f"{name}.kernel"
    found = _read(path)
    if found is None:
        found = make()
        _write(path, found)
    return found


def _read(path: Path) -> bytes | None:
    """What the file holds, or None if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, kernel = content[:32], content[32:]
    return kernel if kernel and hashlib.sha256(kernel).digest() == checksum else None


def _write(path: Path, kernel: bytes) -> None:
    """Put a kernel there, whole or not at all, also where several processes do so at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(kernel).digest() + kernel)
            os.replace(beside, path)
        except OSError:
            os.unlink(beside)
            raise
    except OSError as error:
        log.info("cuda: fused kernels are not kept: %s", error)

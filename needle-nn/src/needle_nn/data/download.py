"""Downloads of data files: resumed where they broke off, verified by checksum, and put in place whole."""

import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from needle.errors import DataError
from needle_nn.files import move_into_place

_ATTEMPTS = 3  # connections; each goes on where the one before broke off
_CHUNK = 1 << 18
_SECONDS = 30.0  # without a byte before a connection counts as broken


@dataclass(frozen=True)
class Remote:
    """A file to be had: where, and its checksum as "md5:..." or "sha256:..."."""

    url: str
    checksum: str


class _Broken(Exception):  # noqa: N818  never leaves this module
    """The connection ended early; what came is kept."""


def download(remote: Remote, target: Path) -> Path:
    """The file at `target`, fetched unless it is there already."""
    if target.is_file():
        return target
    part = target.with_name(f"{target.name}.part")
    print(f"needle: downloading {remote.url} to {target}", file=sys.stderr, flush=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch_whole(remote, part)
        move_into_place(part, target)
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written: {error.strerror}; check the folder and its free space"
        ) from error
    return target


def _fetch_whole(remote: Remote, part: Path) -> None:
    """Fill `part` and verify it. A wrong file that was resumed is fetched once more from its start."""
    resumed = part.exists()
    _fetch_rest(remote, part)
    if resumed and _checksum(remote, part) != remote.checksum:
        part.unlink()
        _fetch_rest(remote, part)
    found = _checksum(remote, part)
    if found != remote.checksum:
        size = part.stat().st_size
        part.unlink()
        raise DataError(
            f"{remote.url}: not the expected file: {remote.checksum} expected, {found} found in {size:,} bytes; "
            "the server may send another file; try again later"
        )


def _fetch_rest(remote: Remote, part: Path) -> None:
    """Append what is missing, over several connections if they break."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _receive(remote.url, part)
            return
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, _Broken) as error:
            if isinstance(error, urllib.error.HTTPError) or attempt == _ATTEMPTS:
                kept = part.stat().st_size if part.exists() else 0
                rest = f"; {kept:,} bytes are kept, and the next call goes on from there" if kept else ""
                raise DataError(f"{remote.url}: cannot be downloaded: {_reason(error)}{rest}") from error


def _receive(url: str, part: Path) -> None:
    """One connection's worth of bytes. Servers that cannot resume send the file from its start."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "needle", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_SECONDS) as response:
            goes_on = response.status == 206 and _first_byte(response) == start
            if start and response.status == 206 and not goes_on:
                part.unlink()
                raise _Broken("the server sent another part than the one asked for")
            _store(response, part, "ab" if goes_on else "wb")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:  # nothing lies beyond: the part is whole, or is of another file, as its checksum tells
            raise


def _store(response: Any, part: Path, mode: str) -> None:
    expected, got = response.headers.get("Content-Length"), 0
    with part.open(mode) as file:
        while chunk := response.read(_CHUNK):
            got += file.write(chunk)
    if expected is not None and got < int(expected):
        raise _Broken(f"the connection ended after {got:,} of {int(expected):,} bytes")


def _first_byte(response: Any) -> int | None:
    """Where a partial answer begins: 7 in "Content-Range: bytes 7-99/100"."""
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _checksum(remote: Remote, path: Path) -> str:
    kind = remote.checksum.partition(":")[0]
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()}"


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(error.reason if isinstance(error, urllib.error.URLError) else error) or type(error).__name__

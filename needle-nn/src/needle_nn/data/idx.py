"""IDX: the file format of MNIST and its relatives, plain or compressed by gzip.

Two zero bytes, a code of the element type, the number of axes; then each size as a big-endian 32-bit integer; then
the elements, big-endian, row-major.
"""

import gzip
import math
import struct
import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_AGAIN = "download the file again"


def read_idx(path: str | PathLike[str]) -> NumpyArray[Any]:
    """The array in an IDX file; DataError says what is wrong with a file that is none."""
    content = _read(Path(path))
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        found = content[:4].hex(" ") or "nothing"
        raise DataError(f"{path}: not an IDX file: it begins with {found}, not 00 00 08; {_AGAIN}")
    dtype, rank = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(f"{path}: truncated: a header of {start} bytes expected, {len(content)} found; {_AGAIN}")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        kind = "truncated" if len(content) - start < expected else "too long"
        found = f"{expected:,} bytes of data expected for {shape}, {len(content) - start:,} found"
        raise DataError(f"{path}: {kind}: {found}; {_AGAIN}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read(path: Path) -> bytes:
    """The bytes of a file, decompressed if they are gzip's, whatever its name."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        found = f"a whole gzip file expected, {len(content):,} bytes found that are not"
        raise DataError(f"{path}: truncated or damaged: {found} ({error}); {_AGAIN}") from error

"""Pickles of arrays, strings, numbers, lists and dicts, as CIFAR-10 comes in; every other object is refused.

A pickle is a program that may call anything it can name. Here it can name arrays, their types and bytes, and gets
stand-ins for them that check what they are told and compute nothing.
"""

import math
import pickle
import struct
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import DataError

_AGAIN = "download the file again"

# How a wrong program may fail.
_WRONG: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


def read_pickle(path: str | PathLike[str]) -> Any:
    """The value in a pickle, its Python 2 strings as bytes. DataError says what is wrong or was refused."""
    try:
        with Path(path).open("rb") as file:
            return _plain(_Reader(file, encoding="bytes").load())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except _Refused as error:
        raise DataError(f"{path}: refused: {error}; take the file from its genuine source") from None
    except (EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: truncated, or not a pickle ({_line(error)}); {_AGAIN}") from error
    except _WRONG as error:
        raise DataError(f"{path}: damaged, or not a pickle of arrays ({_line(error)}); {_AGAIN}") from error


class _Refused(Exception):  # noqa: N818  never leaves this module
    """The pickle names what it may not."""


class _DType:
    """Stands for numpy.dtype: a boolean or numeric type."""

    __slots__ = ("dtype",)

    def __init__(self, code: bytes | str, align: Any = False, copy: Any = True) -> None:
        self.dtype = np.dtype(_text(code))
        if self.dtype.kind not in "biuf":
            raise _Refused(f"an array of {self.dtype.name}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = np.dtype(_text(state[1]) + self.dtype.str[1:])


class _Array:
    """Stands for numpy.ndarray, and for the functions that make one from its shape, type and bytes."""

    __slots__ = ("array",)

    def __init__(self, *made_of: Any) -> None:
        self.array: NumpyArray[Any] | None = None
        if len(made_of) == 4:  # _frombuffer(bytes, dtype, shape, order), from protocol 5 on
            content, dtype, shape, order = made_of
            self.array = _filled(shape, dtype, _text(order) == "F", content)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, content = state
        self.array = _filled(shape, dtype, fortran, content)


class _Bytes:
    """Stands for _codecs.encode, by which Python 3 writes bytes in protocol 2, and for bytes(), when there are none."""

    __slots__ = ()

    def __new__(cls, text: str | bytes = b"", encoding: str | bytes = "latin1") -> bytes:  # type: ignore[misc]  # a call, not a class
        return text.encode("latin1") if isinstance(text, str) else text

    def __setstate__(self, state: Any) -> None:
        raise TypeError("bytes have no state")  # without this method, a state would be set on the class


_NAMES: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Array,
    ("numpy._core.numeric", "_frombuffer"): _Array,
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
}


class _Reader(pickle._Unpickler):
    """The reader in Python, whose memory is bounded by the file's size: the one in C believes any number it is told."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _NAMES:
            raise _Refused(f"the pickle names {module}.{name}, and only arrays, strings and numbers are read")
        return _NAMES[module, name]


def _filled(shape: Any, dtype: Any, fortran: Any, content: Any) -> NumpyArray[Any]:
    """The array of these bytes, which must be as many as the shape says."""
    kind: np.dtype[Any] = dtype.dtype
    if not isinstance(content, bytes | bytearray) or len(content) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"the bytes do not make an array of shape {shape} and type {kind}")
    return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")


def _plain(value: Any) -> Any:
    """The value with arrays in the place of their stand-ins."""
    if isinstance(value, _Array):
        if value.array is None:
            raise ValueError("an array without elements is named")
        return value.array
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(entry) for entry in value)
    if not isinstance(value, str | bytes | bytearray | int | float | None):
        raise _Refused(f"a {type(value).__name__} in the pickle")
    return value


def _text(value: bytes | str) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

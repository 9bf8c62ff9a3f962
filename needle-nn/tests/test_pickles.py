"""The restricted unpickler: what numpy writes is read, everything else is refused."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from needle import data
from needle.errors import DataError

# As Python 2 and NumPy 1 wrote {'data': array([[1, 2, 3]], uint8), 'labels': [4]}, in protocol 2.
PYTHON2 = (
    b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04U\x01bq"
    b"\x05\x87q\x06Rq\x07(K\x01K\x01K\x03\x86q\x08cnumpy\ndtype\nq\tU\x02u1q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01|q\rNNNJ"
    b"\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x03\x01\x02\x03q\x0ftq\x10bU\x06labelsq\x11]q\x12K\x04au."
)


def read(content: bytes, folder: Path) -> Any:
    path = folder / "batch"
    path.write_bytes(content)
    return data.read_pickle(path)


def test_python_2(tmp_path: Path) -> None:
    found = read(PYTHON2, tmp_path)
    assert list(found) == [b"data", b"labels"]
    assert found[b"data"].dtype == np.uint8
    np.testing.assert_array_equal(found[b"data"], [[1, 2, 3]])
    assert found[b"labels"] == [4]


ARRAYS = [
    np.arange(6, dtype=np.uint8).reshape(2, 3),
    np.arange(6.0).reshape(2, 3).T,
    np.array([1, -2], ">i2"),
    np.array([True, False]),
    np.zeros((0, 3), np.float32),
    np.array(1.5),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol: int, tmp_path: Path) -> None:
    value: dict[Any, Any] = {
        b"bytes": b"\xff\0",
        "text": "é",
        "list": [b"", 1, -(2**70), 2.5, None, True, (3,)],
        "arrays": ARRAYS,
    }
    found = read(pickle.dumps(value, protocol), tmp_path)
    for array, expected in zip(found.pop("arrays"), value.pop("arrays"), strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert found == value


class Calls:
    """A pickle that calls something."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


MALICIOUS = [
    (Calls(os.system, "touch {path}"), r"names posix\.system, and only arrays, strings and numbers are read"),
    (Calls(eval, "open('{path}', 'w')"), r"names (builtins|__builtin__)\.eval"),
    (Calls(getattr, {}, "clear"), r"names (builtins|__builtin__)\.getattr"),
    (Calls(np.load, "{path}"), r"names numpy\.load"),
    (OrderedDict(a=1), r"names collections\.OrderedDict"),
    (np.array([1, "a"], object), "an array of object"),
    (np.array(["a"]), "an array of str"),
    (np.float64(1), r"names numpy\.(_core|core)\.multiarray\.scalar"),
    ({1, 2}, "a set in the pickle"),
    (np.dtype("f4"), "a _DType in the pickle"),
    (np.ndarray, "a type in the pickle"),
]


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize(("value", "text"), MALICIOUS)
def test_refused(value: Any, text: str, protocol: int, tmp_path: Path) -> None:
    if protocol == 2 and isinstance(value, set):
        text = r"names __builtin__\.set"
    with pytest.raises(DataError, match=rf"batch: refused: .*{text}.*; take the file from its genuine source$"):
        read(pickle.dumps({"data": [value]}, protocol), tmp_path)
    assert os.listdir(tmp_path) == ["batch"]


HAND_MADE = {
    "a stand-in's attributes": b"cnumpy\nndarray\n}(U\x09__slots__K\x01ub.",
    "a stand-in's slots": b"\x80\x02cnumpy\nndarray\nN}U\x05arrayK\x01s\x86b.",
    "a state of a class": b"\x80\x02c_codecs\nencode\nN}U\x05arrayK\x01s\x86b.",
    "a memo of four billion places": b"\x80\x02Nr\xff\xff\xff\xff0h\x00.",
    "an array of more than its bytes": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01J\xff\xff\xff\x7f\x85"
    b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR\x89U\x03abctb.",
    "an array that is never filled": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
    "bytes without end": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "nothing on the stack": b"\x80\x020000.",
    "a missing memo": b"\x80\x02h\x07.",
    "an unknown code": b"\x80\x02\xff.",
    "a later protocol": b"\x80\x63N.",
    "a persistent name": b"\x80\x02U\x01aQ.",
    "an unhashable key": b"\x80\x02}]K\x01s.",
}


@pytest.mark.parametrize("content", HAND_MADE.values(), ids=HAND_MADE.keys())
def test_wrong_programs(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(content, tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/batch: ")
    assert "\n" not in str(caught.value)


def test_truncated_anywhere(tmp_path: Path) -> None:
    for content in (PYTHON2, pickle.dumps({"data": ARRAYS[0], "labels": [1]})):
        for length in range(len(content)):
            with pytest.raises(DataError, match=r"truncated, or not|damaged, or not|refused: the pickle names"):
                read(content[:length], tmp_path)


def test_damaged_anywhere(tmp_path: Path) -> None:
    for at in range(len(PYTHON2)):
        for mask in (0x01, 0x20, 0xFF):
            damaged = PYTHON2[:at] + bytes([PYTHON2[at] ^ mask]) + PYTHON2[at + 1 :]
            try:
                read(damaged, tmp_path)
            except DataError as error:
                assert "\n" not in str(error)  # noqa: PT017  some damage changes a number, which none can see


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: cannot be read: No such file or directory; check the path$"):
        data.read_pickle(tmp_path / "nowhere")

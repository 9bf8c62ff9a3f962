"""Texts as numbers: the course's word corpus, and characters."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle
from needle import data
from needle.errors import DataError, IndexRangeError

TRAIN = " the cat sat \n on the mat \n\n the cat ran \n"
TEST = "the dog sat\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.txt").write_text(TRAIN)
    (tmp_path / "test.txt").write_text(TEST)
    return tmp_path


def test_dictionary() -> None:
    words = data.Dictionary()
    assert [words.add_word(word) for word in ("a", "b", "a", "c")] == [0, 1, 0, 2]
    assert len(words) == 3
    assert words.word2idx == {"a": 0, "b": 1, "c": 2}
    assert words.idx2word == ["a", "b", "c"]


def test_corpus(folder: Path) -> None:
    corpus = data.Corpus(str(folder))
    words = ["the", "cat", "sat", "<eos>", "on", "mat", "ran", "dog"]
    assert corpus.dictionary.idx2word == words
    assert corpus.train == [0, 1, 2, 3, 4, 0, 5, 3, 3, 0, 1, 6, 3]
    assert corpus.test == [0, 7, 2, 3]
    assert data.Corpus(folder, max_lines=1).train == [0, 1, 2, 3]


def test_batchify_and_get_batch(device: needle.Device) -> None:
    batches = data.batchify(list(range(23)), 4, device=device, dtype="float32")
    assert batches.shape == (5, 4)
    assert batches.dtype == np.float32
    np.testing.assert_array_equal(batches[:, 1], [5, 6, 7, 8, 9])
    x, y = data.get_batch(batches, 1, 2, device=device)
    assert (x.shape, x.dtype, x.device, y.shape) == ((2, 4), "float32", device, (8,))
    assert x.numpy().tolist() == [[1, 6, 11, 16], [2, 7, 12, 17]]
    assert y.numpy().tolist() == [2, 7, 12, 17, 3, 8, 13, 18]
    for row in (-1, len(batches) - 1, len(batches)):
        with pytest.raises(IndexRangeError, match=rf"^get_batch: nothing to predict from row {row} on: there are "):
            data.get_batch(batches, row, 2)
    x, y = data.get_batch(batches, 3, 9, device=device, dtype="int32")
    assert (x.shape, y.shape, y.dtype) == ((1, 4), (4,), "int32")


def test_sequence_loader(device: needle.Device) -> None:
    loader = data.SequenceLoader(list(range(23)), 4, length=3, device=device)
    assert len(loader) == 2
    rows = data.batchify(list(range(23)), 4)
    for found, i in zip(loader, (0, 3), strict=True):
        for part, expected in zip(found, data.get_batch(rows, i, 3), strict=True):
            assert part.device is device
            assert part.numpy().tolist() == expected.numpy().tolist()
    assert [x.shape for x, _ in loader] == [(3, 4), (1, 4)]
    assert [x.shape for x, _ in loader.batches(start=1)] == [(1, 4)]


def test_characters() -> None:
    alphabet = data.Alphabet("hello, world")
    assert alphabet.characters == " ,dehlorw"
    assert alphabet.decode(alphabet.encode("herd, hello")) == "herd, hello"
    dataset = data.CharacterDataset("hello, world", alphabet, length=4, stride=3)
    assert len(dataset) == 3
    pieces = [tuple(map(alphabet.decode, item)) for item in map(dataset.__getitem__, range(3))]
    assert pieces == [("hell", "ello"), ("lo, ", "o, w"), (" wor", "worl")]
    x, y = next(iter(data.DataLoader(dataset, 3)))
    assert [alphabet.decode(row) for row in x.numpy()] == ["hell", "lo, ", " wor"]
    assert [alphabet.decode(row) for row in y.numpy()] == ["ello", "o, w", "worl"]
    assert x.dtype == "int32"
    assert len(data.CharacterDataset("hello, world", alphabet, length=11)) == 1
    with pytest.raises(IndexError, match=r"^CharacterDataset: item 3 of 3$"):
        dataset[3]


REFUSED: list[tuple[Any, str]] = [
    (lambda path: data.Corpus(path), "{path}/train.txt: cannot be read: No such file or directory; check the path"),
    (lambda path: data.read_text(path / "empty"), "{path}/empty: the text is empty"),
    (
        lambda path: data.read_text(path / "latin1"),
        "{path}/latin1: not a text in UTF-8: byte 3 is 0xe9; convert it first",
    ),
    (lambda path: data.batchify([1] * 7, 4), "batchify: 7 tokens make no two rows of 4; use a smaller batch_size"),
    (lambda path: data.Alphabet("abc").encode("abd"), "Alphabet: 'd' is none of its 3 characters"),
    (
        lambda path: data.CharacterDataset("abc", data.Alphabet("abc"), 3),
        "CharacterDataset: 3 characters, and pieces of 3 need 4",
    ),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_what_is_refused(call: Any, text: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "latin1").write_bytes("café".encode("latin1"))
    with pytest.raises(DataError) as caught:
        call(tmp_path)
    assert str(caught.value) == text.format(path=tmp_path)

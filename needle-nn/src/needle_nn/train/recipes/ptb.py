"""Penn Treebank: a language model of words with an LSTM, whose state goes on from batch to batch."""

from pathlib import Path

import needle
from needle import Device, Tensor
from needle_nn import data, nn, optim
from needle_nn.train.recipe import PERPLEXITY, Loader, Recipe, Settings, Split

FOLDER = Path("data/ptb")
LENGTH = 35  # steps in time that a gradient goes back


class WordModel(nn.Module):
    """(T, B) numbers of words -> (T * B, words), what comes after each.

    `state` is the LSTM's after the batch before, without its graph: gradients end there, the text does not. It is a
    buffer, so that a checkpoint in the middle of an epoch holds it.
    """

    def __init__(self, words: int, batch_size: int, device: Device, width: int = 200, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, device=device)
        self.dropout = nn.Dropout(0.2)
        self.lstm = nn.LSTM(width, width, layers, device=device)
        self.output = nn.Linear(width, words, device=device)
        self.state = tuple(needle.zeros(layers, batch_size, width, device=device) for _ in range(2))

    def begin(self) -> None:
        """Forget what was read."""
        self.state = tuple(needle.zeros_like(part) for part in self.state)

    def forward(self, x: Tensor) -> Tensor:
        hidden, state = self.lstm(self.dropout(self.embedding(x)), self.state)
        self.state = tuple(part.detach() for part in state)
        logits: Tensor = self.output(self.dropout(hidden).reshape(x.size, -1))
        return logits


class Words(list[int]):
    """A text as numbers of words, with the dictionary that says which."""

    def __init__(self, numbers: list[int], dictionary: data.Dictionary) -> None:
        super().__init__(numbers)
        self.dictionary = dictionary


def corpus(folder: Path | None, download: bool) -> Split:
    texts = data.Corpus(folder or FOLDER, download=download)
    return Words(texts.train, texts.dictionary), Words(texts.test, texts.dictionary)


def word_loaders(split: Split, settings: Settings, device: Device) -> tuple[Loader, Loader]:
    train, test = (data.SequenceLoader(words, settings.batch_size, LENGTH, device=device) for words in split)
    return train, test


def word_model(train: Words, settings: Settings, device: Device) -> nn.Module:
    return WordModel(len(train.dictionary), settings.batch_size, device)


PTB = Recipe(
    name="ptb",
    summary="newspaper text (Penn Treebank): an LSTM that predicts the next word",
    about=(
        "train.txt and test.txt are read from --data, or from data/ptb; --download fetches them. Any text in words "
        "with spaces between them will do."
    ),
    data=corpus,
    model=word_model,
    optimizer=optim.Adam,
    epochs=8,
    batch_size=20,
    lr=2e-3,
    source="folder",
    downloads=True,
    items="words",
    unit="nats per word",
    measure=PERPLEXITY,
    loaders=word_loaders,
    clip=0.5,
    begin=WordModel.begin,
)

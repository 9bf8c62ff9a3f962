"""Any text, character by character: a small Transformer that writes a sample after each epoch."""

from collections.abc import Iterable
from pathlib import Path
from pydoc_data import topics
from textwrap import indent
from typing import Any

import numpy as np

import needle
from needle import Device, Tensor
from needle_nn import data, nn, optim
from needle_nn.train.recipe import PERPLEXITY, Loader, Recipe, Settings, Split

LENGTH = 128  # characters that the model sees
HELD_OUT = 0.1  # the share of the text, at its end, that is not trained on
STEPS = 200  # in an epoch, however long the text
TEST_BATCHES = 40  # of held-out text, at most


class CharacterModel(nn.Module):
    """(B, T) numbers of characters -> (B * T, characters), what comes after each."""

    def __init__(self, characters: int, device: Device, width: int = 128, layers: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width, device=device)
        self.transformer = nn.Transformer(
            width, 4 * width, layers, num_head=4, dim_head=width // 4, dropout=0.1, batch_first=True,
            sequence_len=LENGTH, device=device,
        )  # fmt: skip
        self.norm = nn.LayerNorm1d(width, device=device)
        self.output = nn.Linear(width, characters, device=device)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.transformer(self.embedding(x))
        logits: Tensor = self.output(self.norm(hidden.reshape(x.size, -1)))
        return logits


class CharacterLoss(nn.Module):
    """logits (B * T, characters), characters (B, T) -> nats per character."""

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        return needle.cross_entropy(logits, y.reshape(y.size))


def text(file: Path | None, download: bool) -> Split:
    """The text's beginning and its end, in pieces; those to train on begin anywhere."""
    whole = "\n".join(topics.topics.values()) if file is None else data.read_text(file)
    alphabet, cut = data.Alphabet(whole), round(len(whole) * (1 - HELD_OUT))
    train = data.CharacterDataset(whole[:cut], alphabet, LENGTH, stride=1)
    return train, data.CharacterDataset(whole[cut:], alphabet, LENGTH)


def text_loaders(split: Split, settings: Settings, device: Device) -> tuple[Loader, Loader]:
    train, test = split
    loader = data.DataLoader(train, settings.batch_size, shuffle=True, device=device, max_batches=STEPS)
    return loader, data.DataLoader(test, settings.batch_size, device=device, max_batches=TEST_BATCHES)


def character_model(train: data.CharacterDataset, settings: Settings, device: Device) -> nn.Module:
    return CharacterModel(len(train.alphabet), device)


def write(model: CharacterModel, train: Any, epoch: int, n: int = 240, temperature: float = 0.8) -> str:
    """What the model writes after a line break; drawn from numbers of its own, so that training is not disturbed."""
    rng, alphabet, device = np.random.default_rng(epoch), train.alphabet, model.output.weight.device
    model.eval()
    written = [alphabet.numbers.get("\n", 0)]
    with needle.no_grad():
        for _ in range(n):
            seen = np.array([written[-LENGTH:]], np.int32)
            logits = model(Tensor(seen, device=device))[-1].numpy() / temperature
            shares = np.exp(logits - logits.max(), dtype=np.float64)
            written.append(int(rng.choice(len(shares), p=shares / shares.sum())))
    return indent(alphabet.decode(written[1:]), "  | ", lambda line: True)


def adamw(params: Iterable[Tensor], lr: float) -> optim.Optimizer:
    return optim.AdamW(params, lr, beta2=0.99, weight_decay=0.05)


def warm_cosine(lr: float, steps: int) -> Any:
    return optim.cosine(lr, steps, warmup=min(100, steps // 10))


TEXT = Recipe(
    name="text",
    summary="any text, character by character: a small Transformer that writes samples",
    about=(
        "FILE is a text in UTF-8; without one, the text is Python's own documentation (0.5 MB). Its last tenth is held "
        f"out. An epoch is {STEPS} batches of pieces from anywhere in the rest. Expect below 1.9 nats per character."
    ),
    data=text,
    model=character_model,
    optimizer=adamw,
    epochs=8,
    batch_size=32,
    lr=1e-3,
    source="file",
    items=f"pieces of {LENGTH} characters",
    unit="nats per character",
    measure=PERPLEXITY,
    loaders=text_loaders,
    loss=CharacterLoss,
    schedule=warm_cosine,
    clip=1.0,
    sample=write,
)

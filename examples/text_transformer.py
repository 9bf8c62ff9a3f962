"""Train a small Transformer on a text, character by character, and let it write.

python examples/text_transformer.py               on Python's own documentation
python examples/text_transformer.py FILE          on any text in UTF-8
python examples/text_transformer.py --width 64    a model that is quicker and knows less
"""

import argparse
import time
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

import needle as ndl
from needle import nn

LENGTH = 128  # characters that the model sees


class CharacterModel(nn.Module):
    """(B, T) numbers of characters -> (B * T, characters): what comes after each."""

    def __init__(self, characters: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.transformer = nn.Transformer(
            width, 4 * width, layers, num_head=4, dim_head=width // 4, dropout=0.1, batch_first=True,
            sequence_len=LENGTH,
        )  # fmt: skip
        self.norm = nn.LayerNorm1d(width)
        self.output = nn.Linear(width, characters)

    def forward(self, x: ndl.Tensor) -> ndl.Tensor:
        hidden, _ = self.transformer(self.embedding(x))
        return self.output(self.norm(hidden.reshape(x.size, -1)))


def evaluate(model: nn.Module, loader: ndl.data.DataLoader) -> float:
    """Nats per character."""
    model.eval()
    with ndl.no_grad():
        return float(np.mean([float(ndl.cross_entropy(model(x), y.reshape(y.size))) for x, y in loader]))


def write(model: nn.Module, alphabet: ndl.data.Alphabet, device: ndl.Device, n: int = 200) -> str:
    """What the model writes after a line break, one character at a time."""
    model.eval()
    numbers, rng = [alphabet.numbers["\n"]], np.random.default_rng(0)
    with ndl.no_grad():
        for _ in range(n):
            seen = ndl.Tensor(np.array([numbers[-LENGTH:]], np.int32), device=device)
            shares = (model(seen)[-1] / 0.8).softmax().numpy().astype(float)  # below 1: more careful than the text
            numbers.append(int(rng.choice(len(alphabet), p=shares / shares.sum())))
    return alphabet.decode(numbers[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="the text")
    parser.add_argument("--device", help="where to run (default: the best there is)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200, help="in an epoch")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    args = parser.parse_args()

    ndl.manual_seed(0)
    device = ndl.device(args.device) if args.device else ndl.default_device()
    text = ndl.data.read_text(args.file) if args.file else "\n".join(topics.values())
    alphabet, cut = ndl.data.Alphabet(text), len(text) * 9 // 10
    train = ndl.data.CharacterDataset(text[:cut], alphabet, LENGTH, stride=1)  # pieces that begin anywhere
    test = ndl.data.CharacterDataset(text[cut:], alphabet, LENGTH)
    loader = ndl.data.DataLoader(train, 32, shuffle=True, device=device, max_batches=args.steps)
    test_loader = ndl.data.DataLoader(test, 32, device=device, max_batches=40)
    model = CharacterModel(len(alphabet), args.width, args.layers).to(device)
    optimizer = ndl.optim.AdamW(model.parameters(), beta2=0.99, weight_decay=0.05)
    steps = args.epochs * len(loader)
    rate = ndl.optim.cosine(1e-3, steps, warmup=min(100, steps // 10))
    print(f"{len(text):,} characters, {len(alphabet)} different; {model.num_parameters():,} parameters on {device}")

    for epoch in range(1, args.epochs + 1):
        model.train()
        start = time.perf_counter()
        for x, y in loader:
            optimizer.lr = rate(optimizer.steps)
            loss = ndl.cross_entropy(model(x), y.reshape(y.size))
            optimizer.reset_grad()
            loss.backward()
            optimizer.clip_grad_norm(1.0)
            optimizer.step()
        seconds, nats = time.perf_counter() - start, evaluate(model, test_loader)
        print(
            f"epoch {epoch}  held out {nats:.3f} nats per character  {seconds:.0f} s\n{write(model, alphabet, device)}"
        )


if __name__ == "__main__":
    main()

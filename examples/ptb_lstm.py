"""Train an LSTM to predict the next word of newspaper text (Penn Treebank), or of any text in words.

    python examples/ptb_lstm.py --download       fetch train.txt and test.txt into data/ptb first
    python examples/ptb_lstm.py --data DIR       read DIR/train.txt and DIR/test.txt

The text is laid out in columns that go on from batch to batch, and so does the state of the LSTM; gradients go back
through the steps of one batch only.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import needle as ndl
from needle import nn

State = tuple[ndl.Tensor, ndl.Tensor]


class LanguageModel(nn.Module):
    """Words (T, B) and the state before them -> logits (T * B, words) and the state after."""

    def __init__(self, words: int, width: int, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.dropout = nn.Dropout(0.2)
        self.lstm = nn.LSTM(width, width, layers)
        self.output = nn.Linear(width, words)

    def forward(self, x: ndl.Tensor, state: State | None) -> tuple[ndl.Tensor, State]:
        hidden, (h, c) = self.lstm(self.dropout(self.embedding(x)), state)
        return self.output(self.dropout(hidden).reshape(x.size, -1)), (h.detach(), c.detach())


def losses(model: nn.Module, loader: ndl.data.SequenceLoader) -> Iterator[ndl.Tensor]:
    """The loss of each batch, in nats per word."""
    loss_function, state = nn.SoftmaxLoss(), None
    for x, y in loader:
        logits, state = model(x, state)
        yield loss_function(logits, y)


def train_epoch(model: nn.Module, loader: ndl.data.SequenceLoader, optimizer: ndl.optim.Optimizer) -> float:
    model.train()
    total = 0.0
    for loss in losses(model, loader):
        optimizer.reset_grad()
        loss.backward()
        optimizer.clip_grad_norm(0.5)
        optimizer.step()
        total += float(loss)
    return total / len(loader)


def evaluate(model: nn.Module, loader: ndl.data.SequenceLoader) -> float:
    model.eval()
    with ndl.no_grad():
        return sum(float(loss) for loss in losses(model, loader)) / len(loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/ptb"), help="folder of train.txt and test.txt")
    parser.add_argument("--download", action="store_true", help="fetch files that are missing")
    parser.add_argument("--device", help="where to run (default: the best there is)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--width", type=int, default=200)
    args = parser.parse_args()

    ndl.manual_seed(0)
    device = ndl.device(args.device) if args.device else ndl.default_device()
    corpus = ndl.data.Corpus(args.data, download=args.download)
    train, test = (
        ndl.data.SequenceLoader(words, args.batch_size, 35, device=device) for words in (corpus.train, corpus.test)
    )
    model = LanguageModel(len(corpus.dictionary), args.width).to(device)
    optimizer = ndl.optim.Adam(model.parameters(), lr=2e-3)
    print(f"{len(corpus.dictionary):,} different words, {model.num_parameters():,} parameters on {device}")

    for epoch in range(1, args.epochs + 1):
        start = time.perf_counter()
        loss, test_loss = train_epoch(model, train, optimizer), evaluate(model, test)
        seconds, perplexity = time.perf_counter() - start, math.exp(test_loss)
        print(f"epoch {epoch}  loss {loss:.3f}  test {test_loss:.3f}  perplexity {perplexity:.1f}  {seconds:.0f} s")


if __name__ == "__main__":
    main()

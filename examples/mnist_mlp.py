"""Train a small MLP on handwritten digits: a plain loop, nothing hidden.

Three ways to run it:

    python examples/mnist_mlp.py                        the 8x8 digits that come with needle-nn
    python examples/mnist_mlp.py --data DIR             MNIST's four IDX files in DIR, .gz or plain
    python examples/mnist_mlp.py --device cuda:1        on any device that `needle devices` lists
"""

import argparse
import time
from pathlib import Path

import needle as ndl


def load_data(folder: Path | None) -> tuple[ndl.data.Dataset, ndl.data.Dataset]:
    """(training data, test data)"""
    if folder is None:
        return ndl.data.DigitsDataset(train=True), ndl.data.DigitsDataset(train=False)
    train, test = (
        ndl.data.MNISTDataset(find(folder, f"{part}-images-idx3-ubyte"), find(folder, f"{part}-labels-idx1-ubyte"))
        for part in ("train", "t10k")
    )
    return train, test


def find(folder: Path, name: str) -> Path:
    """The file, or else its compressed form."""
    return folder / name if (folder / name).exists() else folder / f"{name}.gz"


def build_model(inputs: int, hidden: int, device: ndl.Device) -> ndl.nn.Module:
    return ndl.nn.Sequential(
        ndl.nn.Flatten(),
        ndl.nn.Linear(inputs, hidden, device=device),
        ndl.nn.ReLU(),
        ndl.nn.Linear(hidden, 10, device=device),
    )


def train_epoch(model: ndl.nn.Module, loader: ndl.data.DataLoader, optimizer: ndl.optim.Optimizer) -> float:
    """One pass over the data; the mean loss of its batches."""
    loss_function, losses = ndl.nn.SoftmaxLoss(), []
    model.train()
    for images, labels in loader:
        loss = loss_function(model(images), labels)
        optimizer.reset_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return sum(float(loss) for loss in losses) / len(losses)


def accuracy(model: ndl.nn.Module, loader: ndl.data.DataLoader) -> float:
    """The share of images whose largest logit is at their label."""
    model.eval()
    with ndl.no_grad():
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument("--device", help="where to run (default: the best there is)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=256)
    args = parser.parse_args()

    ndl.manual_seed(0)
    device = ndl.device(args.device) if args.device else ndl.default_device()
    train, test = load_data(args.data)
    train_loader = ndl.data.DataLoader(train, batch_size=32, shuffle=True, device=device)
    test_loader = ndl.data.DataLoader(test, batch_size=500, device=device)
    model = build_model(train[0][0].size, args.hidden, device)
    optimizer = ndl.optim.Adam(model.parameters(), lr=0.002)
    print(f"{model}\n{model.num_parameters():,} parameters on {device}")

    for epoch in range(1, args.epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(model, train_loader, optimizer)
        seconds = time.perf_counter() - start
        print(f"epoch {epoch:2}  loss {loss:.4f}  test {accuracy(model, test_loader):.2%}  {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()

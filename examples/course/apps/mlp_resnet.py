"""A residual network of Linear layers, on MNIST."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

import needle as ndl
from needle import nn

SEED = 4  # of every epoch, as in the course


def ResidualBlock(dim: int, hidden_dim: int, norm: Any = nn.BatchNorm1d, drop_prob: float = 0.1) -> nn.Module:
    """relu(x + two Linear layers of x, each normalized)."""
    inner = nn.Sequential(
        nn.Linear(dim, hidden_dim), norm(hidden_dim), nn.ReLU(), nn.Dropout(drop_prob),
        nn.Linear(hidden_dim, dim), norm(dim),
    )  # fmt: skip
    return nn.Sequential(nn.Residual(inner), nn.ReLU())


def MLPResNet(
    dim: int, hidden_dim: int = 100, num_blocks: int = 3, num_classes: int = 10, norm: Any = nn.BatchNorm1d,
    drop_prob: float = 0.1,
) -> nn.Module:  # fmt: skip
    """Images or vectors of `dim` numbers to logits, through blocks that are half as wide inside."""
    first = [nn.Flatten(), nn.Linear(dim, hidden_dim), nn.ReLU()]
    blocks = [ResidualBlock(hidden_dim, hidden_dim // 2, norm, drop_prob) for _ in range(num_blocks)]
    return nn.Sequential(*first, *blocks, nn.Linear(hidden_dim, num_classes))


def epoch(dataloader: Iterable[Any], model: nn.Module, opt: ndl.optim.Optimizer | None = None) -> tuple[Any, Any]:
    """One pass: training where there is an optimizer, else evaluation. Returns (error rate, loss)."""
    np.random.seed(SEED)
    model.train() if opt is not None else model.eval()
    loss_fn, wrong, samples = nn.SoftmaxLoss(), 0, 0
    losses: list[float] = []
    for X, y in dataloader:
        logits = model(X)
        loss = loss_fn(logits, y)
        if opt is not None:
            opt.reset_grad()
            loss.backward()
            opt.step()
        losses.append(loss.numpy().item())
        wrong += int(np.sum(logits.numpy().argmax(axis=1) != y.numpy()))
        samples += y.shape[0]
    return np.float64(wrong / samples), np.mean(losses)


def train_mnist(
    batch_size: int = 100, epochs: int = 10, optimizer: Any = ndl.optim.Adam, lr: float = 0.001,
    weight_decay: float = 0.001, hidden_dim: int = 100, data_dir: str = "data",
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Train, then test. Returns (error rate, loss) of the last epoch, and the same on the test images."""
    np.random.seed(SEED)
    train, test = (_mnist(data_dir, part) for part in ("train", "t10k"))
    model = MLPResNet(28 * 28, hidden_dim)
    opt = optimizer(model.parameters(), lr=lr, weight_decay=weight_decay)
    for _ in range(epochs):
        result = epoch(ndl.data.DataLoader(train, batch_size, shuffle=True), model, opt)
    return *result, *epoch(ndl.data.DataLoader(test, batch_size), model)


def _mnist(data_dir: str, part: str) -> Any:
    names = (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz")
    return ndl.data.MNISTDataset(*(os.path.join(data_dir, name) for name in names))

"""Training loops: a two-layer network on MNIST by hand, CIFAR-10, and Penn Treebank."""

import gzip
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

import needle as ndl
from needle import nn

SEED = 4  # of every epoch, as in the course
Result = tuple[Any, Any]


def parse_mnist(image_filename: str, label_filename: str) -> tuple[Any, Any]:
    """Images (n, 784), float32 from 0 to 1, and labels (n,), uint8, from gzipped IDX files."""
    with gzip.open(image_filename) as file:
        _, n, rows, columns = struct.unpack(">4I", file.read(16))
        images = np.frombuffer(file.read(), np.uint8).reshape(n, rows * columns)
    with gzip.open(label_filename) as file:
        file.read(8)
        labels = np.frombuffer(file.read(), np.uint8)
    return images.astype(np.float32) / np.float32(255), labels


def softmax_loss(Z: ndl.Tensor, y_one_hot: ndl.Tensor) -> ndl.Tensor:
    """The mean over rows of logsumexp(z) - z[label]: logits (n, classes), labels as rows of zeros and a one."""
    losses = ndl.logsumexp(Z, (1,)) - ndl.summation(Z * y_one_hot, (1,))
    return ndl.summation(losses) / Z.shape[0]


def nn_epoch(
    X: Any, y: Any, W1: ndl.Tensor, W2: ndl.Tensor, lr: float = 0.1, batch: int = 100
) -> tuple[ndl.Tensor, ndl.Tensor]:
    """One pass of gradient descent over relu(X @ W1) @ W2, in order; returns the new weights."""
    classes = W2.shape[1]
    for start in range(0, len(X), batch):
        x, labels = ndl.Tensor(X[start : start + batch]), y[start : start + batch]
        loss = softmax_loss(ndl.relu(x @ W1) @ W2, ndl.Tensor(np.eye(classes, dtype=np.float32)[labels]))
        loss.backward()
        W1, W2 = (ndl.Tensor(W.numpy() - lr * W.grad.numpy(), dtype=W.dtype) for W in (W1, W2))
    return W1, W2


def loss_err(h: ndl.Tensor, y: Any) -> tuple[Any, Any]:
    """The softmax loss of logits, and how many are wrong."""
    one_hot = np.eye(h.shape[-1], dtype=np.float32)[y]
    return softmax_loss(h, ndl.Tensor(one_hot)).numpy(), np.sum(h.numpy().argmax(axis=1) != y)


class Tally:
    """Means over the samples of an epoch."""

    def __init__(self) -> None:
        self.right, self.loss, self.samples = 0.0, np.float64(0), 0

    def add(self, logits: ndl.Tensor, y: ndl.Tensor, loss: ndl.Tensor) -> None:
        labels = y.numpy()
        self.right += float(np.sum(logits.numpy().argmax(axis=1) == labels))
        self.loss += np.float64(loss.numpy().item()) * len(labels)
        self.samples += len(labels)

    def means(self) -> Result:
        """(accuracy, loss)."""
        return np.float64(self.right / self.samples), np.float64(self.loss / self.samples)


def made(loss_fn: Any) -> nn.Module:
    """A loss from its class, or itself."""
    return loss_fn() if isinstance(loss_fn, type) else loss_fn


def epoch_general_cifar10(
    dataloader: Iterable[Any], model: nn.Module, loss_fn: Any = nn.SoftmaxLoss, opt: ndl.optim.Optimizer | None = None
) -> Result:
    """One pass: training where there is an optimizer, else evaluation. Returns (accuracy, loss)."""
    np.random.seed(SEED)
    model.train() if opt is not None else model.eval()
    device, tally, loss_fn = model.parameters()[0].device, Tally(), made(loss_fn)
    for X, y in dataloader:
        X, y = ndl.Tensor(X, device=device), ndl.Tensor(y, device=device)
        logits = model(X)
        loss = loss_fn(logits, y)
        if opt is not None:
            opt.reset_grad()
            loss.backward()
            opt.step()
        tally.add(logits, y, loss)
    return tally.means()


def train_cifar10(
    model: nn.Module, dataloader: Iterable[Any], n_epochs: int = 1, optimizer: Any = ndl.optim.Adam, lr: float = 0.001,
    weight_decay: float = 0.001, loss_fn: Any = nn.SoftmaxLoss,
) -> Result:  # fmt: skip
    """(accuracy, loss) of the last epoch."""
    np.random.seed(SEED)
    opt = optimizer(model.parameters(), lr=lr, weight_decay=weight_decay)
    for _ in range(n_epochs):
        result = epoch_general_cifar10(dataloader, model, loss_fn, opt)
    return result


def evaluate_cifar10(model: nn.Module, dataloader: Iterable[Any], loss_fn: Any = nn.SoftmaxLoss) -> Result:
    """(accuracy, loss) on the batches of a loader."""
    np.random.seed(SEED)
    return epoch_general_cifar10(dataloader, model, loss_fn)


def epoch_general_ptb(
    data: Any, model: nn.Module, seq_len: int = 40, loss_fn: Any = nn.SoftmaxLoss,
    opt: ndl.optim.Optimizer | None = None, clip: float | None = None, device: Any = None, dtype: Any = "float32",
) -> Result:  # fmt: skip
    """One pass over rows of tokens (nbatch, bs), `seq_len` at a time; the state goes on from part to part.

    Returns (accuracy, loss).
    """
    np.random.seed(SEED)
    model.train() if opt is not None else model.eval()
    state, tally, loss_fn = None, Tally(), made(loss_fn)
    for start in range(0, len(data) - 1, seq_len):
        X, y = ndl.data.get_batch(data, start, seq_len, device=device, dtype=dtype)
        logits, state = model(X, state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss = loss_fn(logits, y)
        if opt is not None:
            opt.reset_grad()
            loss.backward()
            if clip is not None:
                opt.clip_grad_norm(clip)
            opt.step()
        tally.add(logits, y, loss)
    return tally.means()


def train_ptb(
    model: nn.Module, data: Any, seq_len: int = 40, n_epochs: int = 1, optimizer: Any = ndl.optim.SGD, lr: float = 4.0,
    weight_decay: float = 0.0, loss_fn: Any = nn.SoftmaxLoss, clip: float | None = None, device: Any = None,
    dtype: Any = "float32",
) -> Result:  # fmt: skip
    """(accuracy, loss) of the last epoch."""
    np.random.seed(SEED)
    opt = optimizer(model.parameters(), lr=lr, weight_decay=weight_decay)
    for _ in range(n_epochs):
        result = epoch_general_ptb(data, model, seq_len, loss_fn, opt, clip, device, dtype)
    return result


def evaluate_ptb(
    model: nn.Module, data: Any, seq_len: int = 40, loss_fn: Any = nn.SoftmaxLoss, device: Any = None,
    dtype: Any = "float32",
) -> Result:  # fmt: skip
    """(accuracy, loss) on rows of tokens."""
    np.random.seed(SEED)
    return epoch_general_ptb(data, model, seq_len, loss_fn, device=device, dtype=dtype)

"""The programs in `examples/course`: their numbers of parameters, seeds and results."""

import gzip
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import nn

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "course"))
from apps import mlp_resnet, models, simple_ml


def write_mnist(folder: Path, part: str, n: int) -> tuple[Any, Any]:
    images = np.random.randint(0, 256, (n, 28, 28), dtype=np.uint8)
    labels = np.arange(n, dtype=np.uint8) % 10
    images[np.arange(n), labels] = 255  # a line that tells the digit
    for name, header, content in (
        (f"{part}-images-idx3-ubyte.gz", struct.pack(">4I", 2051, n, 28, 28), images),
        (f"{part}-labels-idx1-ubyte.gz", struct.pack(">2I", 2049, n), labels),
    ):
        with gzip.open(folder / name, "wb") as file:
            file.write(header + content.tobytes())
    return images, labels


def test_parse_mnist(tmp_path: Path) -> None:
    images, labels = write_mnist(tmp_path, "train", 12)
    names = (str(tmp_path / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    X, y = simple_ml.parse_mnist(*names)
    assert (X.dtype, y.dtype, X.shape) == (np.float32, np.uint8, (12, 784))
    np.testing.assert_allclose(X, images.reshape(12, -1) / 255, rtol=1e-6)
    np.testing.assert_array_equal(y, labels)


def reference_loss(logits: Any, y: Any) -> Any:
    return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y])


def test_losses() -> None:
    logits, y = np.random.randn(9, 4).astype("float32"), np.random.randint(0, 4, 9)
    loss = simple_ml.softmax_loss(ndl.Tensor(logits), ndl.Tensor(np.eye(4)[y]))
    assert loss.numpy().item() == pytest.approx(reference_loss(logits, y), rel=1e-5)
    found, wrong = simple_ml.loss_err(ndl.Tensor(logits), y)
    assert found.item() == pytest.approx(reference_loss(logits, y), rel=1e-5)
    assert wrong == (logits.argmax(1) != y).sum()


def test_nn_epoch() -> None:
    X, y = np.random.randn(20, 5).astype("float32"), np.random.randint(0, 3, 20)
    a, b = np.random.randn(5, 6).astype("float32"), np.random.randn(6, 3).astype("float32")
    W1, W2 = ndl.Tensor(a), ndl.Tensor(b)
    new = simple_ml.nn_epoch(X, y, W1, W2, lr=0.2, batch=8)
    np.testing.assert_array_equal(W1.numpy(), a)
    for start in range(0, 20, 8):
        x, labels = X[start : start + 8], y[start : start + 8]
        h = np.maximum(x @ a, 0)
        p = np.exp(h @ b)
        g = (p / p.sum(1, keepdims=True) - np.eye(3)[labels]) / len(x)
        a, b = a - 0.2 * x.T @ ((g @ b.T) * (h > 0)), b - 0.2 * h.T @ g
    np.testing.assert_allclose(new[0].numpy(), a, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new[1].numpy(), b, rtol=1e-4, atol=1e-5)
    assert all(isinstance(W, ndl.Tensor) and W.op is None for W in new)


def count(model: nn.Module) -> int:
    return sum(int(np.prod(p.shape)) for p in model.parameters())


def test_sizes_of_models() -> None:
    assert count(models.ResNet9(device=ndl.cpu())) == 431_946
    assert models.ResNet9()(ndl.Tensor(np.random.randn(2, 3, 32, 32))).shape == (2, 10)
    assert count(mlp_resnet.MLPResNet(30, 20, num_blocks=2)) == 30 * 20 + 20 + 2 * (2 * 200 + 10 + 20 + 60) + 210
    kinds = [type(m) for m in mlp_resnet.ResidualBlock(8, 4, norm=nn.LayerNorm1d, drop_prob=0.2)._children()]
    assert kinds[1:] == [
        nn.Sequential, nn.Linear, nn.LayerNorm1d, nn.ReLU, nn.Dropout, nn.Linear, nn.LayerNorm1d, nn.ReLU,
    ]  # fmt: skip


class Pictures(ndl.data.Dataset):
    """A few pictures whose brightness is their class."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: Any) -> Any:
        return np.random.RandomState(i).randn(3, 32, 32).astype("float32") + i % 10, i % 10


def test_cifar10() -> None:
    np.random.seed(0)
    model = models.ResNet9(device=ndl.cpu())
    loader = ndl.data.DataLoader(Pictures(), batch_size=5, device=ndl.cpu())
    first = simple_ml.train_cifar10(model, loader, n_epochs=1, lr=0.001)
    _, loss = simple_ml.train_cifar10(model, loader, n_epochs=3, optimizer=ndl.optim.Adam, loss_fn=nn.SoftmaxLoss)
    assert loss < first[1]
    assert model.training
    found = simple_ml.evaluate_cifar10(model, loader)
    assert not model.training
    after = np.random.rand()
    np.random.seed(4)
    assert after == np.random.rand()
    logits = model(ndl.Tensor(np.stack([Pictures()[i][0] for i in range(12)]))).numpy()
    labels = np.arange(12) % 10
    assert found[0] == pytest.approx(np.mean(logits.argmax(1) == labels))
    assert found[1] == pytest.approx(reference_loss(logits.astype(np.float64), labels), rel=1e-3)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "transformer"])
def test_language_model(kind: str) -> None:
    np.random.seed(0)
    words = list(np.random.randint(0, 4, 30)) * 4
    rows = ndl.data.batchify(words, 4, device=ndl.cpu(), dtype="float32")
    assert rows.shape == (30, 4)
    model = models.LanguageModel(6, 5, 8, num_layers=2, seq_model=kind, seq_len=10, device=ndl.cpu())
    X, y = ndl.data.get_batch(rows, 0, 10, device=ndl.cpu(), dtype="float32")
    logits, state = model(X)
    assert logits.shape == (40, 5)
    assert y.shape == (40,)
    assert isinstance(state, tuple) == (kind == "lstm")
    options = {"seq_len": 10, "device": ndl.cpu(), "dtype": "float32"}
    before = simple_ml.evaluate_ptb(model, rows, **options)
    result = simple_ml.train_ptb(model, rows, n_epochs=8, lr=0.5, clip=0.5, optimizer=ndl.optim.SGD, **options)
    after = simple_ml.evaluate_ptb(model, rows, loss_fn=nn.SoftmaxLoss(), **options)
    assert after[1] < before[1]
    assert 0 <= result[0] <= 1


def test_the_loss_of_a_text_is_weighted_and_its_state_carried() -> None:
    rows = ndl.data.batchify(list(np.random.randint(0, 5, 50)), 2, device=ndl.cpu(), dtype="float32")
    model = models.LanguageModel(4, 5, 6, seq_model="lstm", device=ndl.cpu())
    found = simple_ml.evaluate_ptb(model, rows, seq_len=10, device=ndl.cpu())
    X, y = ndl.data.get_batch(rows, 0, len(rows), device=ndl.cpu(), dtype="float32")
    logits = model(X)[0].numpy().astype(np.float64)
    labels = y.numpy().astype(int)
    assert found[0] == pytest.approx(np.mean(logits.argmax(1) == labels))
    assert found[1] == pytest.approx(reference_loss(logits, labels), rel=1e-4)


def test_mlp_resnet(tmp_path: Path) -> None:
    write_mnist(tmp_path, "train", 60)
    write_mnist(tmp_path, "t10k", 20)
    np.random.seed(0)
    short = mlp_resnet.train_mnist(20, 1, ndl.optim.Adam, 0.01, 0.0, 16, str(tmp_path))
    results = mlp_resnet.train_mnist(20, 6, ndl.optim.Adam, 0.01, 0.0, 16, str(tmp_path))
    again = mlp_resnet.train_mnist(20, 6, ndl.optim.Adam, 0.01, 0.0, 16, data_dir=str(tmp_path))
    assert len(results) == 4
    assert results == pytest.approx(again)
    assert results[0] < short[0]
    assert results[1] < short[1]
    X, y = np.random.randn(8, 6).astype("float32"), np.arange(8) % 3
    model = mlp_resnet.MLPResNet(6, 8, 1, 3, norm=nn.LayerNorm1d, drop_prob=0.0)
    loader = ndl.data.DataLoader(ndl.data.NDArrayDataset(X, y), batch_size=4)
    error, loss = mlp_resnet.epoch(loader, model)
    logits = model(ndl.Tensor(X)).numpy()
    assert error == pytest.approx(np.mean(logits.argmax(1) != y))
    assert loss == pytest.approx(reference_loss(logits, y), rel=1e-4)

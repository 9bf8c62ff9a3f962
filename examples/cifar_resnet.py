"""Train ResNet9, the course's residual network, on CIFAR-10.

python examples/cifar_resnet.py --download       fetch the data (170 MB) into data/cifar-10-batches-py first
python examples/cifar_resnet.py --data DIR       read the files data_batch_1, ..., test_batch in DIR
python examples/cifar_resnet.py --workers 2      mirror and move the images in two processes
"""

import argparse
import time
from pathlib import Path

import needle as ndl
from needle import nn


def conv_norm(n_in: int, n_out: int, kernel_size: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv(n_in, n_out, kernel_size, stride=stride), nn.BatchNorm2d(n_out), nn.ReLU())


def residual(channels: int) -> nn.Module:
    """x + two convolutions of it."""
    return nn.Residual(nn.Sequential(conv_norm(channels, channels, 3, 1), conv_norm(channels, channels, 3, 1)))


class ResNet9(nn.Module):
    """(B, 3, 32, 32) -> (B, 10)"""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_norm(3, 16, 7, 4),
            conv_norm(16, 32, 3, 2),
            residual(32),
            conv_norm(32, 64, 3, 2),
            conv_norm(64, 128, 3, 2),
            residual(128),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: ndl.Tensor) -> ndl.Tensor:
        return self.classifier(self.features(x))


def train_epoch(model: nn.Module, loader: ndl.data.DataLoader, optimizer: ndl.optim.Optimizer) -> float:
    """One pass over the data; the mean loss of its batches."""
    loss_function, losses = nn.SoftmaxLoss(), []
    model.train()
    for images, labels in loader:
        loss = loss_function(model(images), labels)
        optimizer.reset_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return sum(float(loss) for loss in losses) / len(losses)


def accuracy(model: nn.Module, loader: ndl.data.DataLoader) -> float:
    model.eval()
    with ndl.no_grad():
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cifar-10-batches-py"), help="folder of the files")
    parser.add_argument("--download", action="store_true", help="fetch files that are missing")
    parser.add_argument("--device", help="where to run (default: the best there is)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()

    ndl.manual_seed(0)
    device = ndl.device(args.device) if args.device else ndl.default_device()
    moves = [ndl.data.RandomFlipHorizontal(), ndl.data.RandomCrop(padding=4)]
    train = ndl.data.CIFAR10Dataset(args.data, train=True, transforms=moves, download=args.download)
    test = ndl.data.CIFAR10Dataset(args.data, train=False)
    loader = ndl.data.DataLoader(train, args.batch_size, shuffle=True, device=device, num_workers=args.workers)
    test_loader = ndl.data.DataLoader(test, 500, device=device)
    model = ResNet9().to(device)
    optimizer = ndl.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
    print(f"{model.num_parameters():,} parameters on {device}")

    for epoch in range(1, args.epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(model, loader, optimizer)
        seconds = time.perf_counter() - start
        print(f"epoch {epoch:2}  loss {loss:.4f}  test {accuracy(model, test_loader):.2%}  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()

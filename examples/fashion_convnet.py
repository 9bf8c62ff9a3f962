"""Train a network of convolutions on Fashion-MNIST: over 91 % of the test pictures right.

python examples/fashion_convnet.py --download           fetch the data files into data/fashion-mnist first
python examples/fashion_convnet.py --data DIR           read the four IDX files in DIR
python examples/fashion_convnet.py --workers 2          prepare the batches in two processes
"""

import argparse
import time
from pathlib import Path

import needle as ndl
from needle import nn


def build_model() -> nn.Module:
    """(B, 1, 28, 28) -> (B, 10)"""

    def stage(n_in: int, n_out: int) -> list[nn.Module]:
        return [nn.Conv(n_in, n_out, 3), nn.BatchNorm2d(n_out), nn.ReLU()]

    return nn.Sequential(
        *stage(1, 32),
        nn.MaxPool2d(2),
        *stage(32, 64),
        nn.MaxPool2d(2),
        *stage(64, 128),
        nn.GlobalAvgPool(),
        nn.Linear(128, 10),
    )


def logits(model: nn.Module, images: ndl.Tensor) -> ndl.Tensor:
    """The data set gives (B, H, W, C), convolutions take (B, C, H, W)."""
    return model(images.permute(0, 3, 1, 2))


def accuracy(model: nn.Module, loader: ndl.data.DataLoader) -> float:
    model.eval()
    with ndl.no_grad():
        right = sum(int((logits(model, images).argmax(1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the four files")
    parser.add_argument("--download", action="store_true", help="fetch files that are missing")
    parser.add_argument("--device", help="where to run (default: the best there is)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()

    ndl.manual_seed(0)
    device = ndl.device(args.device) if args.device else ndl.default_device()
    train, test = (
        ndl.data.FashionMNISTDataset(args.data, train=part, download=args.download) for part in (True, False)
    )
    loader = ndl.data.DataLoader(train, args.batch_size, shuffle=True, device=device, num_workers=args.workers)
    test_loader = ndl.data.DataLoader(test, 500, device=device)
    model = build_model().to(device)
    print(nn.summary(model, (args.batch_size, 1, 28, 28)))
    optimizer, loss_function = ndl.optim.Adam(model.parameters()), nn.SoftmaxLoss()
    rate = ndl.optim.cosine(3e-3, args.epochs * len(loader))

    for epoch in range(1, args.epochs + 1):
        model.train()
        start, losses = time.perf_counter(), []
        for images, labels in loader:
            optimizer.lr = rate(optimizer.steps)
            loss = loss_function(logits(model, images), labels)
            optimizer.reset_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        mean, seconds = sum(float(loss) for loss in losses) / len(losses), time.perf_counter() - start
        print(f"epoch {epoch:2}  loss {mean:.4f}  test {accuracy(model, test_loader):.2%}  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()

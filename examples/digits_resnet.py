"""Train a small residual network on the 8x8 digits that come with needle-nn: over 99 % right in a minute.

python examples/digits_resnet.py                      train on the best device there is
python examples/digits_resnet.py --drawing first.svg  and draw the first step's graph with its gradients
"""

import argparse
import time
from pathlib import Path

import needle as ndl
from needle import nn


def conv_norm(n_in: int, n_out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv(n_in, n_out, 3, stride=stride), nn.BatchNorm2d(n_out), nn.ReLU())


def residual(channels: int) -> nn.Module:
    """x + two convolutions of it."""
    return nn.Residual(nn.Sequential(conv_norm(channels, channels), conv_norm(channels, channels)))


def build_model() -> nn.Module:
    """(B, 1, 8, 8) -> (B, 10)"""
    return nn.Sequential(
        conv_norm(1, 16),
        conv_norm(16, 32),
        residual(32),
        conv_norm(32, 64, stride=2),
        residual(64),
        nn.GlobalAvgPool(),
        nn.Linear(64, 10),
    )


def accuracy(model: nn.Module, loader: ndl.data.DataLoader) -> float:
    model.eval()
    with ndl.no_grad():
        right = sum(int((model(x.permute(0, 3, 1, 2)).argmax(1) == y).sum()) for x, y in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="where to run (default: the best there is)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--drawing", type=Path, help="where to draw the first step, as .svg or .dot")
    args = parser.parse_args()

    ndl.manual_seed(0)
    device = ndl.device(args.device) if args.device else ndl.default_device()
    shifts = [ndl.data.RandomCrop(padding=1)]  # each image is moved by up to a pixel
    train = ndl.data.DataLoader(ndl.data.DigitsDataset(transforms=shifts), 32, shuffle=True, device=device)
    test = ndl.data.DataLoader(ndl.data.DigitsDataset(train=False), 500, device=device)
    model = build_model().to(device)
    optimizer, loss_function = ndl.optim.Adam(model.parameters(), lr=2e-3), nn.SoftmaxLoss()
    rate = ndl.optim.cosine(2e-3, args.epochs * len(train))

    for epoch in range(1, args.epochs + 1):
        model.train()
        start, losses = time.perf_counter(), []
        for images, labels in train:
            optimizer.lr = rate(optimizer.steps)
            loss = loss_function(model(images.permute(0, 3, 1, 2)), labels)  # convolutions take (B, C, H, W)
            optimizer.reset_grad()
            if args.drawing and optimizer.steps == 0:
                with ndl.graph.watch(dict(model.named_parameters())) as seen:
                    loss.backward()
                seen.save(args.drawing)
            else:
                loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        mean, seconds = sum(float(loss) for loss in losses) / len(losses), time.perf_counter() - start
        print(f"epoch {epoch:2}  loss {mean:.4f}  test {accuracy(model, test):.2%}  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()

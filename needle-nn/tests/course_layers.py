"""Run each layer of the course once, forward and backward, and write all results to the file named by the argument.

`test_course_layers.py` runs this under either face of Needle; the layers come out the same.
"""

import sys
from typing import Any

import numpy as np

import needle as ndl
from needle import nn

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 6), (3, 4)),
    "linear N-D": (lambda: nn.Linear(4, 6, bias=False), (2, 3, 4)),
    "flatten": (lambda: nn.Flatten(), (3, 4, 5)),
    "activations": (lambda: nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity()), (3, 4)),
    "residual": (lambda: nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), (3, 4)),
    "batch norm 1d": (lambda: nn.BatchNorm1d(4), (5, 4)),
    "batch norm 2d": (lambda: nn.BatchNorm2d(3), (2, 3, 4, 5)),
    "batch norm in evaluation": (lambda: nn.BatchNorm1d(4).eval(), (5, 4)),
    "layer norm": (lambda: nn.LayerNorm1d(6), (4, 6)),
    "conv": (lambda: nn.Conv(3, 4, 3, 2), (2, 3, 6, 5)),
    "embedding": (lambda: nn.Embedding(7, 3), ()),
    "rnn cell": (lambda: nn.RNNCell(4, 5, nonlinearity="relu"), (3, 4)),
    "rnn": (lambda: nn.RNN(4, 5, 2), (6, 3, 4)),
    "lstm": (lambda: nn.LSTM(4, 5, 2), (6, 3, 4)),
    "gru": (lambda: nn.GRU(4, 5), (6, 3, 4)),
    "attention": (lambda: nn.AttentionLayer(6, 2, 3), (2, 4, 6)),
    "transformer layer": (lambda: nn.TransformerLayer(6, 2, 3, 7), (2, 4, 6)),
    "transformer": (lambda: nn.Transformer(6, 7, 2, num_head=2, dim_head=3, sequence_len=5), (4, 2, 6)),
}
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda params: ndl.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda params: ndl.optim.Adam(params, lr=0.1, weight_decay=0.01),
}


def flat(result: Any) -> list[Any]:
    """All Tensors of a result."""
    return [t for part in result for t in flat(part)] if isinstance(result, tuple | list) else [result]


def run_layer(make: Any, shape: tuple[int, ...]) -> list[Any]:
    """Results, gradients of the input and of the parameters."""
    np.random.seed(0)
    layer = make()
    values = np.random.randn(*shape).astype("float32") if shape else np.float32([[0, 6], [3, 3]])
    x = ndl.Tensor(values, dtype="float32", requires_grad=True)
    results = flat(layer(x))
    total = sum(((r * r).sum() for r in results), start=(x * 0.0).sum())
    total.backward()
    state = [t.numpy() for t in layer.state_dict().values()]
    return [r.numpy() for r in results] + [p.grad.numpy() for p in (x, *layer.parameters())] + state


def train(make: Any) -> list[Any]:
    """The parameters of a small net after five steps, and its loss."""
    np.random.seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    optimizer, loss_function = make(model.parameters()), nn.SoftmaxLoss()
    x, y = np.random.randn(10, 4).astype("float32"), np.random.randint(0, 3, 10)
    for _ in range(5):
        loss = loss_function(model(ndl.Tensor(x)), ndl.Tensor(y.astype("float32")))
        optimizer.reset_grad()
        loss.backward()
        optimizer.step()
    return [p.numpy() for p in model.parameters()] + [loss.numpy().reshape(())]


if __name__ == "__main__":
    found = {name: run_layer(*row) for name, row in LAYERS.items()}
    found |= {name: train(make) for name, make in OPTIMIZERS.items()}
    np.savez(sys.argv[1], **{f"{name} {i}": value for name, values in found.items() for i, value in enumerate(values)})

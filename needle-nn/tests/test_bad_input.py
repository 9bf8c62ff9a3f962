"""What does not fit is told in one line, with the clashing numbers first."""

from typing import Any

import numpy as np
import pytest

import needle
from needle import nn
from needle.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError

ones = needle.ones

FAILS: list[tuple[Any, type[Exception], str]] = [
    (lambda: nn.Conv(3, 4, 3)(ones(2, 4, 8, 8)), ShapeError,
     "Conv: takes (N, C, H, W) with 3 channels: x is (2, 4, 8, 8)"),
    (lambda: nn.Conv2d(3, 4, 3)(ones(3, 8, 8)), ShapeError,
     "Conv2d: takes (N, C, H, W) with 3 channels: x is (3, 8, 8)"),
    (lambda: nn.Conv1d(3, 4, 3)(ones(2, 4, 8)), ShapeError, "Conv1d: takes (N, C, L) with 3 channels: x is (2, 4, 8)"),
    (lambda: nn.Conv2d(3, 4, 5, padding=1)(ones(2, 3, 2, 8)), ShapeError,
     "conv2d: the kernel (5, 5) is larger than the padded image (4, 10): x is (2, 3, 2, 8)"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ShapeError, "conv: 2 groups do not divide 3 channels in and 4 out"),
    (lambda: nn.Conv2d(3, 4, 3, stride=0), ShapeError, "stride is one int or two, at least 1, not 0"),
    (lambda: nn.MaxPool2d(3)(ones(2, 3, 2, 2)), ShapeError,
     "max_pool2d: the kernel (3, 3) is larger than the padded image (2, 2): x is (2, 3, 2, 2)"),
    (lambda: nn.AvgPool2d(2, padding=2)(ones(2, 3, 8, 8)), ShapeError,
     "avg_pool2d: a padding of (2, 2) is more than half of the window (2, 2)"),
    (lambda: nn.Conv2d(3, 4, 3, dilation=2)(ones(1, 3, 5, 4)), ShapeError,
     "conv2d: the kernel (5, 5) is larger than the padded image (5, 4): x is (1, 3, 5, 4)"),
    (lambda: nn.Conv1d(3, 4, 9, padding=1)(ones(1, 3, 6)), ShapeError,
     "conv1d: the kernel (9,) is larger than the padded image (8,): x is (1, 3, 6)"),
    (lambda: needle.conv2d(ones(1, 3, 4, 4), ones(3, 3, 2, 5)), ShapeError,
     "conv2d: x has 3 channels, the weight takes 2: x is (1, 3, 4, 4), weight is (3, 3, 2, 5)"),
    (lambda: needle.conv2d(ones(1, 3, 4, 4), ones(3, 3, 3)), ShapeError,
     "conv2d: takes a weight (KH, KW, C / groups, O): weight is (3, 3, 3)"),
    (lambda: needle.conv1d(ones(1, 3, 4), ones(3, 3, 2), ones(3)), ShapeError,
     "conv1d: takes a bias (2,), one for each channel out: bias is (3,)"),
    (lambda: needle.conv2d(ones(1, 3, 4, 4), ones(3, 3, 3, 2), groups=2), ShapeError,
     "conv2d: 2 groups do not divide 3 channels in and 2 out"),
    (lambda: nn.Conv2d(3, 4, 2.5), ShapeError, "kernel_size is one int or two, at least 1, not 2.5"),
    (lambda: nn.MaxPool2d(0), ShapeError, "kernel_size is one int or two, at least 1, not 0"),
    (lambda: nn.MaxPool2d(2, stride=(1, 0)), ShapeError, "stride is one int or two, at least 1, not (1, 0)"),
    (lambda: nn.AdaptiveAvgPool2d((None, 2)), ShapeError, "output_size is one int or two, at least 1, not (None, 2)"),
    (lambda: nn.AdaptiveAvgPool2d(2)(ones(2, 3)), ShapeError, "adaptive_avg_pool2d: takes (N, C, H, W): x is (2, 3)"),
    (lambda: nn.Linear(0, 3), ShapeError, "init: sizes are at least 1, not 0 in and 3 out"),
    (lambda: nn.Conv(0, 3, 3), ShapeError, "init: sizes are at least 1, not 0 in and 27 out"),
    (lambda: nn.GRU(3, 0), ShapeError, "GRUCell: sizes are at least 1, not 3 and 0"),
    (lambda: nn.BatchNorm1d(4)(ones(0, 4)), ShapeError, "BatchNorm1d: the moments of nothing: x is (0, 4)"),
    (lambda: nn.Sequential([nn.Linear(2, 2)]), ArgumentError,
     "Sequential: takes modules, not a list; unpack it with *"),
    (lambda: nn.Sequential(nn.Linear(2, 2), 3), ArgumentError, "Sequential: takes modules, not a int"),
    (lambda: nn.RNN(3, 4)(ones(5, 2, 3), ones(1, 3, 4)), ShapeError,
     "RNN: h0 is (1, 2, 4), not (1, 3, 4): X is (5, 2, 3)"),
    (lambda: nn.RNNCell(3, 4)(ones(2, 3), ones(2, 5)), ShapeError,
     "RNNCell: a state is (2, 4), not (2, 5): X is (2, 3)"),
    (lambda: nn.GRUCell(3, 4)(ones(2, 3), (ones(2, 4), ones(2, 4))), ShapeError,
     "GRUCell: a state is (2, 4), not tuple: X is (2, 3)"),
    (lambda: nn.LSTMCell(3, 4)(ones(2, 3), ones(2, 4)), ArgumentError,
     "LSTMCell: a state is a tuple (h, c), not a Tensor"),
    (lambda: nn.LSTM(3, 4)(ones(5, 2, 3), (ones(1, 2, 4),)), ArgumentError,
     "LSTM: a state is a tuple (h, c), not a tuple"),
    (lambda: nn.MultiHeadAttention()(ones(2, 2, 3, 4), ones(3, 2, 3, 4), ones(3, 2, 3, 4)), ShapeError,
     "attention: batches differ: q is (2, 2, 3, 4), k is (3, 2, 3, 4), v is (3, 2, 3, 4)"),
    (lambda: nn.AttentionLayer(8, 2, 4)(ones(5, 8)), ShapeError,
     "AttentionLayer: takes (B, T, features): q is (5, 8), k is (5, 8), v is (5, 8)"),
    (lambda: nn.Transformer(8, 4, 1)(ones(5, 8)), ShapeError, "Transformer: takes (T, B, 8): x is (5, 8)"),
    (lambda: nn.Transformer(8, 4, 1, batch_first=True)(ones(2, 5, 9)), ShapeError,
     "Transformer: takes (B, T, 8): x is (2, 5, 9)"),
    (lambda: needle.embedding(needle.tensor([0]), ones(3)), ShapeError,
     "embedding: takes a weight (n, d): weight is (3,)"),
    (lambda: nn.MaxPool2d(2)(ones(3, 8, 8)), ShapeError, "max_pool2d: takes (N, C, H, W): x is (3, 8, 8)"),
    (lambda: nn.BatchNorm1d(4)(ones(3, 5)), ShapeError, "BatchNorm1d: takes 4 channels on axis 1: x is (3, 5)"),
    (lambda: nn.BatchNorm2d(4)(ones(3, 4)), ShapeError, "BatchNorm2d: takes 4 channels on axis 1: x is (3, 4)"),
    (lambda: nn.ConvTranspose2d(4, 3, 2, groups=2), ShapeError, "conv: 2 groups do not divide 4 channels in and 3 out"),
    (lambda: nn.ConvTranspose2d(4, 3, 2)(ones(1, 3, 5, 5)), ShapeError,
     "conv_transpose2d: x has 3 channels, the weight takes 4: x is (1, 3, 5, 5), weight is (2, 2, 3, 4)"),
    (lambda: nn.ConvTranspose2d(4, 3, 2, 2, output_padding=2)(ones(1, 4, 5, 5)), ShapeError,
     "conv_transpose2d: an output_padding of (2, 2) is not below the stride (2, 2)"),
    (lambda: nn.ConvTranspose2d(4, 3, 1, padding=1)(ones(1, 4, 2, 2)), ShapeError,
     "conv_transpose2d: a padding of (1, 1) leaves nothing: x is (1, 4, 2, 2), weight is (1, 1, 3, 4)"),
    (lambda: nn.InstanceNorm2d(4)(ones(1, 3, 2, 2)), ShapeError,
     "InstanceNorm2d: takes (N, 4, H, W): x is (1, 3, 2, 2)"),
    (lambda: needle.randint(3, 3, (2,)), ArgumentError,
     "randint: takes ints low < high, less than 2**31 apart, not 3 and 3"),
    (lambda: needle.randint(0.5, (2,)), ArgumentError,
     "randint: takes ints low < high, less than 2**31 apart, not 0 and 0.5"),
    (lambda: needle.multinomial(ones(3), 4), ShapeError,
     "multinomial: 4 draws, none twice from weights of shape (3,)"),
    (lambda: nn.GroupNorm(3, 4), ShapeError, "GroupNorm: 3 groups do not divide 4 channels"),
    (lambda: nn.GroupNorm(2, 4)(ones(2, 3)), ShapeError, "GroupNorm: takes 4 channels on axis 1: x is (2, 3)"),
    (lambda: nn.LayerNorm1d(4)(ones(3, 5)), ShapeError, "LayerNorm1d: the last axes are to be (4,): x is (3, 5)"),
    (lambda: nn.LayerNorm((2, 4))(ones(4)), ShapeError, "LayerNorm: the last axes are to be (2, 4): x is (4,)"),
    (lambda: nn.RMSNorm(4)(ones(3, 5)), ShapeError,
     "rms_norm: takes one parameter for each channel, (5,), not (4,): x is (3, 5)"),
    (lambda: nn.Dropout(1.5), ArgumentError, "Dropout: a probability is from 0 to 1, not 1.5"),
    (lambda: needle.dropout(ones(2), -1), ArgumentError, "dropout: a probability is from 0 to 1, not -1"),
    (lambda: nn.Embedding(4, 2)(needle.tensor([1, 4])), IndexRangeError,
     "embedding: index 4 is out of range for size 4"),
    (lambda: nn.Embedding(4, 2)(needle.tensor([-1.0])), IndexRangeError,
     "embedding: index -1 is out of range for size 4"),
    (lambda: nn.SoftmaxLoss()(ones(2, 3), needle.tensor([0, 3])), IndexRangeError,
     "cross_entropy: index 3 is out of range for size 3"),
    (lambda: nn.NLLLoss()(ones(2, 3), needle.tensor([0, 3])), IndexRangeError,
     "NLLLoss: index 3 is out of range for size 3"),
    (lambda: nn.NLLLoss("none")(ones(2, 3), needle.tensor([-1.0, 0.0])), IndexRangeError,
     "NLLLoss: index -1 is out of range for size 3"),
    (lambda: nn.CrossEntropyLoss(0.1)(ones(2, 3), needle.tensor([0, 3])), IndexRangeError,
     "CrossEntropyLoss: index 3 is out of range for size 3"),
    (lambda: nn.RNNCell(3, 4, nonlinearity="sin"), ArgumentError,
     "RNNCell: the nonlinearity is 'tanh' or 'relu', not 'sin'"),
    (lambda: nn.RNN(3, 4)(ones(2, 5, 2)), ShapeError, "RNNCell: takes (..., 3): X is (2, 5, 2)"),
    (lambda: nn.LSTM(3, 4)(ones(2, 3)), ShapeError, "LSTM: takes (T, B, 3): X is (2, 3)"),
    (lambda: nn.GRU(3, 4)(ones(0, 2, 3)), ShapeError, "GRU: takes (T, B, 3): X is (0, 2, 3)"),
    (lambda: nn.LSTM(3, 4)(ones(2, 5, 3), (ones(1, 5, 4), ones(2, 5, 4))), ShapeError,
     "LSTM: c0 is (1, 5, 4), not (2, 5, 4): X is (2, 5, 3)"),
    (lambda: nn.RNN(3, 4, 0), ArgumentError, "RNN: takes at least one layer"),
    (lambda: nn.MultiHeadAttention()(ones(1, 2, 3, 4), ones(1, 2, 3, 5), ones(1, 2, 3, 5)), ShapeError,
     "attention: q and k share D, k and v share S: q is (1, 2, 3, 4), k is (1, 2, 3, 5), v is (1, 2, 3, 5)"),
    (lambda: nn.Transformer(4, 4, 1, num_head=1, dim_head=2, sequence_len=3)(ones(5, 2, 4)), ShapeError,
     "Transformer: 5 positions, sequence_len is 3"),
    (lambda: nn.GELU("exact")(ones(1)), ArgumentError, "gelu: the approximation is 'none' or 'tanh', not 'exact'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), FAILS, ids=[row[2][:40] for row in FAILS])
@pytest.mark.parametrize("place", [str(device) for device in needle.devices()])
def test_the_error(call: Any, error: type[Exception], text: str, place: str) -> None:
    with needle.use_device(place), pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text


LAYERS: list[tuple[Any, tuple[int, ...], str]] = [
    (lambda: nn.Linear(4, 3), (2, 4), "Linear"),
    (lambda: nn.Conv(3, 4, 3), (2, 3, 8, 8), "Conv"),
    (lambda: nn.Conv1d(3, 4, 3), (2, 3, 8), "Conv1d"),
    (lambda: nn.Conv2d(3, 4, 3), (2, 3, 8, 8), "Conv2d"),
    (lambda: nn.MaxPool2d(2), (2, 3, 8, 8), "MaxPool2d"),
    (lambda: nn.BatchNorm1d(4), (2, 4), "BatchNorm1d"),
    (lambda: nn.BatchNorm2d(3).eval(), (2, 3, 4, 4), "BatchNorm2d"),
    (lambda: nn.LayerNorm1d(4), (2, 4), "LayerNorm1d"),
    (lambda: nn.RMSNorm(4), (2, 4), "RMSNorm"),
    (lambda: nn.GroupNorm(2, 4), (2, 4), "GroupNorm"),
    (lambda: nn.RNN(4, 3), (5, 2, 4), "RNN"),
    (lambda: nn.LSTM(4, 3), (5, 2, 4), "LSTM"),
    (lambda: nn.GRUCell(4, 3), (2, 4), "GRUCell"),
    (lambda: nn.TransformerLayer(4, 1, 4, 4), (2, 5, 4), "LayerNorm1d"),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (2, 2, 2), "Linear"),
    (lambda: nn.Residual(nn.Linear(4, 4)), (2, 4), "Linear"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "name"), LAYERS)
@pytest.mark.parametrize("hooked", [False, True])
def test_a_numpy_array_is_no_tensor(layer: Any, shape: tuple[int, ...], name: str, hooked: bool) -> None:
    model = layer()
    if hooked:
        model.register_forward_hook(lambda module, args, result: None)
    with pytest.raises(DTypeError) as caught:
        model(np.ones(shape, "float32"))
    assert str(caught.value) == f"{name}: takes Tensors, not NumPy arrays; pass needle.Tensor(x)"


def test_labels_in_numpy_are_no_tensor() -> None:
    with pytest.raises(DTypeError, match=r"^NLLLoss: takes Tensors, not NumPy arrays; pass "):
        nn.NLLLoss()(ones(2, 3), np.zeros(2, int))


def test_a_module_s_own_mistake_is_its_own() -> None:
    class Mistaken(nn.Module):
        def forward(self, x: Any) -> Any:
            return self.weigth * needle.tensor(x)

    with pytest.raises(AttributeError, match="'Mistaken' object has no attribute 'weigth'"):
        Mistaken()(np.ones(3))

"""What does not fit is told in one line, with the clashing numbers first."""

from typing import Any

import pytest

import needle
from needle import nn
from needle.errors import ArgumentError, IndexRangeError, ShapeError

ones = needle.ones

FAILS: list[tuple[Any, type[Exception], str]] = [
    (lambda: nn.Conv(3, 4, 3)(ones(2, 4, 8, 8)), ShapeError,
     "Conv: takes (N, C, H, W) with 3 channels: x is (2, 4, 8, 8)"),
    (lambda: nn.Conv2d(3, 4, 3)(ones(3, 8, 8)), ShapeError,
     "Conv2d: takes (N, C, H, W) with 3 channels: x is (3, 8, 8)"),
    (lambda: nn.Conv1d(3, 4, 3)(ones(2, 4, 8)), ShapeError, "Conv1d: takes (N, C, L) with 3 channels: x is (2, 4, 8)"),
    (lambda: nn.Conv2d(3, 4, 5, padding=1)(ones(2, 3, 2, 8)), ShapeError,
     "conv: the kernel (5, 5) is larger than the padded image (4, 10): image is (2, 2, 8, 3)"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ShapeError, "conv: 2 groups do not divide 3 channels in and 4 out"),
    (lambda: nn.Conv2d(3, 4, 3, stride=0), ShapeError, "stride is one int or two, at least 1, not 0"),
    (lambda: nn.MaxPool2d(3)(ones(2, 3, 2, 2)), ShapeError,
     "pool: the kernel (3, 3) is larger than the padded image (2, 2): image is (2, 2, 2, 3)"),
    (lambda: nn.AvgPool2d(2, padding=2)(ones(2, 3, 8, 8)), ShapeError,
     "pool: a padding of (2, 2) is more than half of the window (2, 2)"),
    (lambda: nn.AdaptiveAvgPool2d(3)(ones(2, 3, 8, 9)), ShapeError,
     "adaptive_avg_pool2d: (3, 3) does not divide (8, 9) into equal windows: x is (2, 3, 8, 9)"),
    (lambda: nn.MaxPool2d(2)(ones(3, 8, 8)), ShapeError, "max_pool2d: takes (N, C, H, W): x is (3, 8, 8)"),
    (lambda: nn.BatchNorm1d(4)(ones(3, 5)), ShapeError, "BatchNorm1d: takes 4 channels on axis 1: x is (3, 5)"),
    (lambda: nn.BatchNorm2d(4)(ones(3, 4)), ShapeError, "BatchNorm2d: takes 4 channels on axis 1: x is (3, 4)"),
    (lambda: nn.GroupNorm(3, 4), ShapeError, "GroupNorm: 3 groups do not divide 4 channels"),
    (lambda: nn.GroupNorm(2, 4)(ones(2, 3)), ShapeError, "GroupNorm: takes 4 channels on axis 1: x is (2, 3)"),
    (lambda: nn.LayerNorm1d(4)(ones(3, 5)), ShapeError, "LayerNorm1d: the last axes are to be (4,): x is (3, 5)"),
    (lambda: nn.LayerNorm((2, 4))(ones(4)), ShapeError, "LayerNorm: the last axes are to be (2, 4): x is (4,)"),
    (lambda: nn.RMSNorm(4)(ones(3, 5)), ShapeError,
     "rms_norm: takes one parameter for each channel, (5,), not (4,): x is (3, 5)"),
    (lambda: nn.Dropout(1.5), ArgumentError, "Dropout: a probability is from 0 to 1, not 1.5"),
    (lambda: needle.dropout(ones(2), -1), ArgumentError, "dropout: a probability is from 0 to 1, not -1"),
    (lambda: nn.Embedding(4, 2)(needle.tensor([1, 4])), IndexRangeError,
     "gather: index 4 is out of range for size 4"),
    (lambda: nn.Embedding(4, 2)(needle.tensor([-1.0])), IndexRangeError,
     "gather: index -1 is out of range for size 4"),
    (lambda: nn.SoftmaxLoss()(ones(2, 3), needle.tensor([0, 3])), IndexRangeError,
     "cross_entropy: index 3 is out of range for size 3"),
    (lambda: nn.RNNCell(3, 4, nonlinearity="sin"), ArgumentError,
     "RNNCell: the nonlinearity is 'tanh' or 'relu', not 'sin'"),
    (lambda: nn.RNN(3, 4)(ones(2, 5, 2)), ShapeError, "RNNCell: takes (..., 3): X is (2, 5, 2)"),
    (lambda: nn.LSTM(3, 4)(ones(2, 3)), ShapeError, "LSTM: takes (T, B, 3): X is (2, 3)"),
    (lambda: nn.GRU(3, 4)(ones(0, 2, 3)), ShapeError, "GRU: takes (T, B, 3): X is (0, 2, 3)"),
    (lambda: nn.LSTM(3, 4)(ones(2, 5, 3), (ones(1, 5, 4), ones(2, 5, 4))), ShapeError,
     "LSTM: c0 is (1, B, 4), not (2, 5, 4)"),
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

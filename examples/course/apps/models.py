"""ResNet9 for CIFAR-10, and a language model of words."""

from typing import Any

import needle as ndl
from needle import nn


class ConvBN(nn.Module):
    """Convolution, BatchNorm2d, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, device: Any = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv(in_channels, out_channels, kernel_size, stride, device=device, dtype=dtype),
            nn.BatchNorm2d(out_channels, device=device, dtype=dtype),
            nn.ReLU(),
        )

    def forward(self, x: ndl.Tensor) -> ndl.Tensor:
        return self.layers(x)


class ResNet9(nn.Module):
    """(N, 3, 32, 32) -> (N, 10): 431,946 parameters."""

    def __init__(self, device: Any = None, dtype: Any = "float32") -> None:
        super().__init__()

        def conv(*sizes: int) -> nn.Module:
            return ConvBN(*sizes, device=device, dtype=dtype)

        def residual(width: int) -> nn.Module:
            return nn.Residual(nn.Sequential(conv(width, width, 3, 1), conv(width, width, 3, 1)))

        self.layers = nn.Sequential(
            conv(3, 16, 7, 4),
            conv(16, 32, 3, 2),
            residual(32),
            conv(32, 64, 3, 2),
            conv(64, 128, 3, 2),
            residual(128),
            nn.Flatten(),
            nn.Linear(128, 128, device=device, dtype=dtype),
            nn.ReLU(),
            nn.Linear(128, 10, device=device, dtype=dtype),
        )

    def forward(self, x: ndl.Tensor) -> ndl.Tensor:
        return self.layers(x)


class LanguageModel(nn.Module):
    """Numbers of words (T, B) -> logits of the words that follow (T * B, output_size), and the state after them.

    `seq_model` is "rnn", "lstm" or "transformer".
    """

    def __init__(
        self, embedding_size: int, output_size: int, hidden_size: int, num_layers: int = 1, seq_model: str = "rnn",
        seq_len: int = 40, device: Any = None, dtype: Any = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        options = {"device": device, "dtype": dtype}
        self.embedding = nn.Embedding(output_size, embedding_size, **options)
        if seq_model == "transformer":
            self.seq_model = nn.Transformer(embedding_size, hidden_size, num_layers, sequence_len=seq_len, **options)
            hidden_size = embedding_size
        elif seq_model in ("rnn", "lstm"):
            cells = nn.RNN if seq_model == "rnn" else nn.LSTM
            self.seq_model = cells(embedding_size, hidden_size, num_layers, **options)
        else:
            raise ValueError(f"LanguageModel: seq_model is 'rnn', 'lstm' or 'transformer', not {seq_model!r}")
        self.linear = nn.Linear(hidden_size, output_size, **options)

    def forward(self, x: ndl.Tensor, h: Any = None) -> tuple[ndl.Tensor, Any]:
        time, batch = x.shape
        hidden, h = self.seq_model(self.embedding(x), h)
        return self.linear(hidden.reshape((time * batch, hidden.shape[2]))), h

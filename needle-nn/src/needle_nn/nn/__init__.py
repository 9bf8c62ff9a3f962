"""Layers, losses and checkpoints: reached as `needle.nn`."""

from needle_nn.nn import checkpoint
from needle_nn.nn.activation import (
    ELU,
    GELU,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from needle_nn.nn.attention import AttentionLayer, MultiHeadAttention
from needle_nn.nn.container import Flatten, Identity, Residual, Sequential
from needle_nn.nn.conv import Conv, Conv1d, Conv2d, ConvTranspose2d
from needle_nn.nn.dropout import Dropout, Dropout2d
from needle_nn.nn.embedding import Embedding
from needle_nn.nn.linear import Linear
from needle_nn.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SoftmaxLoss,
)
from needle_nn.nn.module import Module, Parameter
from needle_nn.nn.norm import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, LayerNorm1d, RMSNorm
from needle_nn.nn.overview import summary
from needle_nn.nn.pool import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool, MaxPool2d, Upsample
from needle_nn.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from needle_nn.nn.transformer import Transformer, TransformerLayer

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAvgPool2d",
    "AttentionLayer",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GlobalAvgPool",
    "GroupNorm",
    "Hardswish",
    "HuberLoss",
    "Identity",
    "InstanceNorm2d",
    "KLDivLoss",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "LayerNorm1d",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Mish",
    "Module",
    "MultiHeadAttention",
    "NLLLoss",
    "Parameter",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxLoss",
    "Softplus",
    "Tanh",
    "Transformer",
    "TransformerLayer",
    "Upsample",
    "checkpoint",
    "summary",
]

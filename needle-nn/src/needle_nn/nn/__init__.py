"""Layers, losses and checkpoints: reached as `needle.nn`."""

from needle_nn.nn import checkpoint
from needle_nn.nn.activation import ReLU, Sigmoid, Tanh
from needle_nn.nn.container import Flatten, Identity, Sequential
from needle_nn.nn.linear import Linear
from needle_nn.nn.losses import SoftmaxLoss
from needle_nn.nn.module import Module, Parameter

__all__ = [
    "Flatten",
    "Identity",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SoftmaxLoss",
    "Tanh",
    "checkpoint",
]

"""Optimizers and schedules: reached as `needle.optim`."""

from needle_nn.optim.adam import Adam, AdamW
from needle_nn.optim.optimizer import Optimizer
from needle_nn.optim.schedule import cosine
from needle_nn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "cosine"]

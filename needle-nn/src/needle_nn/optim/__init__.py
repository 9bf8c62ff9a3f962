"""Optimizers and schedules: reached as `needle.optim`."""

from needle_nn.optim.adagrad import Adagrad
from needle_nn.optim.adam import Adam, AdamW
from needle_nn.optim.clip import clip_grad_norm, clip_grad_value
from needle_nn.optim.lion import Lion
from needle_nn.optim.optimizer import Optimizer
from needle_nn.optim.rmsprop import RMSProp
from needle_nn.optim.scaler import GradScaler
from needle_nn.optim.schedule import Schedule, cosine, one_cycle, step_decay, warm_up
from needle_nn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradScaler",
    "Lion",
    "Optimizer",
    "RMSProp",
    "Schedule",
    "clip_grad_norm",
    "clip_grad_value",
    "cosine",
    "one_cycle",
    "step_decay",
    "warm_up",
]

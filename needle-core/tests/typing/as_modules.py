"""A user's program that imports the forwarding modules in every way there is, for `check_forwarding.py`."""

from typing import assert_type

import needle.nn as layers
import needle.optim
import needle_nn.data
import needle_nn.nn
from needle import data, nn
from needle.data import *  # noqa: F403
from needle.nn import Linear
from needle.optim import SGD

layer = nn.Linear(64, 10)
optimizer = needle.optim.SGD(layer.parameters(), lr=0.1)
dataset = data.DigitsDataset(train=False)

assert_type(layer, Linear)
assert_type(layer, layers.Linear)
assert_type(layer, needle_nn.nn.Linear)
assert_type(optimizer, SGD)
assert_type(dataset, DigitsDataset)  # noqa: F405
assert_type(dataset, needle_nn.data.DigitsDataset)

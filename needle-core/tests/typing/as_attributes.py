"""A user's program that reaches needle-nn through `import needle` alone, for `check_forwarding.py`.

A line with an ignore comment is wrong on purpose: where a checker sees only Any, the comment is unused, an error.
"""

from typing import TYPE_CHECKING, assert_type

import needle
import needle_nn.data
import needle_nn.nn
import needle_nn.optim

layer = needle.nn.Linear(64, 10)
model = needle.nn.Sequential(needle.nn.Flatten(), layer)
optimizer = needle.optim.SGD(model.parameters(), lr=0.1)
dataset = needle.data.DigitsDataset(train=False)

assert_type(layer, needle_nn.nn.Linear)
assert_type(model, needle_nn.nn.Sequential)
assert_type(optimizer, needle_nn.optim.SGD)
assert_type(dataset, needle_nn.data.DigitsDataset)
assert_type(needle.ones(2, 3) @ needle.ones(3, 4), needle.Tensor)

if TYPE_CHECKING:
    absent_nn = needle.nn.NoSuchLayer  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    absent_optim = needle.optim.NoSuchOptimizer  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    absent_data = needle.data.NoSuchDataset  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

assert layer is model[1]

"""The script of a failure: it fails again by itself, and in the smallest way."""

import re

import numpy as np
import pytest
from conftest import Here

from needle_conformance.smaller import written

_SHOWN = r"shrunk to\n(?:#.*\n)+"


@pytest.mark.parametrize(("device", "row", "operands"), [
    ("kernel_ignores_offset", "kernels/kernel/exp[float32-offset]", ["written: float32 (1, 1, 1)", "offset 7"]),
    ("kernel_writes_past_the_end", "kernels/kernel/add[float32-permuted]", ["(1, 1, 1)"]),
    ("max_loses_nan", "kernels/kernel/max[float32-special]", ["written: float32 (1,)", "read: float32 (1, 2)"]),
    ("sum_skips_a_tail", "kernels/kernel/sum[float32-tails]", ["written: float32 (1,)", "read: float32 (1, 9)"]),
    ("in_place_reads_what_it_wrote", "kernels/kernel/sub[int32-in_place]", ["written: int32 (1, 1, 1)"]),
    ("copy_swaps_strides", "copy/copy/copy[float32-permuted_to_compact]", ["written: float32 (1, 2"]),
    ("sine", "ops/values/exp[float32-permuted]", ["operand 0: float32 (1, 1, 1), strides (1, 1, 1), offset 0"]),
])  # fmt: skip
def test_smallest(device: str, row: str, operands: list[str], here: Here) -> None:
    [failed] = here(device, row).rows
    shown = re.search(_SHOWN, failed.script)
    assert shown, failed.script
    assert all(text in shown[0] for text in operands), failed.script
    with pytest.raises(AssertionError) as caught:
        exec(failed.script, {})
    assert str(caught.value)


@pytest.mark.parametrize("values", [
    np.array(1.5, np.float32), np.array([np.nan, np.inf, -np.inf, -0.0]), np.zeros((0, 3), np.int32),
    np.arange(6).reshape(2, 3), np.array([True, False]), np.array([1e-45, 3.4e38], np.float32),
], ids=str)  # fmt: skip
def test_written(values: np.ndarray) -> None:
    """An array as Python is the same array."""
    again = eval(written(values), {"np": np})
    assert (again.dtype, again.shape) == (values.dtype, values.shape)
    assert again.tobytes() == values.tobytes()

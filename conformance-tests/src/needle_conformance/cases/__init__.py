"""The rows: one for each function of Needle, and more where its operands' shapes make a difference."""

from needle.device import Device
from needle.dtype import as_dtype
from needle.registry import device as as_device
from needle_conformance.case import Case
from needle_conformance.cases import (
    arrangement,
    conv,
    creation,
    elementwise,
    indexing,
    matmul,
    movement,
    norm,
    pairwise,
    recurrent,
    reduction,
    scalar,
    softmax,
)
from needle_conformance.trial import Trial

CASES: list[Case] = [
    *elementwise.CASES,
    *pairwise.CASES,
    *scalar.CASES,
    *reduction.CASES,
    *softmax.CASES,
    *movement.CASES,
    *indexing.CASES,
    *matmul.CASES,
    *conv.CASES,
    *norm.CASES,
    *recurrent.CASES,
    *arrangement.CASES,
    *creation.CASES,
]

BY_NAME: dict[str, Case] = {case.name: case for case in CASES}


def trial(name: str, device: Device | str, dtype: str, layout: str) -> Trial:
    """One row, by its name, on a device: what a failure's script runs."""
    return Trial(BY_NAME[name], as_device(device), as_dtype(dtype), layout)

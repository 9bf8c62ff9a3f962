"""The rows about the protocol's primitives: every kind of each, and every optional one."""

from collections.abc import Iterator

from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import as_dtype
from needle.registry import device as as_device
from needle_conformance.kernel import Kernel, KernelTrial
from needle_conformance.kernels import (
    contraction,
    copy,
    elementwise,
    expression,
    indexing,
    layers,
    optimizer,
    random,
    rows,
)

KERNELS: list[Kernel] = [
    *elementwise.KERNELS,
    *expression.KERNELS,
    *rows.KERNELS,
    *contraction.KERNELS,
    *indexing.KERNELS,
    *layers.KERNELS,
    *optimizer.KERNELS,
    *random.KERNELS,
]

BY_NAME: dict[str, Kernel] = {kernel.name: kernel for kernel in (*KERNELS, copy.COPY)}

# Layouts that some dtypes have no call of: a result of another type cannot be an operand.
_NOT_ALWAYS = ("in_place", "special")


def trial(name: str, device: Device | str, dtype: str, layout: str) -> KernelTrial:
    """One row, by its name, on a device: what a failure's script runs."""
    return KernelTrial(BY_NAME[name], as_device(device), as_dtype(dtype), layout)


def trials(device: Device) -> Iterator[KernelTrial]:
    """Every row in every dtype that the device has, and in every layout."""
    available = dispatcher(device).backend.dtypes
    for kernel in (k for k in KERNELS if k.needs is None or k.needs in available):
        for dtype in (d for d in kernel.dtypes if d in available):
            for layout in kernel.layouts:
                one = KernelTrial(kernel, device, dtype, layout)
                if layout not in _NOT_ALWAYS or any(True for _ in kernel.calls(one)):
                    yield one

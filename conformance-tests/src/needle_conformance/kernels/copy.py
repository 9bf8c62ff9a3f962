"""Copies between views of every layout: what all staging of strided operands rests on."""

from collections.abc import Iterator

import numpy as np

from needle.device import Device
from needle.dispatch import dispatcher
from needle.dtype import DTYPES
from needle.shape import Shape
from needle.testing import LAYOUTS
from needle_conformance.inputs import anything, edges
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand

_TARGETS = [name for name in LAYOUTS if name != "broadcast"]
_OTHERS = ("scalar", "empty", "one", "long", "large", "flat", "deep", "special")
_SHAPES: dict[str, list[Shape]] = {
    "scalar": [()], "empty": [(0,), (3, 0, 2)], "one": [(1, 1, 1)], "long": [(n,) for n in (1, 2, 3, 7, 8, 33, 1000)],
    "large": [(211, 503)], "flat": [(3, 7001), (7001, 3)], "deep": [(2, 1, 3, 2, 1, 2, 3, 2)],
}  # fmt: skip


def _copy(trial: KernelTrial) -> Iterator[Arguments]:
    """From every layout to every other; large ones through a transpose."""
    source, _, target = trial.layout.partition("_to_")
    rng = trial.rng()
    if trial.layout == "special":
        values = edges(trial.dtype)
        yield [Operand(values != values, trial.dtype, "offset", True), Operand(values, trial.dtype)]
        return
    for shape in _SHAPES.get(trial.layout, [(3, 4, 5)]):
        values = anything().draw(rng, shape, trial.dtype)
        values = np.broadcast_to(values[:1], shape) if source == "broadcast" else values
        dst = Operand(np.ones(shape), trial.dtype, target or "offset", written=True)
        yield [dst, Operand(values, trial.dtype, source if target else "permuted")]


_LAYOUTS = [*(f"{source}_to_{target}" for source in LAYOUTS for target in _TARGETS), *_OTHERS]

COPY = Kernel("copy", "copy", _copy, DTYPES, _LAYOUTS, exact=True, signed_zero=True)


def trials(device: Device) -> Iterator[KernelTrial]:
    for dtype in (d for d in DTYPES if d in dispatcher(device).backend.dtypes):
        for layout in COPY.layouts:
            yield KernelTrial(COPY, device, dtype, layout)

"""The elementwise primitives: unary, binary, binary_scalar, where, cast, copy of one element to many."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from needle.dtype import DTYPES, DType, as_dtype, bool_
from needle.errors import DTypeError
from needle.kinds import Binary, Unary
from needle.result_types import binary_types, unary_types
from needle.shape import Shape
from needle_conformance.cases import BY_NAME
from needle_conformance.inputs import Input, edges
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand

VIEWS = ("compact", "offset", "padded", "permuted", "sliced", "flipped", "broadcast")
TAILS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127, 130)  # around the widths of vectors
LARGE = 100_003

LAYOUTS = (*VIEWS, "one_element", "in_place", "empty", "scalar", "tails", "large", "special")


def shapes(layout: str) -> list[Shape]:
    """The shapes that a layout asks for."""
    many: dict[str, list[Shape]] = {
        "tails": [(n,) for n in TAILS], "large": [(LARGE,)], "empty": [(0,), (3, 0, 2)], "scalar": [()],
    }  # fmt: skip
    return many.get(layout, [(3, 4, 5)])


def memory(layout: str) -> str:
    """How operands lie in memory."""
    return layout if layout in VIEWS else "offset" if layout == "tails" else "compact"


def result(shape: Shape, dtype: DType, layout: str) -> Operand:
    """A result of old ones, with elements around it that must not be touched."""
    return Operand(np.ones(shape), dtype, "compact" if layout in ("compact", "large") else "offset", written=True)


def drawn(trial: KernelTrial, inputs: list[Input]) -> Iterator[list[Any]]:
    """The values of the operands, once for each shape."""
    rng = trial.rng()
    if trial.layout == "special":
        values = [edges(trial.dtype if x.free else as_dtype(x.dtype)) for x in inputs]
        yield [v.reshape(-1) for v in np.meshgrid(*values, indexing="ij")]
        return
    for shape in shapes(trial.layout):
        yield [x.draw(rng, shape, trial.dtype if x.free else as_dtype(x.dtype)) for x in inputs]


def calls(trial: KernelTrial, inputs: list[Input], out: DType) -> Iterator[tuple[Operand, list[Operand]]]:
    """The result and the operands of each call: all of one shape, or one element, or the result in an operand."""
    for values in drawn(trial, inputs):
        xs = [
            Operand(_repeated(v, trial.layout), trial.dtype if x.free else as_dtype(x.dtype), memory(trial.layout))
            for v, x in zip(values, inputs, strict=True)
        ]
        shape = np.shape(values[0])
        if trial.layout == "one_element":
            for i in range(len(xs)):
                some = [_first(x) if i == j else x for j, x in enumerate(xs)]
                yield result(shape, out, trial.layout), some
            yield result(shape, out, trial.layout), [_first(x) for x in xs]
        elif trial.layout == "in_place":
            for i, x in enumerate(xs):
                if x.dtype is out:
                    both = Operand(x.values, x.dtype, "offset", written=True)
                    yield both, [both if i == j else other for j, other in enumerate(xs)]
        else:
            yield result(shape, out, trial.layout), xs


def _first(x: Operand) -> Operand:
    """One element, of rank 1, at an offset."""
    return Operand(x.values.reshape(-1)[:1], x.dtype, "offset")


def _repeated(values: Any, layout: str) -> Any:
    return np.broadcast_to(values[:1], values.shape) if layout == "broadcast" and values.ndim else values


def _unary(kind: Unary) -> Kernel:
    row = BY_NAME[kind.op]
    takes = [d for d in DTYPES if _takes(kind, d)]

    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for dst, xs in calls(trial, list(row.inputs), unary_types(kind, trial.dtype)[1]):
            yield [kind, dst, *xs]

    return Kernel(kind.op, "unary", build, takes, LAYOUTS, signed_zero=row.signed_zero)


def _takes(kind: Unary, dtype: DType) -> bool:
    """Whether core calls the kernel with this dtype: rounding an int, for one, is no work at all."""
    if Unary.FLOOR <= kind <= Unary.TRUNC and not dtype.is_float:
        return False
    try:
        return unary_types(kind, dtype)[0] is dtype
    except DTypeError:
        return False


def _takes_two(kind: Binary, dtype: DType) -> bool:
    if kind in (Binary.SHIFT_LEFT, Binary.SHIFT_RIGHT) and dtype is bool_:
        return False
    try:
        return binary_types(kind, dtype, dtype)[0] is dtype
    except DTypeError:
        return False


def _binary(kind: Binary) -> Kernel:
    row = BY_NAME[kind.op]

    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for dst, xs in calls(trial, list(row.inputs), binary_types(kind, trial.dtype, trial.dtype)[1]):
            yield [kind, dst, *xs]

    takes = [d for d in DTYPES if _takes_two(kind, d)]
    return Kernel(kind.op, "binary", build, takes, LAYOUTS, signed_zero=row.signed_zero)


def _binary_scalar(kind: Binary) -> Kernel:
    """With a number on either side, which every dtype holds exactly; of edge values also a root."""
    row = BY_NAME[kind.op]

    def build(trial: KernelTrial) -> Iterator[Arguments]:
        number: float | bool = True if trial.dtype is bool_ else 3 if trial.dtype.category == "int" else 1.5
        more = [0.5] if trial.layout == "special" and trial.dtype.is_float else []
        for scalar, swapped in product([number, *more], (False, True)):
            x = row.inputs[1 if swapped else 0]
            for dst, xs in calls(trial, [x], binary_types(kind, trial.dtype, trial.dtype)[1]):
                yield [kind, dst, *xs, scalar, swapped]

    takes = [d for d in DTYPES if _takes_two(kind, d)]
    return Kernel(f"{kind.op}_scalar", "binary_scalar", build, takes, LAYOUTS, signed_zero=row.signed_zero)


def _where(trial: KernelTrial) -> Iterator[Arguments]:
    inputs = list(BY_NAME["where"].inputs)
    for dst, xs in calls(trial, inputs, trial.dtype):
        yield [dst, *xs]


def _near_ties(dtype: DType) -> Any:
    """float64 values so little off the middle between two of a narrower type that float32 does not see it."""
    bits = {"float16": 10, "bfloat16": 7, "float32": 23}[dtype]
    middle = np.array([1 + n * 0.5**bits + 0.5 ** (bits + 1) for n in range(8)])
    values = [sign * middle * (1 + off) for sign in (1, -1) for off in (0, 2.0**-40, -(2.0**-40))]
    return np.concatenate(values)


def _cast(target: DType) -> Kernel:
    """To one dtype from every other; a float out of an int's range gives no certain int, so none is tried."""

    def build(trial: KernelTrial) -> Iterator[Arguments]:
        if trial.layout == "special" and trial.dtype.is_float and target.category == "int":
            return
        for dst, xs in calls(trial, [Input(low=0, high=100, categories=("float", "int", "bool"))], target):
            yield [dst, *xs]

    layouts = [name for name in LAYOUTS if name != "in_place"]
    takes = [d for d in DTYPES if d is not target]
    return Kernel(f"cast_to_{target}", "cast", build, takes, layouts, str(target), exact=True)


def _narrow(target: DType) -> Kernel:
    """From float64, rounded once: by way of float32 these values would become ties, and half of them go wrong."""

    def build(trial: KernelTrial) -> Iterator[Arguments]:
        values = _near_ties(target)
        yield [result(values.shape, target, trial.layout), Operand(values, trial.dtype, memory(trial.layout))]

    name = f"cast_near_ties_to_{target}"
    return Kernel(name, "cast", build, [as_dtype("float64")], ("compact", "offset"), str(target), exact=True)


KERNELS = [
    *(_unary(kind) for kind in Unary),
    *(_binary(kind) for kind in Binary),
    *(_binary_scalar(kind) for kind in Binary),
    Kernel("where", "where", _where, DTYPES, [name for name in LAYOUTS if name != "special"]),
    *(_cast(target) for target in DTYPES),
    *(_narrow(as_dtype(name)) for name in ("float16", "bfloat16", "float32")),
]

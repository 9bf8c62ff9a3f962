"""Expressions: several elementwise functions that `elementwise` computes in one pass, or with a reduction behind."""

from collections.abc import Callable, Iterator
from typing import Any

from needle.dtype import DType, bool_, float32, float64, int32, int64
from needle.expression import Expression, Step
from needle.kinds import Binary, Reduce, Unary
from needle_conformance.inputs import Input
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand
from needle_conformance.kernels.elementwise import calls, result

_LAYOUTS = ("compact", "offset", "padded", "permuted", "sliced", "flipped", "broadcast", "one_element", "scalar",
            "tails", "large")  # fmt: skip
_NUMBERS = (float32, float64, int32, int64)
_FLOATS = (float32, float64)

Build = Callable[[DType], tuple[Expression, tuple[float, ...]]]


class _Steps:
    """Writes an expression of two operands of one dtype: values by number, the operands 0 and 1."""

    def __init__(self, dtype: DType) -> None:
        self.steps: list[Step] = []
        self.scalars: list[float] = []
        self.dtypes = [dtype, dtype]

    def add(self, op: str, kind: Any, result: DType, *inputs: int, **options: Any) -> int:
        self.steps.append(Step(op, kind, self.dtypes[inputs[-1]], result, inputs, **options))
        self.dtypes.append(result)
        return len(self.dtypes) - 1

    def unary(self, kind: Unary, x: int) -> int:
        return self.add("unary", kind, self.dtypes[x], x)

    def binary(self, kind: Binary, a: int, b: int, result: DType | None = None) -> int:
        return self.add("binary", kind, result or self.dtypes[a], a, b)

    def scalar(self, kind: Binary, x: int, number: float, swapped: bool = False) -> int:
        self.scalars.append(number if self.dtypes[x].is_float else int(number))
        return self.add("binary_scalar", kind, self.dtypes[x], x, scalar=len(self.scalars) - 1, swapped=swapped)

    def cast(self, x: int, dtype: DType) -> int:
        return self.add("cast", None, dtype, x)

    def where(self, condition: int, a: int, b: int) -> int:
        return self.add("where", None, self.dtypes[a], condition, a, b)

    def giving(self, *results: int) -> tuple[Expression, tuple[float, ...]]:
        return Expression(2, tuple(self.steps), results), tuple(self.scalars)


def _chain(dtype: DType) -> tuple[Expression, tuple[float, ...]]:
    """relu(a * 2 + b), and 3 minus that."""
    s = _Steps(dtype)
    total = s.unary(Unary.RELU, s.binary(Binary.ADD, s.scalar(Binary.MUL, 0, 2), 1))
    return s.giving(s.scalar(Binary.SUB, total, 3, swapped=True))


def _two_results(dtype: DType) -> tuple[Expression, tuple[float, ...]]:
    """(a + b)**2, and (a + b) - b, where the first result is read again."""
    s = _Steps(dtype)
    total = s.binary(Binary.ADD, 0, 1)
    square = s.binary(Binary.MUL, total, total)
    return s.giving(square, s.binary(Binary.SUB, s.binary(Binary.SUB, square, 1), square))


def _choice(dtype: DType) -> tuple[Expression, tuple[float, ...]]:
    """a where not (a > b and b != a) else -b; and the condition as a number."""
    s = _Steps(dtype)
    both = s.binary(Binary.LOGICAL_AND, s.binary(Binary.GREATER, 0, 1, bool_), s.binary(Binary.NOT_EQUAL, 1, 0, bool_))
    mask = s.unary(Unary.LOGICAL_NOT, both)
    return s.giving(s.where(mask, 0, s.unary(Unary.NEG, 1)), mask, s.cast(mask, dtype))


def _casts(dtype: DType) -> tuple[Expression, tuple[float, ...]]:
    """The int below a, times 3, as a float minus b; whether that is not 0."""
    s = _Steps(dtype)
    whole = s.scalar(Binary.MUL, s.cast(s.unary(Unary.FLOOR, 0), int32), 3)
    rest = s.binary(Binary.SUB, s.cast(whole, dtype), 1)
    return s.giving(rest, s.cast(rest, bool_), whole)


def _long(dtype: DType) -> tuple[Expression, tuple[float, ...]]:
    """Twenty steps, in which a value is read long after it was made."""
    s = _Steps(dtype)
    early = s.binary(Binary.MAXIMUM, 0, 1)
    x = s.scalar(Binary.MINIMUM, early, 1)
    for i in range(6):
        x = s.scalar(Binary.ADD, s.binary(Binary.SUB, x, i % 2), i)
        x = s.scalar(Binary.MINIMUM, x, 4)
    return s.giving(s.binary(Binary.ADD, x, early))


def _trials(build: Build) -> Callable[[KernelTrial], Iterator[Arguments]]:
    def arguments(trial: KernelTrial) -> Iterator[Arguments]:
        expression, scalars = build(trial.dtype)
        dtypes = [expression.steps[number - 2].result for number in expression.results]
        for dst, xs in calls(trial, [Input(categories=("float", "int"))] * 2, dtypes[0]):
            shape = dst.values.shape
            more: list[Operand] = [result(shape, dtype, trial.layout) for dtype in dtypes[1:]]
            yield [[dst, *more], xs, expression, scalars]

    return arguments


def _sums(trial: KernelTrial) -> Iterator[Arguments]:
    """The sums, and the largest, of rows of |a * b - a|: those along the last axis, and all of it as one row."""
    s = _Steps(trial.dtype)
    expression, scalars = s.giving(s.unary(Unary.ABS, s.binary(Binary.SUB, s.binary(Binary.MUL, 0, 1), 0)))
    for dst, xs in calls(trial, [Input(categories=("float",))] * 2, trial.dtype):
        shape = dst.values.shape
        if 0 in shape:
            continue
        for rows in {dst.values.size // (shape or (1,))[-1], 1}:
            for kind in (Reduce.SUM, Reduce.MAX):
                out = result((rows,), trial.dtype, trial.layout)
                yield [out, xs, expression, scalars, kind, rows, dst.values.size // rows]


_ATOL = {"float32": 1e-5, "float64": 1e-13}  # differences of near numbers


def _kernel(name: str, build: Build, dtypes: tuple[DType, ...]) -> Kernel:
    return Kernel(name, "elementwise", _trials(build), dtypes, _LAYOUTS, atol=_ATOL)


KERNELS = [
    _kernel("fused_chain", _chain, _NUMBERS),
    _kernel("fused_two_results", _two_results, _NUMBERS),
    _kernel("fused_choice", _choice, _NUMBERS),
    _kernel("fused_casts", _casts, _FLOATS),
    _kernel("fused_long", _long, _NUMBERS),
    Kernel("fused_rows", "elementwise_reduce", _sums, _FLOATS, _LAYOUTS, atol={"float32": 1e-4, "float64": 1e-12}),
]

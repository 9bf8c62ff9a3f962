"""one_pass: a formula of elementwise functions, computed in one pass over memory where the device can.

A formula is a plain function over what NDArray and Tensor share: operators and elementwise methods, with numbers that
never change. On the first call it is run on `Value`s, which write down the steps as an Expression; from then on the
device computes all steps together. A device without `elementwise`, a capture, which fuses by itself, and Tensors, which
record, run the formula as it stands. reduced_pass: the same, where only what the result reduces to is wanted.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from needle import dispatch, tracing
from needle.device import Device
from needle.dtype import DType, float32, float64
from needle.expression import Expression, Step
from needle.kinds import Binary, Reduce, Unary
from needle.layout import storage_order
from needle.ndarray import NDArray
from needle.operators import Operators
from needle.reductions import reduction_plan
from needle.shape import Shape, reduced_shape

Formula = Callable[..., tuple[Any, ...]]


def one_pass(formula: Formula, *arrays: Any, into: Sequence[NDArray] | None = None) -> tuple[Any, ...]:
    """The results of a formula; None among the arrays stands for one that is left out. All have one shape and type.

    `into` are contiguous arrays that the results are written to.
    """
    given = [x for x in arrays if x is not None]
    first = given[0]
    eager = isinstance(first, NDArray) and tracing.active is None and first.size > 0
    if not eager or not _fuses(first.device, first.dtype):
        results = formula(*arrays)
        if into is None:
            return results
        for out, result in zip(into, results, strict=True):
            out.assign(result)
        return tuple(into)
    if into is None and (order := storage_order(first.layout)) is not None:
        results = one_pass(formula, *[None if x is None else x.permute(order[0]) for x in arrays])
        return tuple([result.permute(order[1]) for result in results])
    expression, scalars = _written(formula, tuple([x is not None for x in arrays]), first.dtype)
    dsts = list(into) if into is not None else [first.new(first.shape, first.dtype) for _ in expression.results]
    dispatch.run(first.device, "elementwise", dsts, given, expression, scalars)
    return tuple(dsts)


def update(formula: Formula, target: NDArray, *others: NDArray) -> None:
    """target <- formula(target, *others), in place."""
    alike = all(x.dtype is target.dtype and x.device is target.device for x in others)
    if alike and "elementwise" in dispatch.dispatcher(target.device).backend.in_place:
        one_pass(formula, target, *others, into=[target])
    else:
        target.assign(formula(target, *others)[0])


def reduced_pass(kind: Reduce, axes: Shape, formula: Formula, x: NDArray, *others: NDArray) -> NDArray:
    """The one result of a formula, reduced over some axes, which stay as 1. The others have been reduced over them.

    Where the device has `elementwise_reduce` and rows are contiguous, what the formula gives is never in memory.
    """
    order, rows, n = reduction_plan(x.shape, axes)
    last = x.permute(order)
    eager = tracing.active is None and x.size > 0 and last.layout.contiguous
    if not eager or not _fuses(x.device, x.dtype) or not _reduces(x.device, x.dtype):
        value: NDArray = formula(x, *others)[0]
        return value._reduced(kind, axes, True)
    expression, scalars = _written(formula, (True,) * (1 + len(others)), x.dtype)
    out = x.new(reduced_shape(x.shape, axes, True), x.dtype)
    wide = [other.broadcast_to(x.shape).permute(order) for other in others]
    dispatch.run(x.device, "elementwise_reduce", out, [last, *wide], expression, scalars, kind, rows, n)
    return out


class Value(Operators):
    """An operand of an expression in the making, or the result of one of its steps."""

    def __init__(self, number: int, dtype: DType, steps: list[Step], scalars: list[float], operands: int) -> None:
        self.number, self.dtype = number, dtype
        self.steps, self.scalars, self.operands = steps, scalars, operands

    def _step(self, op: str, kind: Unary | Binary, *others: int, scalar: int = -1, swapped: bool = False) -> "Value":
        self.steps.append(Step(op, kind, self.dtype, self.dtype, (self.number, *others), scalar, swapped))
        number = self.operands + len(self.steps) - 1
        return Value(number, self.dtype, self.steps, self.scalars, self.operands)

    def _unary(self, kind: Unary) -> "Value":
        return self._step("unary", kind)

    def _binary(self, kind: Binary, other: Any) -> "Value":
        return self._step("binary", kind, other.number) if isinstance(other, Value) else self._with(kind, other, False)

    def _swapped(self, kind: Binary, other: Any) -> "Value":
        return self._with(kind, other, True)

    def _with(self, kind: Binary, number: float, swapped: bool) -> "Value":
        self.scalars.append(number)
        return self._step("binary_scalar", kind, scalar=len(self.scalars) - 1, swapped=swapped)


@lru_cache(maxsize=256)
def _written(formula: Formula, given: tuple[bool, ...], dtype: DType) -> tuple[Expression, tuple[float, ...]]:
    """A formula of the arrays that are given, as an expression and its numbers."""
    steps: list[Step] = []
    scalars: list[float] = []
    count = sum(given)
    numbers = iter(range(count))
    values = [Value(next(numbers), dtype, steps, scalars, count) if there else None for there in given]
    results = formula(*values)
    return Expression(count, tuple(steps), tuple([result.number for result in results])), tuple(scalars)


@lru_cache(maxsize=256)
def _fuses(device: Device, dtype: DType) -> bool:
    """Whether the device computes in one pass; with halves it would not round between the steps."""
    backend = dispatch.dispatcher(device).backend
    if dtype not in (float32, float64) or not backend.implements("elementwise"):
        return False
    return backend.supports("elementwise", None, (dtype, dtype)) is None


@lru_cache(maxsize=256)
def _reduces(device: Device, dtype: DType) -> bool:
    """Whether the device reduces what it computes, and reads operands that are broadcast where they lie."""
    backend = dispatch.dispatcher(device).backend
    if not backend.implements("elementwise_reduce") or "elementwise_reduce" not in backend.strided:
        return False
    return backend.supports("elementwise_reduce", Reduce.SUM, (dtype, dtype)) is None

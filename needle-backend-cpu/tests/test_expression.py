"""Fused expressions: a random one gives, to the last bit, what its steps give one after the other."""

from typing import Any

import numpy as np
import pytest
from twins import CPU

from needle.backend import View
from needle.dtype import DType, bool_, float32, float64, int32, numpy_dtype
from needle.expression import Expression, Step
from needle.kinds import Binary, Reduce, Unary
from needle.layout import Layout

SIZES = (1, 5, 31, 64, 127, 128, 129, 512, 515, 1024, 3000, 70000)
TILED = (Unary.NEG, Unary.ABS, Unary.SQUARE, Unary.RELU, Unary.RECIPROCAL)
OTHER = (Unary.EXP, Unary.TANH, Unary.SIGMOID, Unary.SQRT, Unary.FLOOR, Unary.SIN)
ARITHMETIC = (Binary.ADD, Binary.SUB, Binary.MUL, Binary.DIV, Binary.MAXIMUM, Binary.MINIMUM, Binary.RELU_GRAD)
INTEGERS = (Binary.ADD, Binary.SUB, Binary.MUL, Binary.MAXIMUM)
COMPARED = (Binary.LESS, Binary.EQUAL, Binary.GREATER_EQUAL)


def view(values: np.ndarray, dtype: DType, layout: Layout | None = None) -> View:
    buffer = CPU.allocate(max(values.nbytes, 1))
    CPU.upload(buffer, 0, memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8)))
    return View(buffer, layout or Layout.compact(values.shape), dtype)


def empty(size: int, dtype: DType) -> View:
    return view(np.zeros(size, numpy_dtype(dtype)), dtype)


def values_of(x: View) -> np.ndarray:
    host = np.frombuffer(CPU.host_view(x.buffer), numpy_dtype(x.dtype))
    return host[: x.layout.size].copy()


def random_expression(rng: np.random.Generator, dtypes: list[DType], length: int) -> tuple[Expression, list[float]]:
    """Steps over operands of these types, each step over values before it; some of the values are results."""
    types, steps, scalars = list(dtypes), [], []
    for _ in range(length):
        a = int(rng.integers(max(0, len(types) - 3), len(types)))
        same = [i for i, t in enumerate(types) if t is types[a]]
        b, t = int(rng.choice(same)), types[a]
        number = t in (float32, float64)
        choice = rng.integers(0, 10)
        if t is bool_:
            masked = [i for i, other in enumerate(types) if other is float32]
            x, y = int(rng.choice(masked)), int(rng.choice(masked))
            step = Step("where", None, float32, float32, (a, x, y))
            if choice > 6:
                step = Step("cast", None, t, int32, (a,))
        elif choice < 3 and number:
            step = Step("unary", Unary(int(rng.choice(TILED if choice < 2 else OTHER))), t, t, (a,))
        elif choice < 7:
            step = Step("binary", Binary(int(rng.choice(ARITHMETIC if number else INTEGERS))), t, t, (a, b))
        elif choice == 7:
            step = Step("binary", Binary(int(rng.choice(COMPARED))), t, bool_, (a, b))
        elif choice == 8:
            kind = Binary(int(rng.choice(ARITHMETIC if number else INTEGERS)))
            step = Step("binary_scalar", kind, t, t, (a,), len(scalars), bool(rng.integers(2)))
            scalars.append(float(rng.standard_normal()) if number else int(rng.integers(-5, 5)))
        else:
            step = Step("cast", None, t, float64 if t is float32 else float32, (a,))
        steps.append(step)
        types.append(step.result)
    made = np.arange(len(dtypes), len(types))
    chosen = {int(i) for i in rng.choice(made, min(3, len(made)), replace=False)} | {len(types) - 1}
    return Expression(len(dtypes), tuple(steps), tuple(sorted(chosen))), scalars


def one_by_one(expression: Expression, srcs: list[View], scalars: list[float], size: int) -> list[View]:
    """What the kernels of the steps give."""
    values = list(srcs)
    for step in expression.steps:
        dst, args = empty(size, step.result), [values[i] for i in step.inputs]
        if step.op == "binary_scalar":
            CPU.binary_scalar(step.kind, dst, args[0], scalars[step.scalar], step.swapped)
        else:
            getattr(CPU, step.op)(*([] if step.kind is None else [step.kind]), dst, *args)
        values.append(dst)
    return [values[i] for i in expression.results]


def operands(rng: np.random.Generator, size: int, plain: bool) -> list[View]:
    """Two arrays of floats and one of ints; unless plain also one element, and a row that is repeated."""

    def numbers(n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.02, np.nan, rng.standard_normal(n) * 2).astype(np.float32)

    found = [view(numbers(size), float32), view(numbers(size), float32)]
    if not plain:
        found += [view(numbers(1), float32), view(rng.integers(-9, 9, size).astype(np.int32), int32)]
        rows = next(n for n in (5, 4, 3, 2, 1) if size % n == 0)
        found.append(view(numbers(size // rows), float32, Layout((rows, size // rows), (0, 1))))
    return found


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("plain", [True, False])
def test_fused_equals_one_by_one(seed: int, plain: bool) -> None:
    rng = np.random.default_rng(seed)
    size = SIZES[seed % len(SIZES)]
    srcs = operands(rng, size, plain)
    expression, scalars = random_expression(rng, [x.dtype for x in srcs], int(rng.integers(2, 20)))
    expected = [values_of(x) for x in one_by_one(expression, srcs, scalars, size)]
    dsts = [empty(size, expression.steps[i - expression.operands].result) for i in expression.results]
    CPU.elementwise(dsts, srcs, expression, tuple(scalars))
    for dst, right in zip(dsts, expected, strict=True):
        np.testing.assert_array_equal(values_of(dst), right, err_msg=str(expression))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("early", [True, False])
def test_a_result_may_take_the_place_of_an_operand(size: int, early: bool) -> None:
    """Also where the operand is read after the step that gives the result."""
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size)).astype(np.float32)
    x, y, other = view(a, float32), view(b, float32), empty(size, float32)
    steps = [
        Step("binary", Binary.ADD, float32, float32, (0, 1)),
        Step("unary", Unary.EXP, float32, float32, (2,)),
        Step("binary", Binary.MUL, float32, float32, (3, 1 if early else 0)),
    ]
    CPU.elementwise([x, other], [x, y], Expression(2, tuple(steps), (2, 4)), ())
    np.testing.assert_array_equal(values_of(x), a + b)
    np.testing.assert_allclose(values_of(other), np.exp(a + b) * (b if early else a), rtol=1e-5)


@pytest.mark.parametrize("kind", [*TILED, *ARITHMETIC])
@pytest.mark.parametrize("dtype", [float32, float64])
def test_each_kind_that_runs_in_registers(kind: Any, dtype: DType) -> None:
    """With its operands in memory, in registers, twice the same, and as a scalar, first and second."""
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, 3e38]
    a, b = (x.reshape(-1) for x in np.meshgrid(special * 5, special * 5))
    srcs = [view(x.astype(numpy_dtype(dtype)), dtype) for x in (a, b)]
    one = view(np.array([-0.0 if dtype is float32 else np.nan], numpy_dtype(dtype)), dtype)
    load = Step("unary", Unary.NEG, dtype, dtype, (0,))
    if isinstance(kind, Unary):
        rows = [[load, Step("unary", kind, dtype, dtype, (3,))]]
    else:
        pairs = [(3, 1), (1, 3), (3, 3), (0, 1), (1, 1), (3, 2), (2, 3), (2, 2)]
        rows = [[load, Step("binary", kind, dtype, dtype, pair)] for pair in pairs]
        rows += [[load, Step("binary_scalar", kind, dtype, dtype, (3,), 0, swapped)] for swapped in (False, True)]
    for steps in rows:
        expression = Expression(3, tuple(steps), (4,))
        out = empty(a.size, dtype)
        CPU.elementwise([out], [*srcs, one], expression, (1.5,))
        expected = one_by_one(expression, [*srcs, one], [1.5], a.size)[0]
        found, right = values_of(out), values_of(expected)
        np.testing.assert_array_equal(found, right, err_msg=str(expression))
        np.testing.assert_array_equal(np.signbit(found) & ~np.isnan(found), np.signbit(right) & ~np.isnan(right))


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (100, 16), (130, 64), (70, 256), (64, 300), (7, 3000), (2, 140000)])
@pytest.mark.parametrize("kind", [Reduce.SUM, Reduce.MAX])
@pytest.mark.parametrize("dtype", [float32, float64, int32])
def test_rows_of_an_expression_are_reduced_as_if_they_were_in_memory(
    shape: tuple[int, int], kind: Reduce, dtype: DType
) -> None:
    """To the last bit."""
    rows, n = shape
    rng = np.random.default_rng(n)
    srcs = [view((rng.standard_normal(rows * n) * 9).astype(numpy_dtype(dtype)), dtype) for _ in range(2)]
    steps = (Step("binary", Binary.MUL, dtype, dtype, (0, 1)), Step("binary", Binary.SUB, dtype, dtype, (2, 0)))
    expression = Expression(2, steps, (3,))
    made, expected, found = empty(rows * n, dtype), empty(rows, dtype), empty(rows, dtype)
    CPU.elementwise([made], srcs, expression, ())
    CPU.reduce(kind, expected, made, rows, n)
    CPU.elementwise_reduce(found, srcs, expression, (), kind, rows, n)
    np.testing.assert_array_equal(values_of(found), values_of(expected))

"""Makes a failing trial smaller, step by step, as long as it fails in the same way; and writes what is left as Python.

Smaller means fewer elements, the plainest layout, and the plainest values: 0, 1, whole numbers.
"""

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from needle.backend import Backend
from needle.kinds import Kind
from needle_conformance.kernel import Arguments, KernelTrial, Operand, described, mapped, operands
from needle_conformance.trial import Trial

SECONDS = 2.0  # for one failure
_LARGEST = 200  # elements that are written out
_ELEMENTWISE = ("copy", "cast", "unary", "binary", "binary_scalar", "where")
_INDEXED = ("gather", "scatter_add", "cross_entropy", "cross_entropy_grad")  # an int may be a position

Fails = Callable[[Any], bool]


def shrunk_script(trial: Any, shrink: bool = True) -> str:
    """Python that makes a trial's failure again, from the smallest operands that were found; "" if it has none."""
    if not isinstance(trial, Trial | KernelTrial):
        return ""
    try:
        found = (_of_kernel(trial) if isinstance(trial, KernelTrial) else _of_function(trial)) if shrink else None
        return found or trial.script()
    except Exception as error:
        return f"# no script: {type(error).__name__}: {error}"


def _failure(check: Callable[[], None]) -> str | None:
    """The type of the error that a check raises."""
    try:
        check()
    except Exception as error:
        return type(error).__name__
    return None


def _smallest(start: Any, moves: Callable[[Any], Iterator[Any]], fails: Fails) -> Any:
    """From `start`, the first move that still fails, and so on until none does or time is up."""
    end = time.monotonic() + SECONDS
    found = start
    progress = True
    while progress:
        progress = False
        for candidate in moves(found):
            if time.monotonic() > end:
                return found
            if fails(candidate):
                found, progress = candidate, True
                break
    return found


# Kernels: the arguments of one call.


def _of_kernel(trial: KernelTrial) -> str | None:
    for args in trial.kernel.calls(trial):
        kind = _failure(partial(trial.check_call, args))
        if kind is not None:
            return _kernel_script(trial, _smallest_call(trial, args, kind))
    return None


def _smallest_call(trial: KernelTrial, args: Arguments, kind: str) -> Arguments:
    found: Arguments = _smallest(
        args, partial(_moves, trial), lambda smaller: _failure(partial(trial.check_call, smaller)) == kind
    )
    return found


def _moves(trial: KernelTrial, args: Arguments) -> Iterator[Arguments]:
    """Every smaller call, the smallest first."""
    if trial.kernel.op in _ELEMENTWISE:
        shape = np.shape(operands(args)[0].values)
        for axis, part in _cuts(shape):
            yield _mapped(args, partial(_cut, shape=shape, axis=axis, part=part))
    elif "rows" in _names(trial.kernel.op):
        yield from _fewer_rows(trial, args)
    for x in operands(args):
        if x.layout != "compact":
            yield _mapped(args, partial(_changed, x, layout="compact"))
    for x in operands(args):
        if not (trial.kernel.op in _INDEXED and x.dtype.category == "int"):
            for values in _plainer(x.values):
                yield _mapped(args, partial(_changed, x, values=values))


def _changed(this: Operand, x: Operand, **fields: Any) -> Operand:
    return replace(x, **fields) if x is this else x


def _mapped(args: Arguments, f: Callable[[Operand], Operand]) -> Arguments:
    """The arguments with each operand replaced; one that stands twice stays one."""
    made = {id(x): f(x) for x in operands(args)}
    return [mapped(arg, lambda x: made[id(x)]) for arg in args]


def _cuts(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Ways of keeping a part of one axis: an element, or a half."""
    for axis, n in enumerate(shape):
        if n > 2:
            yield axis, slice(0, n // 2)
            yield axis, slice(n // 2, n)
        if n > 1:
            yield axis, slice(0, 1)
            yield axis, slice(n - 1, n)


def _cut(x: Operand, shape: tuple[int, ...], axis: int, part: slice) -> Operand:
    if np.shape(x.values) != shape:
        return x
    return replace(x, values=x.values[(slice(None),) * axis + (part,)])


def _names(op: str) -> list[str]:
    return list(inspect.signature(getattr(Backend, op)).parameters)[1:]


def _fewer_rows(trial: KernelTrial, args: Arguments) -> Iterator[Arguments]:
    """Operands as (rows, n), (rows,) or (n,), and then fewer of either."""
    names = _names(trial.kernel.op)
    at_rows, at_n = names.index("rows"), names.index("n")
    rows, n = args[at_rows], args[at_n]
    if rows * n == 0:
        return
    flat = _mapped(args, lambda x: _as_rows(x, rows, n))
    if any(np.ndim(x.values) > 2 for x in operands(args)):
        yield flat
        return
    for axis, part in _cuts((rows, n)):
        size = len(range((rows, n)[axis])[part])

        def cut(x: Operand, axis: int = axis, part: slice = part) -> Operand:
            shape = np.shape(x.values)
            if shape == (rows, n):
                return _cut(x, shape, axis, part)
            return _cut(x, shape, 0, part) if shape == ((rows, n)[axis],) and (rows != n or x.written) else x

        smaller = _mapped(flat, cut)
        smaller[(at_rows, at_n)[axis]] = size
        yield smaller


def _as_rows(x: Operand, rows: int, n: int) -> Operand:
    size = np.size(x.values)
    shape = (rows, n) if size == rows * n and np.ndim(x.values) > 1 else (rows,) if size == rows else np.shape(x.values)
    return replace(x, values=np.reshape(x.values, shape))


def _plainer(values: Any) -> Iterator[Any]:
    """The same array with plainer elements."""
    array = np.asarray(values)
    plain = [np.zeros_like(array), np.ones_like(array)]
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            plain.append(np.rint(array))
    yield from (p for p in plain if not _same(p, array) and _weight(p) < _weight(array))
    if 1 < array.size <= 32:
        for i in np.ndindex(array.shape):
            for element in (0, 1):
                changed = array.copy()
                changed[i] = element
                if _weight(changed) < _weight(array):
                    yield changed


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _weight(array: Any) -> float:
    """How far from plain: 0 for a zero, 1 for a one, 2 for whole numbers, 3 for others, for each element."""
    x = array.astype(np.float64).reshape(-1)
    with np.errstate(all="ignore"):
        whole = np.isfinite(x) & (np.rint(x) == x)
    return float(np.sum(np.where(x == 0, 0, np.where(x == 1, 1, np.where(whole, 2, 3)))))


def _kernel_script(trial: KernelTrial, args: Arguments) -> str | None:
    """The call written out; None where it is still too large for that."""
    if any(np.size(x.values) > _LARGEST for x in operands(args)):
        return None
    names = {id(x): f"x{i}" for i, x in enumerate(operands(args))}
    kinds = sorted({type(arg).__name__ for arg in args if isinstance(arg, Kind)})
    return "\n".join([
        f"# kernel {trial} on {trial.device}, seed {trial.seed}; shrunk to",
        *(f"#   {line}" for line in described(args)),
        "import numpy as np",
        *([f"from needle.kinds import {', '.join(kinds)}"] if kinds else []),
        "from needle_conformance.kernel import Operand",
        "from needle_conformance.kernels import trial",
        f"t = trial({trial.kernel.name!r}, '{trial.device}', '{trial.dtype}', {trial.layout!r})",
        *(f"{names[id(x)]} = Operand({written(x.values)}, '{x.dtype}', {x.layout!r}, written={x.written})"
          for x in operands(args)),
        f"t.check_call([{', '.join(_argument(arg, names) for arg in args)}])",
    ])  # fmt: skip


def _argument(arg: Any, names: dict[int, str]) -> str:
    if isinstance(arg, list):
        return "[" + ", ".join(names[id(x)] for x in arg) + "]"
    if isinstance(arg, Kind):
        return f"{type(arg).__name__}.{arg.name}"
    return names.get(id(arg), repr(arg))


def written(values: Any) -> str:
    """An array as Python."""
    array = np.asarray(values)
    if array.size == 0:
        return f"np.zeros({array.shape}, '{array.dtype}')"
    text = np.array2string(array, separator=", ", threshold=array.size + 1, max_line_width=10**6,
                           formatter={"float_kind": lambda x: repr(float(x))})  # fmt: skip
    for name in ("nan", "inf"):
        text = text.replace(name, f"np.{name}")
    return f"np.array({' '.join(text.split())}, '{array.dtype}')"


# Functions of Tensors: the operands of one call.


def _of_function(trial: Trial) -> str | None:
    values = trial.values()
    for at, options in enumerate(trial.case.options):
        kind = _failure(partial(trial.check_call, values, options))
        if kind is not None:
            plain = replace(trial, layout="compact")
            compact_too = _failure(partial(plain.check_call, values, options)) == kind
            return _smallest_function(plain if compact_too else trial, values, at, kind)
    return None


def _smallest_function(trial: Trial, values: list[Any], at: int, kind: str) -> str | None:
    options = trial.case.options[at]
    small = _smallest(
        values, partial(_smaller_values, trial), lambda v: _failure(partial(trial.check_call, v, options)) == kind
    )
    return _function_script(trial, small, at)


def _smaller_values(trial: Trial, values: list[Any]) -> Iterator[list[Any]]:
    shapes = {np.shape(v) for v in values}
    if trial.case.polymorphic and len(shapes) == 1:
        for axis, part in _cuts(shapes.pop()):
            yield [v[(slice(None),) * axis + (part,)] for v in values]
    for i, x in enumerate(trial.case.inputs):
        if x.free and x.categories != ("int",):
            for plainer in _plainer(values[i]):
                yield [plainer if i == j else v for j, v in enumerate(values)]


def _function_script(trial: Trial, values: list[Any], at: int) -> str | None:
    if any(np.size(v) > _LARGEST for v in values):
        return None
    return "\n".join([
        f"# {trial} on {trial.device}, seed {trial.seed}; shrunk to",
        *trial.described(values),
        "import numpy as np",
        "from needle_conformance.cases import trial",
        f"t = trial({trial.case.name!r}, '{trial.device}', '{trial.dtype}', {trial.layout!r})",
        f"values, options = [{', '.join(map(written, values))}], t.case.options[{at}]",
        "print(t.case.function(*t.tensors(values), **options), t.expected(values, options))",
        "t.check_call(values, options)",
    ])  # fmt: skip

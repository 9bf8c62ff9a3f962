"""One call of a kernel's row: what is smaller than it, and its script."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from needle.backend import Backend
from needle.kinds import Kind
from needle_conformance.kernel import Arguments, KernelTrial, Operand, described, mapped, operands
from needle_conformance.smaller import LARGEST, cuts, plainer, written

_ELEMENTWISE = ("copy", "cast", "unary", "binary", "binary_scalar", "where")
_INDEXED = ("gather", "scatter_add", "cross_entropy", "cross_entropy_grad")  # an int may be a position


@dataclass(frozen=True)
class KernelCall:
    """A row's kernel with one list of arguments."""

    trial: KernelTrial
    args: Arguments

    def check(self) -> None:
        self.trial.check_call(self.args)

    def smaller(self) -> Iterator["KernelCall"]:
        """Every smaller call, the smallest first."""
        return (replace(self, args=args) for args in _moves(self.trial, self.args))

    def script(self, heading: str) -> str:
        return _script(self.trial, self.args, heading) or self.trial.script()


def _moves(trial: KernelTrial, args: Arguments) -> Iterator[Arguments]:
    """The arguments of every smaller call, the smallest first."""
    if trial.kernel.op in _ELEMENTWISE:
        shape = np.shape(operands(args)[0].values)
        for axis, part in cuts(shape):
            yield _mapped(args, partial(_cut, shape=shape, axis=axis, part=part))
    elif "rows" in _names(trial.kernel.op):
        yield from _fewer_rows(trial, args)
    for x in operands(args):
        if x.layout != "compact":
            yield _mapped(args, partial(_changed, x, layout="compact"))
    for x in operands(args):
        if not (trial.kernel.op in _INDEXED and x.dtype.category == "int"):
            for values in plainer(x.values):
                yield _mapped(args, partial(_changed, x, values=values))


def _changed(this: Operand, x: Operand, **fields: Any) -> Operand:
    return replace(x, **fields) if x is this else x


def _mapped(args: Arguments, f: Callable[[Operand], Operand]) -> Arguments:
    """The arguments with each operand replaced; one that stands twice stays one."""
    made = {id(x): f(x) for x in operands(args)}
    return [mapped(arg, lambda x: made[id(x)]) for arg in args]


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
    for axis, part in cuts((rows, n)):
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


def _script(trial: KernelTrial, args: Arguments, heading: str) -> str | None:
    """The call written out; None where it is still too large for that."""
    if any(np.size(x.values) > LARGEST for x in operands(args)):
        return None
    names = {id(x): f"x{i}" for i, x in enumerate(operands(args))}
    kinds = sorted({type(arg).__name__ for arg in args if isinstance(arg, Kind)})
    return "\n".join([
        f"# kernel {trial} on {trial.device}, seed {trial.seed}; {heading}",
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

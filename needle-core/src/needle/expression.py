"""Expression: several elementwise functions that one kernel computes in one pass over memory.

Values are numbered: first the operands, then the result of each step. `packed` is the same for native code, as
int32 numbers: those of operands, steps and results, eight for each step, then one for each result.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from needle.dtype import DType
from needle.kinds import Binary, Unary

# Numbers of the primitives that a step may be, as native code knows them.
STEPS = ("unary", "binary", "binary_scalar", "where", "cast")


class Step(NamedTuple):
    """One function: a primitive, its kind, the dtypes it computes in and gives, and the values it takes."""

    op: str
    kind: Unary | Binary | None
    dtype: DType  # of its operands; for `where` of what it chooses from
    result: DType
    inputs: tuple[int, ...]
    scalar: int = -1  # for binary_scalar: which of the expression's scalars
    swapped: bool = False  # for binary_scalar: the scalar comes first


@dataclass(frozen=True)
class Expression:
    """The steps in order, and which values are results."""

    operands: int
    steps: tuple[Step, ...]
    results: tuple[int, ...]

    @cached_property
    def packed(self) -> bytes:
        numbers = [self.operands, len(self.steps), len(self.results)]
        for step in self.steps:
            a, b, c = (*step.inputs, -1, -1, -1)[:3]
            kind = -1 if step.kind is None else int(step.kind)
            second = step.scalar if step.op == "binary_scalar" else b
            numbers += [STEPS.index(step.op), kind, step.dtype.code, step.result.code, a, second, c, step.swapped]
        return struct.pack(f"{len(numbers) + len(self.results)}i", *numbers, *self.results)

    def __str__(self) -> str:
        names = [f"x{i}" for i in range(self.operands)]
        lines = []
        for step in self.steps:
            args = [names[i] for i in step.inputs]
            if step.op == "binary_scalar":
                args.insert(0 if step.swapped else 1, f"c{step.scalar}")
            name = step.kind.op if step.kind is not None else f"{step.op} {step.result}"
            lines.append(f"{name}({', '.join(args)})")
            names.append(f"y{len(lines) - 1}")
        return "; ".join(f"y{i} = {line}" for i, line in enumerate(lines))

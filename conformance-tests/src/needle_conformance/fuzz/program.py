"""A program: leaves, statements that each make one value of earlier ones, and what they should give."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import needle as ndl
from needle.device import Device
from needle.registry import BUILT_IN
from needle.registry import device as as_device
from needle.tensor import Tensor
from needle.testing import arrange, stored
from needle_conformance.smaller import written

_NAME = re.compile(r"\b[xv]\d+\b")
LARGEST = 1e6  # a result beyond it says little: its error is as large


@dataclass(frozen=True)
class Leaf:
    """An operand: its values, exact in float32 or int32, and how they lie in memory."""

    values: Any
    layout: str
    dtype: str


@dataclass
class Program:
    """`x0`, `x1`, ... are the leaves, `v0`, `v1`, ... the values of the statements; the last is the result."""

    leaves: list[Leaf]
    statements: list[str] = field(default_factory=list)  # the right-hand sides
    smooth: bool = True  # whether its gradients have no kinks, at which two devices may differ

    def run(self, device: Device, wide: bool = False, compiled: bool = False) -> list[Any]:
        """The result, and if the program is smooth the gradients of its sum, in NumPy. Compiled, it is captured with
        zeros and then replayed."""
        tensors = [self._placed(leaf, device, wide) for leaf in self.leaves]
        function = self._values
        if compiled:
            function = ndl.compile(self._values)
            function(*[Tensor(x.array * 0, requires_grad=x.requires_grad) for x in tensors])
        return [x.numpy() for x in function(*tensors) if x is not None]

    def _values(self, *tensors: Tensor) -> list[Tensor | None]:
        """The result and its gradients."""
        result = self._result(*tensors)
        leaves = [x for x in tensors if x.requires_grad]
        gradients = ndl.grad(result.sum(), leaves, allow_unused=True) if self._has_gradients(result, leaves) else []
        return [result.detach(), *gradients]

    def _placed(self, leaf: Leaf, device: Device, wide: bool) -> Tensor:
        dtype = "float64" if wide and leaf.dtype == "float32" else leaf.dtype
        x = Tensor(arrange(leaf.values, leaf.layout, dtype, device))
        return x.requires_grad_() if leaf.dtype == "float32" else x

    def _has_gradients(self, result: Tensor, leaves: list[Tensor]) -> bool:
        return self.smooth and bool(leaves) and result.dtype.is_float and result.requires_grad

    def _result(self, *tensors: Tensor) -> Tensor:
        names: dict[str, Any] = {"ndl": ndl, **{f"x{i}": x for i, x in enumerate(tensors)}}
        for i, statement in enumerate(self.statements):
            names[f"v{i}"] = eval(statement, names)
        result: Tensor = names[f"v{len(self.statements) - 1}"]
        return result

    def pruned(self) -> "Program":
        """The same without what the result does not depend on."""
        needed = {f"v{len(self.statements) - 1}"}
        for i in reversed(range(len(self.statements))):
            if f"v{i}" in needed:
                needed |= set(_NAME.findall(self.statements[i]))
        leaves = [i for i in range(len(self.leaves)) if f"x{i}" in needed]
        kept = [i for i in range(len(self.statements)) if f"v{i}" in needed]
        renamed = {f"x{i}": f"x{k}" for k, i in enumerate(leaves)} | {f"v{i}": f"v{k}" for k, i in enumerate(kept)}
        statements = [_NAME.sub(lambda match: renamed[match[0]], self.statements[i]) for i in kept]
        return Program([self.leaves[i] for i in leaves], statements, self.smooth)

    @property
    def size(self) -> tuple[int, int]:
        """By which one program is smaller than another."""
        return len(self.statements), sum(leaf.values.size + (leaf.layout != "compact") for leaf in self.leaves)

    def check(self, device: Device, compiled: bool = False) -> None:
        """Assert that the device gives what the reference gives.

        The tolerance is made of what float32 itself loses here: the reference in float32 against that in float64.
        """
        host = as_device(BUILT_IN)
        with np.errstate(all="ignore"):
            truth, narrow = self.run(host, wide=True), self.run(host)
            found = self.run(device, compiled=compiled)
            for i, (actual, near, exact) in enumerate(zip(found, narrow, truth, strict=True)):
                _compare(actual, near, exact, f"gradient {i - 1}: " if i else "")

    def script(self, device: str, compiled: bool = False) -> str:
        """Python that runs the program again."""
        lines = [f"# a random program on {device}" + (", compiled" if compiled else "")]
        for i, leaf in enumerate(self.leaves):
            view = stored(leaf.values, leaf.layout, leaf.dtype)[1]
            lines.append(f"# x{i}: {leaf.dtype} {view.shape}, strides {view.strides}, offset {view.offset}")
        leaves = [f"Leaf({written(x.values)}, {x.layout!r}, {x.dtype!r})" for x in self.leaves]
        return "\n".join([
            *lines,
            "import numpy as np",
            "import needle as ndl",
            "from needle_conformance.fuzz.program import Leaf, Program",
            "program = Program(",
            f"    [{', '.join(leaves)}],",
            "    [",
            *(f"        {statement!r},  # v{i}" for i, statement in enumerate(self.statements)),
            f"    ], smooth={self.smooth})",
            f"program.check(ndl.device({device!r}){', compiled=True' if compiled else ''})",
        ])  # fmt: skip


def _compare(actual: Any, near: Any, exact: Any, about: str) -> None:
    assert actual.shape == exact.shape, f"{about}shape {actual.shape}, expected {exact.shape}"
    assert actual.dtype.kind == near.dtype.kind, f"{about}dtype {actual.dtype}, expected {near.dtype}"
    if actual.dtype.kind != "f":
        _equal(actual, exact, actual != exact, about)
        return
    if not (np.isfinite(exact).all() and np.isfinite(near).all() and np.abs(exact).max(initial=0.0) < LARGEST):
        return
    limit = 3e-5 * np.abs(exact).max(initial=1.0) + 30 * np.abs(near - exact).max(initial=0.0)
    _equal(actual, exact, ~(np.abs(actual - exact) <= limit), f"{about}allowed is an error of {limit:.2g}; ")


def _equal(actual: Any, exact: Any, wrong: Any, about: str) -> None:
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        count = f"{int(wrong.sum())} of {wrong.size} elements differ"
        raise AssertionError(f"{about}{count}, first at {at}: {actual[at].item()!r} instead of {exact[at].item()!r}")

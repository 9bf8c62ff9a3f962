"""The calls of a row, each of which can be checked, made smaller and written as a script by itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from needle.registry import BUILT_IN
from needle.registry import device as as_device
from needle_conformance.derivative import Derivative
from needle_conformance.kernel import KernelTrial
from needle_conformance.kernel_call import KernelCall
from needle_conformance.smaller import LARGEST, cuts, plainer, written
from needle_conformance.trial import Trial

_ORDERS = {"first": 1, "second": 2}  # of the derivatives that these tests look at
_NAMES = {1: "first derivative", 2: "second derivative"}

Values = list[Any]


class Call(Protocol):
    """One call that a row makes."""

    def check(self) -> None:
        """Assert that it is right."""

    def smaller(self) -> Iterator["Call"]:
        """Calls with fewer elements, a plainer layout or plainer values, the smallest first."""

    def script(self, heading: str) -> str:
        """Python that checks it, after comments that describe its operands."""


def calls_of(test: str, trial: Any) -> Iterator[Call]:
    """The calls of a test over a trial; none of a test that is more than its calls."""
    if isinstance(trial, KernelTrial):
        yield from (KernelCall(trial, args) for args in trial.kernel.calls(trial))
    elif isinstance(trial, Trial) and test == "values":
        values = trial.values()
        yield from (FunctionCall(trial, values, at) for at in range(len(trial.case.options)))
    elif isinstance(trial, Trial) and test in _ORDERS:
        values = trial.values(small=True)
        yield from (DerivativeCall(trial, values, at, _ORDERS[test]) for at in range(len(trial.case.options)))


@dataclass(frozen=True)
class FunctionCall:
    """A row's function of these operands, with the row's options `at`."""

    trial: Trial
    values: Values
    at: int

    def check(self) -> None:
        self.trial.check_call(self.values, self.trial.case.options[self.at])

    def smaller(self) -> Iterator["FunctionCall"]:
        if self.trial.layout != "compact":
            yield replace(self, trial=replace(self.trial, layout="compact"))
        shapes = {np.shape(v) for v in self.values}
        if self.trial.case.polymorphic and len(shapes) == 1:
            for axis, part in cuts(shapes.pop()):
                yield replace(self, values=[v[(slice(None),) * axis + (part,)] for v in self.values])
        for values in _plainer_values(self.trial, self.values):
            yield replace(self, values=values)

    def script(self, heading: str) -> str:
        if any(np.size(v) > LARGEST for v in self.values):
            return self.trial.script()
        return "\n".join([
            f"# {self.trial} on {self.trial.device}, seed {self.trial.seed}; {heading}",
            *_operands(self.trial, self.values, self.at),
            "print(t.case.function(*t.tensors(values), **options), t.expected(values, options))",
            "t.check_call(values, options)",
        ])  # fmt: skip


@dataclass(frozen=True)
class DerivativeCall:
    """The first or second derivative of a row's function at these operands."""

    trial: Trial
    values: Values
    at: int
    order: int

    @property
    def derivative(self) -> Derivative:
        return Derivative(self.trial, self.trial.case.options[self.at], self.values)

    def check(self) -> None:
        if self.order == 1:
            self.derivative.check_first()
        else:
            self.derivative.check_second()

    def smaller(self) -> Iterator["DerivativeCall"]:
        """Of those only calls that are right on the reference: a plainer value may be one at which there is a kink."""
        if self.trial.layout != "compact":
            yield replace(self, trial=replace(self.trial, layout="compact"))
        rule_is_right = self._right_on_reference()
        for values in self._candidates(rule_is_right):
            call = replace(self, values=values)
            if call._right_on_reference() or not rule_is_right:
                yield call

    def _candidates(self, plainer_too: bool) -> Iterator[Values]:
        """Fewer elements; and plainer ones, unless nothing could tell that a derivative exists there."""
        sizes = {n for v in self.values for n in np.shape(v)}
        for n in sorted(sizes):
            for _, part in cuts((n,)):
                yield [v[tuple(part if m == n else slice(None) for m in np.shape(v))] for v in self.values]
        for i, v in enumerate(self.values):
            for axis, part in cuts(np.shape(v)):
                yield [w[(slice(None),) * axis + (part,)] if i == j else w for j, w in enumerate(self.values)]
        if plainer_too:
            yield from _plainer_values(self.trial, self.values)

    def _right_on_reference(self) -> bool:
        try:
            replace(self, trial=replace(self.trial, device=as_device(BUILT_IN))).check()
        except Exception:  # wrong, or no operands of the function at all
            return False
        return True

    def script(self, heading: str) -> str:
        rule, differences = ("by_rule", "by_differences") if self.order == 1 else (
            "second_by_rule", "second_by_differences")  # fmt: skip
        where = "in float64 on the host" if self.order == 1 else "of the first one on the device"
        return "\n".join([
            f"# {_NAMES[self.order]} of {self.trial} on {self.trial.device}, seed {self.trial.seed}; {heading}",
            *_operands(self.trial, self.values, self.at),
            "from needle_conformance.derivative import Derivative",
            "d = Derivative(t, options, values)",
            f"print('by rule, on the device:', d.{rule}())",
            f"print('by central differences, {where}:', d.{differences}())",
            f"d.check_{'first' if self.order == 1 else 'second'}()",
        ])  # fmt: skip


def _plainer_values(trial: Trial, values: Values) -> Iterator[Values]:
    """The same operands, one of them with plainer elements."""
    for i, x in enumerate(trial.case.inputs):
        if x.free and x.categories != ("int",):
            for plain in plainer(values[i]):
                yield [plain if i == j else v for j, v in enumerate(values)]


def _operands(trial: Trial, values: Values, at: int) -> list[str]:
    """Lines that describe the operands and make them, as `values` and `options` of the trial `t`."""
    return [
        *trial.described(values),
        "import numpy as np",
        "from needle_conformance.cases import trial",
        f"t = trial({trial.case.name!r}, '{trial.device}', '{trial.dtype}', {trial.layout!r})",
        f"values, options = [{', '.join(map(written, values))}], t.case.options[{at}]",
    ]

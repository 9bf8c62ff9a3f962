"""Every test of the suite on one device as a row that can be run without pytest, in the order of the stages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from needle.device import Device
from needle.registry import device as as_device
from needle.registry import registry
from needle_conformance.kernel import KernelTrial
from needle_conformance.plugin import STAGES
from needle_conformance.progress import Progress
from needle_conformance.score.status import Outcome
from needle_conformance.trial import Trial

# What `--quick` runs: a look at every op, in the three dtypes of every device, and in few layouts; no second
# derivatives, which take half of a whole run.
_QUICK_DTYPES = ("float32", "int32", "bool", "")
_QUICK_LAYOUTS = ("compact", "offset", "permuted", "special", "")


@dataclass(frozen=True)
class Row:
    """One test, over one trial if it has any."""

    stage: str
    test: str
    trial: Any
    run: Callable[[], None] = field(compare=False)

    @property
    def id(self) -> str:
        """What a backend's profile names: `ops/values/exp[float32-permuted]`, or `metadata/describe`."""
        name = f"{self.stage}/{self.test}"
        return name if self.trial is None else f"{name}/{self.trial}"

    def outcome(self) -> Outcome:
        """The record of the row, before it was run."""
        if isinstance(self.trial, Trial):
            return Outcome(self.id, self.stage, self.trial.case.name, str(self.trial.dtype), self.trial.layout)
        if isinstance(self.trial, KernelTrial):
            return Outcome(self.id, self.stage, self.trial.kernel.name, str(self.trial.dtype), self.trial.layout)
        return Outcome(self.id, self.stage, "", "", "")

    @property
    def quick(self) -> bool:
        """Whether a quick run has it."""
        about = self.outcome()
        if self.stage == "copy" and "_to_" in about.layout:
            return about.dtype == "float32" and about.layout.endswith("_to_offset")
        if self.stage == "gradients" and self.trial is not None and about.op:
            return (self.test, about.layout) == ("first", "compact") and about.dtype in ("float32", "float64")
        return about.dtype in _QUICK_DTYPES and about.layout in _QUICK_LAYOUTS


def rows(device: Device, only: tuple[str, ...] = (), stages: tuple[str, ...] = (), quick: bool = False) -> list[Row]:
    """The rows that match one of the patterns `only`, of some stages; all of them by default."""
    progress = Progress([device])
    found = [row for stage in STAGES for row in _of_stage(stage, device, progress, not (only or stages or quick))]
    patterns = registry.conformance_profile(device.backend).xfails
    progress.patterns |= {p for p in patterns if any(matches(row.id, p) for row in found)}
    some = [row for row in found if row.stage in (stages or STAGES) and (not quick or row.quick)]
    return [row for row in some if not only or any(asked(row.outcome(), pattern) for pattern in only)]


def find(device: Device | str, row_id: str) -> Row:
    """The row of this id. Those of the first stage look at all others."""
    opened, stage = as_device(device), row_id.partition("/")[0]
    some = rows(opened) if stage == STAGES[0] else _of_stage(stage, opened, Progress([opened]), whole=False)
    return next(row for row in some if row.id == row_id)


def row_script(device: Device | str, row_id: str, trial: Any = None) -> str:
    """Python that runs a row by itself; with the operands of a trial, if it says what they are."""
    about = f", seed {trial.seed}; its operands:" if isinstance(trial, Trial) else ""
    return "\n".join([
        f"# {row_id} on {device}{about}",
        *(trial.described(trial.values()) if isinstance(trial, Trial) else ()),
        "from needle_conformance.score.rows import find",
        f"find('{device}', {row_id!r}).run()",
    ])  # fmt: skip


def _of_stage(stage: str, device: Device, progress: Progress, whole: bool) -> Iterator[Row]:
    module = import_module(f"needle_conformance.test_{stage}")
    extras = {"progress": progress, "whole": whole}
    for name, test in _tests(module):
        wanted = getattr(test, "__code__", None) and test.__code__.co_varnames[: test.__code__.co_argcount]
        arguments = {"device": device, **{key: extras[key] for key in extras if key in (wanted or ())}}
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "over"]
        if not marks:
            yield Row(stage, name, None, partial(test, **arguments))
            continue
        for trial in marks[0].args[0](device):
            yield Row(stage, name, trial, partial(test, **arguments, trial=trial))


def _tests(module: ModuleType) -> Iterator[tuple[str, Callable[..., None]]]:
    for name, member in vars(module).items():
        if name.startswith("test_") and callable(member) and member.__module__ == module.__name__:
            yield name.removeprefix("test_"), member


def matches(row_id: str, pattern: str) -> bool:
    """fnmatch, in which brackets stand for themselves."""
    return fnmatchcase(row_id, pattern.replace("[", "[[]"))


def asked(row: Outcome, pattern: str) -> bool:
    """A pattern is that of an id, or the name of an op."""
    return pattern == row.op or matches(row.id, pattern)

"""A scorecard: the outcomes of all rows of one device, with what they add up to; to and from JSON."""

import json
import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import needle
import needle_conformance
from needle.plugin import one_line
from needle_conformance.kernels import BY_NAME
from needle_conformance.plugin import STAGES
from needle_conformance.score.status import RIGHT, TOLERATED, Outcome, Status

FORMAT = 1
REQUIRED = ("copy", "cast", "unary", "binary", "where", "reduce")  # the kernels of the ten functions of a device


@dataclass
class Card:
    """What a score found."""

    device: str
    description: str
    rows: list[Outcome]
    options: dict[str, Any] = field(default_factory=dict)  # what was left out, and how rows were run
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    dtypes: list[str] = field(default_factory=list)  # that the device has
    hints: list[str] = field(default_factory=list)  # at methods that may be slips of the pen

    @property
    def kernels(self) -> list[Outcome]:
        """The rows of the protocol's primitives, by which a device is scored."""
        return [row for row in self.rows if row.stage in ("copy", "kernels") and row.op]

    @property
    def functions(self) -> list[Outcome]:
        """The rows of what users call."""
        return [row for row in self.rows if row.stage == "ops" and row.op]

    @property
    def required(self) -> list[Outcome]:
        """The rows of the six kernels that make a device of its own."""
        names = required_names()
        return [row for row in self.kernels if row.op in names]

    @property
    def untried(self) -> list[str]:
        """The device's dtypes in which nothing was asked for."""
        tried = {row.dtype for row in (*self.kernels, *self.functions)}
        return [dtype for dtype in self.dtypes if tried and dtype not in tried]

    @property
    def wrong(self) -> list[Outcome]:
        """All that keeps the device from passing: blocked rows are no success."""
        return [row for row in self.rows if row.status not in TOLERATED]

    @property
    def passed(self) -> bool:
        return bool(self.rows) and not self.wrong and any(row.status in RIGHT for row in self.rows)

    def stages(self) -> dict[str, Counter[Status]]:
        """For each stage that has rows, how many there are of each status."""
        found = {stage: Counter(row.status for row in self.rows if row.stage == stage) for stage in STAGES}
        return {stage: counts for stage, counts in found.items() if counts}

    def reasons(self) -> dict[str, tuple[Status, set[str], set[str]]]:
        """By the reason that ops were not native: their way, the ops that it concerns, and those that rest on these."""
        found: dict[str, tuple[Status, set[str], set[str]]] = {}
        for row in self.kernels:
            if row.status in (Status.COMPOSED, Status.HOST, Status.XFAIL):
                parts = row.reason.split("; ")
                for reason in parts:
                    _, alone, others = found.setdefault(reason, (row.status, set(), set()))
                    (alone if len(parts) == 1 else others).add(primitive_of(row.op))
        return found

    def failures(self) -> list[Outcome]:
        """What failed, itself: not what was blocked by it."""
        return [row for row in self.wrong if row.status is not Status.BLOCKED]

    def as_json(self) -> str:
        summary = {"required": native_share(self.required), "primitives": native_share(self.kernels),
                   "functions": native_share(self.functions), "passed": self.passed}  # fmt: skip
        head = {"format": FORMAT, "device": self.device, "description": self.description, "summary": summary,
                "options": self.options, "seconds": round(self.seconds, 1), "versions": self.versions,
                "dtypes": self.dtypes, "hints": self.hints}  # fmt: skip
        rows = ",\n  ".join(json.dumps(row.as_dict()) for row in self.rows)
        return json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n  {rows}\n ]\n}}\n'

    @classmethod
    def read(cls, path: Path) -> "Card":
        """A card that was written as JSON; ValueError where it is none."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = found["format"]
            if known == FORMAT:
                return cls._of(found)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: no score of needle-conform ({one_line(error)})") from error
        raise ValueError(f"{path}: a score of format {known!r}, this is needle-conformance for {FORMAT}")

    @classmethod
    def _of(cls, found: dict[str, Any]) -> "Card":
        rows = [Outcome.from_dict(row) for row in found["rows"]]
        card = cls(found["device"], found["description"], rows, found["options"], found["seconds"], found["versions"],
                   found.get("dtypes", []), found.get("hints", []))  # fmt: skip
        wanted = {"device": str, "description": str, "options": dict, "seconds": int | float, "versions": dict,
                  "dtypes": list, "hints": list}  # fmt: skip
        for name, kind in wanted.items():
            if not isinstance(getattr(card, name), kind):
                raise TypeError(f"{name} is {getattr(card, name)!r}")
        return card


def primitive_of(op: str) -> str:
    """The primitive of which a row's op is a kind."""
    return BY_NAME[op].op if op in BY_NAME else op


def required_names() -> frozenset[str]:
    """The kernels and kinds of the ten required functions, as rows name them."""
    return frozenset(kernel.name for kernel in BY_NAME.values() if kernel.op in REQUIRED)


def native_share(rows: Iterable[Outcome]) -> float | None:
    """How much of the rows was native and right, of all that had something to compute; None of no rows."""
    counts = Counter(row.status for row in rows)
    total = counts.total() - counts[Status.VIEW]
    return counts[Status.NATIVE] / total if total else None


def percent(share: float | None) -> str:
    """Whole per cent, rounded down, so that 100 % means all of it."""
    return "none run" if share is None else f"{int(share * 100 + 1e-9)} %"


def versions() -> dict[str, str]:
    return {"needle-core": needle.__version__, "needle-conformance": needle_conformance.__version__,
            "numpy": np.__version__, "python": platform.python_version(), "platform": platform.platform()}  # fmt: skip

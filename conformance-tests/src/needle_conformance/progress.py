"""What happened so far, by device and stage: which stages failed, and what ran."""

from collections import Counter
from dataclasses import dataclass, field

from needle.device import Device
from needle.fallback import Fallback, fallbacks
from needle_conformance.plugin import STAGES

OUTCOMES = ("passed", "failed", "blocked", "xfailed", "skipped")


@dataclass
class Progress:
    """The devices under test, and the counts of outcomes."""

    devices: list[Device]
    counts: Counter[tuple[Device, str, str]] = field(default_factory=Counter)  # (device, stage, outcome)
    patterns: set[str] = field(default_factory=set)  # of expected failures that some test matches
    elsewhere: list[Fallback] = field(default_factory=list)  # what other processes of this run counted

    def note(self, device: Device, stage: str, outcome: str) -> None:
        self.counts[device, stage, outcome] += 1

    def count(self, device: Device, outcome: str, stage: str | None = None) -> int:
        return sum(n for (d, s, o), n in self.counts.items() if (d, o) == (device, outcome) and stage in (None, s))

    def blocker(self, device: Device, stage: str) -> str | None:
        """The first earlier stage in which the device failed."""
        earlier = STAGES[: STAGES.index(stage)]
        return next((s for s in earlier if self.count(device, "failed", s)), None)

    def idle(self) -> list[Device]:
        """Devices on which nothing passed or failed: that is no success."""
        ran = ("passed", "failed", "xfailed")
        return [d for d in self.devices if not any(self.count(d, outcome) for outcome in ran)]

    def complete(self) -> bool:
        """Whether each device was tested, and everything that was asked for ran."""
        return not self.idle() and not any(self.count(d, "blocked") for d in self.devices)

    def table(self, device: Device) -> list[str]:
        """One line for each stage that was asked for."""
        lines = []
        for stage in STAGES:
            found = [(n, o) for o in OUTCOMES if (n := self.count(device, o, stage))]
            if found:
                lines.append(f"  {stage:<10}" + ", ".join(f"{n} {outcome}" for n, outcome in found))
        return lines or ["  nothing ran"]

    def fallback_lines(self, device: Device) -> list[str]:
        """What the device does not have: for each reason, how the ops ran instead, and how often."""
        groups: dict[tuple[str, str], list[Fallback]] = {}
        for record in [*fallbacks(), *self.elsewhere]:
            if record.device is device:
                groups.setdefault((record.path, record.reason), []).append(record)
        lines = []
        for (path, reason), records in sorted(groups.items()):
            ops = ", ".join(sorted({r.op for r in records}))
            lines.append(f"  {path:<9}{reason}: {ops} ({sum(r.count for r in records)} times)")
        return lines or ["  every op ran natively"]

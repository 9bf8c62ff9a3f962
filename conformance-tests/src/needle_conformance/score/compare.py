"""Two scorecards of one device: what became better, what worse, and what is no longer tried."""

from collections import Counter
from dataclasses import dataclass

from needle_conformance.score.card import Card
from needle_conformance.score.status import Outcome, Status
from needle_conformance.score.tables import Cell, Table

_RANK = {Status.NATIVE: 0, Status.VIEW: 0, Status.PASS: 0, Status.COMPOSED: 1, Status.HOST: 2, Status.XFAIL: 3}
_SLOWER = 1.5  # of the times that are worth a line, on operands that are worth measuring
_WORTH = 1e-4  # seconds


@dataclass(frozen=True)
class Change:
    """One row that is not as it was."""

    old: Outcome | None
    new: Outcome | None

    @property
    def worse(self) -> bool:
        """Also where a row is gone: what does not run has not passed."""
        return self.new is None or (self.old is not None and _rank(self.new) > _rank(self.old))

    @property
    def about(self) -> tuple[str, str, str]:
        row = self.new or self.old
        assert row is not None
        before = self.old.status.value if self.old else "(new)"
        return row.op or row.id, before, self.new.status.value if self.new else "(gone)"


def _rank(row: Outcome) -> int:
    return _RANK.get(row.status, 4)


def changes(old: Card, new: Card) -> list[Change]:
    """Of the rows that both were asked for. A card of a part of the suite says nothing of the rest."""
    before, after = {row.id: row for row in old.rows}, {row.id: row for row in new.rows}
    same_part = old.options == new.options
    found = [Change(before[i], row) for i, row in after.items() if i in before and _rank(before[i]) != _rank(row)]
    if same_part:
        found += [Change(None, row) for i, row in after.items() if i not in before]
        found += [Change(row, None) for i, row in before.items() if i not in after]
    return found


def table(found: list[Change]) -> Table:
    """The changes, those of one op and kind in a line."""
    counts = Counter((change.worse, *change.about) for change in found)
    rows = [
        [Cell("worse" if worse else "better", Status.FAIL if worse else Status.NATIVE), Cell(op), Cell(before),
         Cell(after), Cell(str(n))]
        for (worse, op, before, after), n in sorted(counts.items(), key=lambda item: (not item[0][0], item[0]))
    ]  # fmt: skip
    return Table("Changes", ["", "op", "before", "now", "rows"], rows)


def slower(old: Card, new: Card) -> Table:
    """What takes half as long again as it did, and more."""
    before = {row.id: row.seconds for row in old.kernels if row.seconds > _WORTH}
    rows = [
        [Cell(row.op), Cell(row.dtype), Cell(row.layout), Cell(f"{row.seconds / before[row.id]:.1f} times")]
        for row in new.kernels
        if row.id in before and row.seconds > _SLOWER * before[row.id]
    ]
    return Table("Slower than before", ["op", "dtype", "layout", "the time"], rows)

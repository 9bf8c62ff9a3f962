"""What a scorecard shows, as tables that the terminal, Markdown and HTML render each in their way."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from needle.dtype import DTYPES
from needle_conformance.score.card import Card, native_share, percent, primitive_of
from needle_conformance.score.status import ORDER, Outcome, Status


@dataclass(frozen=True)
class Cell:
    """A text, and the status by which it is coloured."""

    text: str
    status: Status | None = None


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


def headline(card: Card) -> str:
    """The score in a line."""
    verdict = "passed" if card.passed else f"NOT PASSED: {len(card.wrong):,} of {len(card.rows):,} rows"
    shares = (("the required ten", card.required), ("all primitives", card.kernels), ("functions", card.functions))
    told = [f"{name} {percent(native_share(rows))}" for name, rows in shares if rows]
    return "; ".join([verdict, *([f"native: {', '.join(told)}"] if told else [])])


def left_out(card: Card) -> str:
    """What of the suite was not asked for, so that nobody takes a part for the whole."""
    parts = {"quick": "few dtypes and layouts (--quick)", "only": "--only", "stages": "--stage",
             "keep_going": "with --keep-going"}  # fmt: skip
    told = [f"{text} {', '.join(value)}" if isinstance(value := card.options[key], list | tuple) else text
            for key, text in parts.items() if card.options.get(key)]  # fmt: skip
    if card.options.get("quick") and card.untried:
        told.append(f"{len(card.untried)} dtypes not tried ({', '.join(card.untried)})")
    return f"a part of the suite: {'; '.join(told)}" if told else ""


def stages(card: Card) -> Table:
    """The count of each status in each stage."""
    found = card.stages()
    present = [s for s in ORDER if any(counts[s] for counts in found.values())]
    rows = [[Cell(stage), *(Cell(f"{counts[s]:,}" if counts[s] else "", s) for s in present)]
            for stage, counts in found.items()]  # fmt: skip
    return Table("Stages", ["stage", *present], rows)


def summary(rows: Iterable[Outcome]) -> Cell:
    """Some rows in a cell: their status, or how many of them have the worst."""
    counts = Counter(row.status for row in rows)
    if not counts:
        return Cell("")
    worst = max(counts, key=ORDER.index)
    total = counts.total()
    return Cell(worst.value if counts[worst] == total else f"{worst.value} {counts[worst]}/{total}", worst)


def primitives(card: Card) -> Table:
    """Each primitive and kind in each dtype, over all layouts; kinds that are alike stand in one line."""
    lines, blocked = _not_blocked(_by_dtype(card.kernels))
    groups: dict[tuple[object, ...], list[str]] = {}
    for op, cells in lines.items():
        groups.setdefault((primitive_of(op), *cells.items()), []).append(op)
    dtypes = _dtypes(card.kernels)
    rows = [[Cell(_label(str(key[0]), ops)), *(lines[ops[0]].get(d, Cell("")) for d in dtypes)]
            for key, ops in groups.items()]  # fmt: skip
    note = "Each cell sums up all layouts: the worst status, and how many of them have it."
    note += f" {blocked} ops were blocked." if blocked else ""
    return Table("Primitives of the protocol", ["op", *dtypes], rows, note)


def _not_blocked(lines: dict[str, dict[str, Cell]]) -> tuple[dict[str, dict[str, Cell]], int]:
    """The ops of which anything ran, and how many there are besides."""
    ran = {op: cells for op, cells in lines.items() if any(c.text != Status.BLOCKED.value for c in cells.values())}
    return ran, len(lines) - len(ran)


def _label(primitive: str, ops: list[str]) -> str:
    if len(ops) <= 3:
        return ", ".join(ops)
    return f"{primitive}: {', '.join(ops[:2])} and {len(ops) - 2} more"


def functions(card: Card) -> Table:
    """Each function of Needle in each dtype."""
    lines, dtypes = _by_dtype(card.functions), _dtypes(card.functions)
    rows = [[Cell(op), *(cells.get(d, Cell("")) for d in dtypes)] for op, cells in lines.items()]
    return Table("Functions of Needle", ["function", *dtypes], rows)


def _by_dtype(rows: list[Outcome]) -> dict[str, dict[str, Cell]]:
    found: dict[str, dict[str, list[Outcome]]] = {}
    for row in rows:
        found.setdefault(row.op, {}).setdefault(row.dtype, []).append(row)
    return {op: {dtype: summary(some) for dtype, some in cells.items()} for op, cells in found.items()}


def _dtypes(rows: list[Outcome]) -> list[str]:
    present = {row.dtype for row in rows}
    return [str(d) for d in DTYPES if d in present]


def layouts(card: Card, op: str) -> Table:
    """One primitive in each dtype and layout."""
    rows = [row for row in card.kernels if row.op == op]
    names, dtypes = list(dict.fromkeys(row.layout for row in rows)), _dtypes(rows)
    at = {(row.layout, row.dtype): Cell(row.status.value, row.status) for row in rows}
    return Table(op, ["layout", *dtypes], [[Cell(n), *(at.get((n, d), Cell("")) for d in dtypes)] for n in names])


def reasons(card: Card) -> Table:
    """Why ops were not native: the reasons that concern most of them first."""
    found = sorted(card.reasons().items(), key=lambda item: (-len(item[1][1] | item[1][2]), item[0]))
    rows = [
        [Cell(way.value, way), Cell(reason), Cell(_concerned(alone, others))] for reason, (way, alone, others) in found
    ]
    return Table("What was not native, and why", ["way", "reason", "ops"], rows)


def _concerned(alone: set[str], others: set[str]) -> str:
    resting = f"{len(others - alone)} more that rest on it" if others - alone else ""
    return ", and ".join(part for part in (", ".join(sorted(alone)), resting) if part)


def speed(card: Card) -> Table:
    """Each primitive in each dtype on its largest operands: the time of the row's calls, against the reference."""
    largest: dict[tuple[str, str], Outcome] = {}
    for row in card.kernels:
        key = (row.op, row.dtype)
        if row.seconds and (key not in largest or row.bytes > largest[key].bytes):
            largest[key] = row
    rows = [
        [Cell(row.op), Cell(row.dtype), Cell(row.layout), Cell(row.status.value, row.status), Cell(_time(row.seconds)),
         Cell(_time(row.reference_seconds)), Cell(f"{row.reference_seconds / row.seconds:.2f}"), Cell(size(row.bytes)),
         Cell(f"{row.bytes / row.seconds / 1e9:.2f}"), Cell(size(row.moved))]
        for row in largest.values()
    ]  # fmt: skip
    columns = ["op", "dtype", "layout", "way", "time", "reference", "speed-up", "bytes", "GB/s", "moved"]
    note = ("Times of all calls of a row, the best of some runs; the reference is NumPy on the host. 'bytes' were read "
            "and written by the ops, 'moved' was copied from and to the device by fallbacks.")  # fmt: skip
    return Table("Speed against the reference", columns, rows, note)


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B" if count else ""

"""The scorecard as one HTML page that needs nothing else."""

from html import escape

from needle_conformance.score import tables
from needle_conformance.score.badge import svg
from needle_conformance.score.card import Card
from needle_conformance.score.status import Outcome
from needle_conformance.score.tables import Cell, Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; color: #1f2328; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; } small, .note { color: #59636e; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: 3px 9px; border: 1px solid #d1d9e0; }
th { background: #f6f8fa; text-align: left; position: sticky; top: 0; } td { vertical-align: top; }
.scroll { overflow-x: auto; } pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; font-size: 12.5px; }
details { margin: .25rem 0; } summary { cursor: pointer; } .verdict { font-weight: 600; padding: .6rem 1rem; }
.NATIVE, .PASS, .VIEW { background: #dafbe1; } .COMPOSED { background: #ddf4ff; } .HOST { background: #fff8c5; }
.XFAIL { background: #fbefff; } .FAIL, .XPASS, .CRASH, .TIMEOUT { background: #ffcecb; } .BLOCKED { color: #818b98; }
"""
_MEANINGS = (
    "NATIVE: by the backend's own function. COMPOSED: made of other functions of the device. HOST: computed by the "
    "reference, on copies. VIEW: nothing to compute. XFAIL: wrong, as the backend's profile says. FAIL: wrong. XPASS: "
    "right, though the profile says wrong. CRASH, TIMEOUT: the process died, or did not answer. BLOCKED: not run."
)


def page(card: Card) -> str:
    verdict = "NATIVE" if card.passed else "FAIL"
    about = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    parts = [
        f"<h1>{escape(card.device)} {svg(card)}</h1><p>{escape(card.description)}</p>",
        f'<p class="verdict {verdict}">{escape(tables.headline(card))}</p>',
        f"<p>{escape(tables.left_out(card))}</p>" if tables.left_out(card) else "",
        *(f"<p>hint: {escape(hint)}</p>" for hint in card.hints),
        _section(tables.stages(card)),
        f'<p class="note">{_MEANINGS}</p>',
        _failures(card.failures()),
        _section(tables.primitives(card)),
        _layouts(card),
        _section(tables.reasons(card)),
        _section(tables.functions(card), folded=True),
        _section(tables.speed(card), folded=True),
        f"<p><small>{escape(about)}; {card.seconds:.0f} s</small></p>",
    ]
    body = "\n".join(part for part in parts if part)
    title = f"{escape(card.device)}: needle conformance"
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _section(table: Table, folded: bool = False) -> str:
    if not table.rows:
        return ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    shown = _fold(f"{len(table.rows)} rows", _table(table)) if folded else _table(table)
    return f"<h2>{escape(table.title)}</h2>{note}{shown}"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _cell(cell: Cell) -> str:
    marked = f' class="{cell.status.value}"' if cell.status and cell.text else ""
    return f"<td{marked}>{escape(cell.text)}</td>"


def _fold(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _layouts(card: Card) -> str:
    """Each primitive by dtype and layout, folded away."""
    ops = list(dict.fromkeys(row.op for row in card.kernels))
    return "<h2>By layout</h2>" + "\n".join(_fold(op, _table(tables.layouts(card, op))) for op in ops) if ops else ""


def _failures(found: list[Outcome]) -> str:
    if not found:
        return ""
    shown = [
        _fold(f"{row.status.value} {row.id}: {row.reason}",
              f"<pre>{escape(row.message)}</pre>" + (f"<pre>{escape(row.script)}</pre>" if row.script else ""))
        for row in found[:200]
    ]  # fmt: skip
    more = f"<p>and {len(found) - 200:,} more, in the JSON</p>" if len(found) > 200 else ""
    return "<h2>Failures</h2>" + "\n".join(shown) + more

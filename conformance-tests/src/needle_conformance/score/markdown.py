"""The scorecard as Markdown, for a README or a pull request."""

from needle_conformance.score import tables
from needle_conformance.score.card import Card
from needle_conformance.score.tables import Table


def page(card: Card) -> str:
    about = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    parts = [
        f"# {card.device}: {card.description}",
        f"**{tables.headline(card)}**",
        tables.left_out(card),
        "\n".join(f"- hint: {_cell(hint)}" for hint in card.hints),
        *(_table(t) for t in (tables.stages(card), tables.primitives(card), tables.reasons(card),
                              tables.functions(card), tables.speed(card)) if t.rows),
        _failures(card),
        f"{about}; {card.seconds:.0f} s",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> str:
    lines = [f"| {' | '.join(table.columns)} |", f"|{'---|' * len(table.columns)}"]
    lines += [f"| {' | '.join(_cell(cell.text) for cell in row)} |" for row in table.rows]
    return f"## {table.title}\n\n" + (f"{table.note}\n\n" if table.note else "") + "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _failures(card: Card) -> str:
    found = card.failures()
    if not found:
        return ""
    lines = [f"- {row.status.value} `{row.id}`: {_cell(row.reason)}" for row in found[:50]]
    more = f"\n- and {len(found) - 50} more" if len(found) > 50 else ""
    return "## Failures\n\n" + "\n".join(lines) + more + f"\n\n```python\n{found[0].script}\n```"

"""The reports of a score, and the comparison of two."""

import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from conftest import Here
from rich.console import Console

from needle_conformance.score import badge, compare, html, markdown, tables, terminal
from needle_conformance.score.card import Card, native_share, percent
from needle_conformance.score.status import Outcome, Status


@pytest.fixture(scope="module")
def card() -> Card:
    """A card with every status."""
    rows = [
        Outcome(f"kernels/kernel/{op}[float32-{layout}]", "kernels", op, "float32", layout, status, f"because {status}",
                "first <line>\nsecond | line", "print('again')" if status is Status.FAIL else "", 2e-6, 5e-6, 1200, 80)
        for op, layout, status in [
            ("exp", "compact", Status.NATIVE), ("exp", "permuted", Status.HOST), ("exp", "large", Status.FAIL),
            ("add", "compact", Status.NATIVE), ("add", "permuted", Status.NATIVE), ("sub", "compact", Status.COMPOSED),
            ("mul", "compact", Status.XFAIL), ("div", "compact", Status.CRASH), ("pow", "compact", Status.TIMEOUT),
            ("neg", "compact", Status.XPASS), ("abs", "compact", Status.BLOCKED),
        ]
    ]  # fmt: skip
    rows += [Outcome("metadata/info", "metadata", "", "", "", Status.PASS),
             Outcome("ops/values/T[float32-compact]", "ops", "T", "float32", "compact", Status.VIEW)]  # fmt: skip
    return Card("foo", "a <device>", rows, {"quick": True}, 1.5, {"needle-core": "0.1"})


def test_shares() -> None:
    """Only what is native and right counts; a view is neither here nor there; all of it is 100 %, and only that."""

    def rows(*statuses: Status) -> list[Outcome]:
        return [Outcome("", "kernels", "exp", "", "", status) for status in statuses]

    assert native_share(rows(Status.NATIVE, Status.HOST, Status.VIEW, Status.BLOCKED, Status.FAIL)) == 1 / 4
    assert native_share(rows(Status.VIEW)) is None
    assert percent(native_share(rows(*[Status.NATIVE] * 999, Status.COMPOSED))) == "99 %"
    assert percent(native_share(rows(*[Status.NATIVE] * 7))) == "100 %"
    assert percent(0.29) == "29 %"
    assert percent(None) == "none run"


def test_headline(card: Card) -> None:
    assert tables.headline(card) == (
        "NOT PASSED: 5 of 13 rows; native: the required ten 27 %, all primitives 27 %, functions none run"
    )
    assert tables.left_out(card) == "a part of the suite: few dtypes and layouts (--quick)"


def test_headline_of_a_part() -> None:
    """Shares only of what was asked for, and the dtypes that were not."""
    row = Outcome("metadata/info", "metadata", "", "", "", Status.PASS)
    assert tables.headline(Card("foo", "", [row], {"stages": ["metadata"]})) == "passed"
    row = Outcome("kernels/kernel/exp[float32-compact]", "kernels", "exp", "float32", "compact", Status.NATIVE)
    card = Card("foo", "", [row], {"quick": True}, dtypes=["bool", "float16", "float32"])
    assert tables.left_out(card).endswith("few dtypes and layouts (--quick); 2 dtypes not tried (bool, float16)")
    assert "not tried" not in tables.left_out(Card("foo", "", [row], {"quick": True}, dtypes=["float32"]))
    assert tables.left_out(Card("foo", "", [row], dtypes=["bool"])) == ""


def test_hints(card: Card) -> None:
    """They are in every report, and survive in JSON."""
    with_hint = replace(card, hints=["Foo.matmull is <no> function"])
    out = Console(record=True, width=140, file=io.StringIO())
    terminal.print_card(out, with_hint, "support", failures=0)
    assert "hint: Foo.matmull is <no> function" in out.export_text()
    assert "hint: Foo.matmull is <no> function" in markdown.page(with_hint)
    assert "hint: Foo.matmull is &lt;no&gt; function" in html.page(with_hint)
    assert '"Foo.matmull is <no> function"' in with_hint.as_json()
    assert "hint" not in markdown.page(card)


def test_cells(card: Card) -> None:
    """A cell tells the worst of its layouts, and kinds that are alike share a line."""
    lines = {row[0].text: row[1].text for row in tables.primitives(card).rows}
    assert "abs" not in lines
    assert tables.primitives(card).note.endswith("1 ops were blocked.")
    assert lines["exp"] == "FAIL 1/3"
    assert lines["add"] == "NATIVE"
    reasons = {row[1].text: (row[0].text, row[2].text) for row in tables.reasons(card).rows}
    assert reasons["because HOST"] == ("HOST", "unary")
    [speed] = [row for row in tables.speed(card).rows if row[0].text == "add"]
    assert [cell.text for cell in speed][3:] == ["NATIVE", "2 µs", "5 µs", "2.50", "1.2 kB", "0.60", "80 B"]


def test_terminal(card: Card) -> None:
    out = Console(record=True, width=140, file=io.StringIO())
    for view in terminal.VIEWS:
        terminal.print_card(out, card, view, failures=1)
    text = out.export_text()
    assert text.count("NOT PASSED: 5 of 13 rows") == 3
    assert "print('again')" in text
    assert "and 2 more failures" in text
    assert all(status.value in text for status in Status)


class _Page(HTMLParser):
    """Which tags are open, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None: ...

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html(card: Card) -> None:
    """One page with nothing from elsewhere, whose tags are closed and whose text is escaped."""
    page = html.page(card)
    parser = _Page()
    parser.feed(page)
    assert parser.open == []
    assert "a <device>" in parser.text
    assert "first <line>" in parser.text
    assert not re.findall(r"(?:src|href)=", page)
    assert all(f'class="{status.value}"' in page for status in Status)


def test_markdown(card: Card) -> None:
    """Every row of a table has its head's columns."""
    text = markdown.page(card)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "- FAIL `kernels/kernel/exp[float32-large]`: because FAIL" in text


@pytest.mark.parametrize(("status", "said"), [
    (Status.NATIVE, "required 100 %, all 100 % native"), (Status.HOST, "required 0 %, all 0 % native"),
    (Status.FAIL, "failing"), (Status.BLOCKED, "failing"),
])  # fmt: skip
def test_badge(status: Status, said: str) -> None:
    card = Card("foo", "", [Outcome("x", "kernels", "exp", "float32", "compact", status)])
    assert badge.text(card) == said
    assert said in ElementTree.fromstring(badge.svg(card)).attrib["aria-label"]
    assert badge.text(Card("foo", "", [])) == "failing"


@pytest.mark.parametrize(("options", "said"), [
    ({}, "required"), ({"keep_going": True}, "required"), ({"quick": True}, "quick: required"),
    ({"stages": ["ops"]}, "part: required"), ({"only": ["exp"], "quick": True}, "part: required"),
])  # fmt: skip
def test_a_badge_of_a_part_says_so(options: dict[str, object], said: str) -> None:
    card = Card("foo", "", [Outcome("x", "kernels", "exp", "float32", "compact", Status.NATIVE)], options)
    assert badge.text(card) == f"{said} 100 %, all 100 % native"


def test_compare(here: Here) -> None:
    """Worse is what fell back, failed or is gone; better what is native now."""
    before, now = here("memory", "exp", "tanh"), here("required", "exp", "tanh")
    found = compare.changes(before, now)
    assert {(c.about[1], c.about[2], c.worse) for c in found} >= {("HOST", "NATIVE", False), ("HOST", "(gone)", True),
                                                                  ("(new)", "NATIVE", False)}  # fmt: skip
    assert {(c.about[1], c.about[2]) for c in compare.changes(now, before) if c.worse} >= {("NATIVE", "HOST")}
    assert compare.changes(now, now) == []
    part = here("required", "exp")
    assert compare.changes(now, part) == []
    assert compare.table(found).rows[0][0].text == "worse"

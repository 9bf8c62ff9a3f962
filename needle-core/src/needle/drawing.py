"""Drawings of graphs: boxes and arrows, as SVG and as DOT; by Graphviz, if it is installed, in all its formats."""

import math
import shutil
import subprocess
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from itertools import pairwise
from pathlib import Path

from needle.errors import KernelError, UnsupportedError
from needle.layering import Arrow, Point, arrange

_FONT, _FONT_SIZE, _LETTER = "DejaVu Sans Mono, Menlo, Consolas, monospace", 12.0, 7.3  # letter: its width
_LINE, _PADDING, _MARGIN = 16.0, 9.0, 16.0
_INK, _FAINT = "#24292f", "#6e7781"


class Role(Enum):
    """What a box stands for; the values are its fill and its border."""

    OP = ("#ffffff", "#8c959f")
    LEAF = ("#ddf4e4", "#2da44e")
    CONSTANT = ("#f6f8fa", "#afb8c1")


class Health(Enum):
    """How a gradient does; the values are the fill and the border of its box, and its name."""

    VANISHING = ("#b6dcff", "#0969da", "vanishing")
    EXPLODING = ("#ffc1ba", "#cf222e", "exploding")
    BROKEN = ("#d8b9ff", "#8250df", "infinite or NaN")


@dataclass(frozen=True)
class Box:
    """A function or a value: what it is, its shape and type, what else can be told of it, its gradient's norm."""

    title: str
    detail: str
    role: Role
    tip: str = ""
    norm: float | None = None

    def lines(self) -> list[str]:
        return [self.title, self.detail] + ([] if self.norm is None else [f"|grad| {self.norm:.3g}"])


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows between them by number. Norms below `vanishing` and above `exploding` are coloured."""

    boxes: list[Box]
    arrows: list[Arrow] = field(default_factory=list)
    vanishing: float = 1e-5
    exploding: float = 1e3

    def health(self, box: Box) -> Health | None:
        """None for a gradient as it should be, and where there is none."""
        if box.norm is None or self.vanishing <= box.norm <= self.exploding:
            return None
        if not math.isfinite(box.norm):
            return Health.BROKEN
        return Health.VANISHING if box.norm < self.vanishing else Health.EXPLODING

    def colours(self, box: Box) -> tuple[str, str]:
        """Fill and border."""
        health = self.health(box)
        return box.role.value if health is None else health.value[:2]

    def legend(self) -> list[tuple[Health, str]]:
        """What the colours of gradients mean, where there are gradients."""
        if all(box.norm is None for box in self.boxes):
            return []
        limits = {Health.VANISHING: f" below {self.vanishing:g}", Health.EXPLODING: f" above {self.exploding:g}"}
        return [(health, f"{health.value[2]}{limits.get(health, '')}") for health in Health]


def to_dot(picture: Picture) -> str:
    """The picture in Graphviz's language."""
    lines = [
        "digraph needle {",
        '  graph [rankdir=TB, nodesep=0.3, ranksep=0.4, fontname="DejaVu Sans Mono", fontsize=10, labelloc=b];',
        '  node [shape=box, style=filled, fontname="DejaVu Sans Mono", fontsize=10, margin="0.12,0.06"];',
        f'  edge [color="{_FAINT}", arrowsize=0.6];',
    ]
    for number, box in enumerate(picture.boxes):
        fill, border = picture.colours(box)
        style = {Role.OP: "filled", Role.LEAF: "filled,rounded", Role.CONSTANT: "filled,dashed"}[box.role]
        label = "\\n".join(map(_quoted, box.lines()))
        lines.append(
            f'  n{number} [label="{label}", tooltip="{_quoted(box.tip)}", style="{style}", '
            f'fillcolor="{fill}", color="{border}"];'
        )
    lines += [f"  n{start} -> n{end};" for start, end in picture.arrows]
    if legend := picture.legend():
        cells = "".join(
            f'<td bgcolor="{health.value[0]}" width="14"></td><td>{escape(text)}</td>' for health, text in legend
        )
        lines.append(f'  label=<<table border="0"><tr><td>|grad|</td>{cells}</tr></table>>;')
    return "\n".join([*lines, "}", ""])


def save(picture: Picture, path: Path) -> None:
    """Write .svg or .dot; with Graphviz also .png, .pdf and whatever else it can write."""
    kind = path.suffix.removeprefix(".").lower()
    if kind == "svg":
        path.write_text(to_svg(picture))
    elif kind in ("dot", "gv"):
        path.write_text(to_dot(picture))
    else:
        path.write_bytes(render(picture, kind))


def render(picture: Picture, kind: str) -> bytes:
    """The picture as Graphviz writes it in one of its formats."""
    program = shutil.which("dot")
    if program is None:
        raise UnsupportedError(f"draw: .{kind} needs Graphviz, which is not installed; .svg and .dot do not")
    done = subprocess.run([program, f"-T{kind}"], input=to_dot(picture).encode(), capture_output=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise KernelError("draw", f"Graphviz cannot write .{kind}: {reason}")
    return done.stdout


def to_svg(picture: Picture) -> str:
    """The picture as SVG, laid out by ourselves, so that it is the same everywhere."""
    sizes = [_size(box) for box in picture.boxes]
    places = arrange(sizes, picture.arrows)
    legend = picture.legend()
    width = max(places.size[0], sum(_entry_width(text) for _, text in legend)) + 2 * _MARGIN
    height = places.size[1] + 2 * _MARGIN + (2.5 * _LINE if legend else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{_FONT}" font-size="{_FONT_SIZE:g}">',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="{_FAINT}"/></marker></defs>',
        f'<rect width="100%" height="100%" fill="white"/><g transform="translate({_MARGIN:g} {_MARGIN:g})">',
        *(_arrow_svg(route) for route in places.routes),
        *(
            _box_svg(box, centre, size, *picture.colours(box))
            for box, centre, size in zip(picture.boxes, places.centres, sizes, strict=True)
        ),
        *_legend_svg(legend, places.size[1] + 1.5 * _LINE),
    ]
    return "\n".join([*parts, "</g></svg>", ""])


def _size(box: Box) -> tuple[float, float]:
    lines = box.lines()
    return max(map(len, lines)) * _LETTER + 2 * _PADDING, len(lines) * _LINE + 1.2 * _PADDING


def _box_svg(box: Box, centre: Point, size: tuple[float, float], fill: str, border: str) -> str:
    (x, y), (width, height) = centre, size
    radius = height / 2.2 if box.role is Role.LEAF else 3
    dashes = ' stroke-dasharray="4 3"' if box.role is Role.CONSTANT else ""
    top = y - (len(box.lines()) - 1) * _LINE / 2 + _FONT_SIZE * 0.36
    styles = [f'font-weight="bold" fill="{_INK}"', f'fill="{_FAINT}"', f'fill="{_INK}"']
    texts = [
        f'<text x="{x:.1f}" y="{top + k * _LINE:.1f}" text-anchor="middle" {style}>{escape(line)}</text>'
        for k, (line, style) in enumerate(zip(box.lines(), styles, strict=False))
    ]
    return (
        f'<g><title>{escape(box.tip)}</title><rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" rx="{radius:.1f}" fill="{fill}" stroke="{border}"{dashes}/>'
        f"{''.join(texts)}</g>"
    )


def _arrow_svg(route: list[Point]) -> str:
    """Straight through layers, between them in a curve that leaves and arrives upright."""
    path = [f"M{route[0][0]:.1f} {route[0][1]:.1f}"]
    for k, ((x, y), (to_x, to_y)) in enumerate(pairwise(route)):
        middle = (y + to_y) / 2
        bend = f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
        path.append(bend if k % 2 == 0 else f"L{to_x:.1f} {to_y:.1f}")
    return f'<path d="{" ".join(path)}" fill="none" stroke="{_FAINT}" marker-end="url(#tip)"/>'


def _legend_svg(legend: list[tuple[Health, str]], y: float) -> list[str]:
    parts, x = [], 0.0
    for health, text in legend:
        fill, border, _ = health.value
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="13" height="13" rx="2" fill="{fill}" stroke="{border}"/>'
            f'<text x="{x + 20:.1f}" y="{y + 1:.1f}" fill="{_FAINT}">{escape(text)}</text>'
        )
        x += _entry_width(text)
    return parts


def _entry_width(text: str) -> float:
    return 20 + len(text) * _LETTER + 24


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

"""The scorecard as a badge: an SVG of two words."""

from html import escape

from needle_conformance.score.card import Card, native_share, percent

_CHARACTER = 6.6  # the width of one at this size, on the average
_LABEL = "needle"
_GREEN, _BLUE, _RED = "#2da44e", "#0969da", "#cf222e"


def text(card: Card) -> str:
    """What the badge says; of a part of the suite it says that too."""
    if not card.passed:
        return "failing"
    part = "part: " if {"only", "stages"} & card.options.keys() else "quick: " if "quick" in card.options else ""
    required, every = percent(native_share(card.required)), percent(native_share(card.kernels))
    return f"{part}required {required}, all {every} native"


def svg(card: Card) -> str:
    said = text(card)
    complete = native_share(card.required) == 1.0
    colour = _RED if said == "failing" else _GREEN if complete else _BLUE
    left, right = (round(_CHARACTER * len(t)) + 14 for t in (_LABEL, said))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" \
aria-label="{_LABEL}: {escape(said)}">
  <title>{_LABEL}: {escape(said)}</title>
  <rect width="{left + right}" height="20" rx="4" fill="{colour}"/>
  <path d="M4 0h{left - 4}v20h-{left - 4}a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z" fill="#57606a"/>
  <g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">
    <text x="{left / 2}" y="14">{_LABEL}</text>
    <text x="{left + right / 2}" y="14">{escape(said)}</text>
  </g>
</svg>
"""

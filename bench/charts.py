"""Grouped bar charts, as the benchmark notebook draws them: a group of bars for each work, a colour for each rival."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("agg")
import matplotlib.pyplot as plt

from bench.race import Lap
from bench.report import Row, means

COLORS = {"torch cpu": "#1f77b4", "torch mps": "#ff7f0e", "needle cpu": "#2ca02c", "needle msl": "#d62728",
          "needle mps": "#9467bd", "torch cuda": "#1f77b4", "needle cuda": "#76b900",
          "needle numpy": "#7f7f7f"}  # fmt: skip
FILL = 0.8  # of a group's width


def draw(rows: list[Row], folder: Path, stem: str, title: str) -> list[Path]:
    """One picture per group of works, and one of the groups' mean ratios."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for group in dict.fromkeys(row.group for row in rows):
        path = folder / f"{stem}-{group.replace(',', '').replace(' ', '-').lower()}.png"
        times(group, [row for row in rows if row.group == group], title, path)
        paths.append(path)
    if rows and len(rows[0].laps) > 1:
        paths.append(folder / f"{stem}-ratios.png")
        ratios(means(rows), rows[0].laps[1].rival, title, paths[-1])
    return paths


def times(group: str, rows: list[Row], title: str, path: Path) -> None:
    """The medians of each work side by side; logarithmic where works differ much."""
    rivals = [lap.rival for lap in rows[0].laps]
    values = np.array([[lap.median * 1e3 for lap in row.laps] for row in rows])
    width, places = FILL / len(rivals), np.arange(len(rows))
    figure, axes = plt.subplots(figsize=(max(6, 2 + 0.75 * len(rows)), 5.5))
    for i, rival in enumerate(rivals):
        bars = axes.bar(places + (i - (len(rivals) - 1) / 2) * width, values[:, i], width, label=rival,
                        color=COLORS.get(rival))  # fmt: skip
        if i == 0 and len(rivals) > 1:
            axes.bar_label(bars, [f"{row.ratio():.2f}x" for row in rows], padding=2, fontsize=8)
    if values.max() > 20 * values.min():
        axes.set_yscale("log")
    axes.set_xticks(places, [row.name for row in rows], rotation=40, ha="right", fontsize=8)
    axes.set_ylabel("median time (ms)")
    note = f"\n(on the bars: Needle's time / {rivals[1]}'s)" if len(rivals) > 1 else ""
    axes.set_title(f"{group}: {title}{note}", fontsize=10)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=values.min() / 2 if axes.get_yscale() == "log" else 0)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def compared(group: str, rows: list[tuple[str, list[Lap]]], title: str, path: Path) -> None:
    """The times of any number of rivals side by side, as shares of the best of PyTorch's."""
    rivals = [lap.rival for lap in rows[0][1]]
    values = np.array([[lap.median for lap in laps] for _, laps in rows])
    theirs = [i for i, rival in enumerate(rivals) if rival.startswith("torch")]
    values /= values[:, theirs].min(axis=1, keepdims=True)
    width, places = FILL / len(rivals), np.arange(len(rows))
    figure, axes = plt.subplots(figsize=(max(6, 2 + 1.1 * len(rows)), 5))
    for i, rival in enumerate(rivals):
        bars = axes.bar(places + (i - (len(rivals) - 1) / 2) * width, values[:, i], width, label=rival)
        axes.bar_label(bars, [f"{value:.2f}" for value in values[:, i]], padding=2, fontsize=7)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(places, [name for name, _ in rows], rotation=30, ha="right", fontsize=8)
    axes.set_ylabel("time / best of PyTorch's")
    axes.set_title(f"{group}: {title}", fontsize=10)
    axes.margins(y=0.1)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # within, it would cover bars
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def ratios(values: dict[str, float], rival: str, title: str, path: Path) -> None:
    """The geometric mean of each group's ratios; left of the line Needle is faster."""
    names, numbers = list(values)[::-1], list(values.values())[::-1]
    figure, axes = plt.subplots(figsize=(8, 1.5 + 0.35 * len(names)))
    bars = axes.barh(names, numbers, color=["#2ca02c" if n <= 1 else "#d62728" for n in numbers])
    axes.bar_label(bars, [f"{n:.2f}" for n in numbers], padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel(f"Needle's time / {rival}'s time, geometric mean")
    axes.set_title(title, fontsize=10)
    axes.margins(x=0.1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)

"""The curves of a run, drawn by Matplotlib if it is installed."""

from io import BytesIO
from pathlib import Path
from typing import Any

from needle_nn.files import write_atomically
from needle_nn.train.recipe import Measure

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError:  # the extra `train` is not installed
    Figure = None  # type: ignore[assignment,misc]

_TRAIN, _TEST, _LINE = "#9aa5b1", "#1f6feb", "#8250df"
_INK, _GRID = "#24292f", "#d0d7de"

History = list[dict[str, Any]]


def draw(path: Path, title: str, history: History, measure: Measure, unit: str) -> bool:
    """Write the picture; False if Matplotlib is missing.

    Loss and measure by epoch; below them learning rate and norm of the gradient by step, where norms were computed.
    """
    if Figure is None:
        return False
    steps = any("gradient_norm" in row["steps"] for row in history)
    figure = Figure(figsize=(9.6, 6.8 if steps else 4.0), dpi=150, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    panels = figure.subplots(2 if steps else 1, 2, squeeze=False)
    loss, measured = panels[0]
    _epochs(loss, history, ("loss", "test_loss"), f"loss ({unit})", 1.0, "{:.4f}")
    form = measure.form.replace(":7", ":").replace(":8", ":")
    keys = (f"train_{measure.name}", f"test_{measure.name}")
    _epochs(measured, history, keys, measure.label, measure.scale, form)
    if steps:
        rate, norm = panels[1]
        _rates(rate, history)
        _norms(norm, history)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())
    return True


def _epochs(axes: Any, history: History, keys: tuple[str, str], label: str, scale: float, form: str) -> None:
    """A value after each epoch, in training and test."""
    epochs = [row["epoch"] for row in history]
    for key, name, color in zip(keys, ("train", "test"), (_TRAIN, _TEST), strict=True):
        values = [row[key] * scale for row in history]
        last = f"{name} {form.format(history[-1][key])}"
        axes.plot(epochs, values, color=color, linewidth=2, marker="o", markersize=3.5, label=last)
    axes.legend(frameon=False, loc="best")
    _dress(axes, label)


def _rates(axes: Any, history: History) -> None:
    axes.plot(*_points(history, "lr"), color=_LINE, linewidth=2)
    axes.ticklabel_format(axis="y", scilimits=(-2, 3), useMathText=True)
    axes.set_ylim(bottom=0)
    _dress(axes, "learning rate")


def _norms(axes: Any, history: History) -> None:
    """On a logarithmic axis: gradients vanish and explode by powers of ten."""
    times, means = _points(history, "gradient_norm")
    (_, least), (_, largest) = (_points(history, f"gradient_norm_{which}") for which in ("least", "largest"))
    axes.fill_between(times, least, largest, color=_LINE, alpha=0.18, linewidth=0, label="least to largest")
    axes.plot(times, means, color=_LINE, linewidth=1.5, label=f"mean, {means[-1]:.3g} at the end")
    axes.set_yscale("log")
    axes.legend(frameon=False, loc="best")
    _dress(axes, "norm of the gradient")


def _points(history: History, key: str) -> tuple[list[float], list[float]]:
    """Times in epochs and values of something that is kept for parts of each epoch."""
    times: list[float] = []
    values: list[float] = []
    for row in history:
        column = row["steps"].get(key, [])
        times += [row["epoch"] - 1 + (i + 0.5) / len(column) for i in range(len(column))]
        values += column
    return times, values


def _dress(axes: Any, label: str) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)

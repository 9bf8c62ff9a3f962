"""The curves of loss and accuracy, drawn by Matplotlib if it is installed."""

from io import BytesIO
from pathlib import Path
from typing import Any

from needle_nn.files import write_atomically

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError:  # the extra `train` is not installed
    Figure = None  # type: ignore[assignment,misc]

_TRAIN, _TEST = "#9aa5b1", "#1f6feb"
_INK = "#24292f"


def draw(path: Path, title: str, history: list[dict[str, Any]]) -> bool:
    """Write the picture; False if Matplotlib is missing."""
    if Figure is None:
        return False
    figure = Figure(figsize=(9.6, 4.0), dpi=150, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    left, right = figure.subplots(1, 2)
    _panel(left, history, ("loss", "test_loss"), "loss (mean cross-entropy)", 1.0, "{:.4f}")
    left.set_ylim(bottom=0)
    _panel(right, history, ("train_accuracy", "test_accuracy"), "accuracy (%)", 100.0, "{:.2f} %")
    picture = BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())
    return True


def _panel(
    axes: Any, history: list[dict[str, Any]], keys: tuple[str, str], label: str, scale: float, form: str
) -> None:
    epochs = [row["epoch"] for row in history]
    for key, name, color in zip(keys, ("train", "test"), (_TRAIN, _TEST), strict=True):
        values = [row[key] * scale for row in history]
        last = f"{name} {form.format(values[-1])}"
        axes.plot(epochs, values, color=color, linewidth=2, marker="o", markersize=3.5, label=last)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")

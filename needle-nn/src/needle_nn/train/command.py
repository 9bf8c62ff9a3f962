"""The arguments of `needle train`. What it does is in `session.py`."""

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from textwrap import fill

from needle_nn.train.recipe import Recipe
from needle_nn.train.recipes import RECIPES

_EXAMPLES = """examples:
  needle train digits                          on the best device there is, into runs/digits
  needle train digits --device cpu --seed 1    on a named device, from other random numbers
  needle train digits --resume                 go on where the run in runs/digits stopped
  needle train digits --resume --epochs 30     go on for longer than was planned
  needle train digits --plot                   draw learning rate and gradient norms too, after each epoch
  needle train fashion-mnist --data DIR        read the data files in DIR
  needle train cifar10 --download              fetch the data files first, verified by checksum
  needle train text FILE                       learn to write like a text of your own

Ctrl-C saves after the batch under way and prints the command that goes on: the resumed run ends with the very
numbers of one that was never stopped. Each run leaves checkpoint.safetensors, history.json and curve.png."""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `train` to the commands of `needle`."""
    parser = subparsers.add_parser(
        "train",
        help="train a model on real data",
        description="Train a model by a recipe, with checkpoints after each epoch.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipes = parser.add_subparsers(title="recipes", metavar="RECIPE", dest="recipe", required=True)
    for recipe in RECIPES.values():
        _add(recipes, recipe)


def _add(recipes: "argparse._SubParsersAction[argparse.ArgumentParser]", recipe: Recipe) -> None:
    parser = recipes.add_parser(
        recipe.name,
        help=recipe.summary,
        description=f"{recipe.name}: {recipe.summary}.\n\n{fill(recipe.about, 100)}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--device", metavar="NAME", help="where to run, such as numpy, cpu or cuda:1 (default: the best there is)")
    option("--epochs", type=_positive(int), metavar="N", help=f"passes over the data (default: {recipe.epochs})")
    option("--batch-size", type=_positive(int), metavar="N", help=f"how many in a step (default: {recipe.batch_size})")
    option("--lr", type=_positive(float), metavar="RATE", help=f"highest learning rate (default: {recipe.lr})")
    option("--seed", type=int, metavar="N", help="of all random numbers (default: 0)")
    option("--out", type=Path, metavar="DIR", help=f"where the run is kept (default: runs/{recipe.name})")
    option("--resume", action="store_true", help="go on with the run kept in --out, by its own settings")
    option("--plot", action="store_true", help="draw curve.png after each epoch, with learning rate and gradient norms")
    option("--workers", type=_positive(int), metavar="N", help="processes that prepare batches (default: none)")
    if recipe.source == "folder":
        option("--data", type=Path, metavar="DIR", help="the folder of the data files")
    elif recipe.source == "file":
        option("data", type=Path, metavar="FILE", nargs="?", help="the text")
    if recipe.downloads:
        option("--download", action="store_true", help="fetch data files that are missing")
    parser.set_defaults(run=run, recipe=recipe.name)
    for name, usual in (("data", None), ("download", False)):
        if parser.get_default(name) is None:
            parser.set_defaults(**{name: usual})


def run(args: argparse.Namespace) -> int:
    """Train, and give the exit status."""
    # Imported here by name: the command line registers all commands, and most need neither Rich nor Matplotlib.
    session = import_module("needle_nn.train.session")
    status: int = session.run(args)
    return status


def _positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    parse.__name__ = kind.__name__  # argparse names it in "invalid int value"
    return parse

"""Nested containers as a list of leaves and a shape: tuples, named tuples, lists, dicts and dataclasses."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

_LEAF = "*"


def flatten(tree: Any, is_leaf: Callable[[Any], bool] = lambda _: False) -> tuple[list[Any], Any]:
    """The leaves of a tree from left to right, and its shape, a hashable value for `unflatten`."""
    leaves: list[Any] = []
    return leaves, _walk(tree, is_leaf, leaves)


def unflatten(shape: Any, leaves: Any) -> Any:
    """The tree of that shape with these leaves."""
    return _build(shape, iter(leaves))


def _walk(tree: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Any:
    if not is_leaf(tree):
        kind = type(tree)
        if kind in (tuple, list) or (isinstance(tree, tuple) and hasattr(kind, "_fields")):
            return kind, None, tuple(_walk(x, is_leaf, leaves) for x in tree)
        if kind is dict:
            return kind, tuple(tree), tuple(_walk(x, is_leaf, leaves) for x in tree.values())
        if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
            names = tuple(f.name for f in dataclasses.fields(tree))
            return kind, names, tuple(_walk(getattr(tree, name), is_leaf, leaves) for name in names)
    leaves.append(tree)
    return _LEAF


def _build(shape: Any, leaves: Iterator[Any]) -> Any:
    if shape == _LEAF:
        return next(leaves)
    kind, names, parts = shape
    built = [_build(part, leaves) for part in parts]
    if names is not None:
        named = dict(zip(names, built, strict=True))
        return named if kind is dict else kind(**named)
    return kind(*built) if hasattr(kind, "_fields") else kind(built)

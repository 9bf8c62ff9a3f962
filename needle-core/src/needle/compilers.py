"""Compilers of captured graphs that other packages bring: entry points of the group `needle.compilers`.

An entry point names a module with `execution(graph, **options)`, which gives an object like `program.plan.Execution`;
`OPTIONS`, the names of the options that it takes; and `PASSES`, the passes that run before it.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from needle.errors import ArgumentError, BackendError

GROUP = "needle.compilers"


def compiler(name: str) -> Any:
    """The module of that compiler, or an error that says what there is."""
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise ArgumentError(f"compile: no compiler '{name}'; installed: {there}; pip install needle-{name}")
    try:
        return found[name].load()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BackendError(f"compile: the compiler '{name}' cannot be loaded: {reason}") from error

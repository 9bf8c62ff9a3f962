"""Compilers of captured graphs that other packages bring: entry points of the group `needle.compilers`.

A package `needle-foo` whose pyproject.toml says

    [project.entry-points."needle.compilers"]
    foo = "needle_foo.plugin"

makes `needle.compile(fn, compiler="foo", level=3)` work. The module is loaded when it is first asked for; it has

    OPTIONS = ("level",)                       names of the options that `needle.compile` hands on
    PASSES = ("fold_constants", "dead_code")   which of Needle's passes (`program/passes.py`) run before it
    def execution(graph, **options): ...       the graph made ready to run

What `execution` returns is used like `program.plan.Execution`: `bind(storage, buffer)` says which memory an input or a
state has from now on, `run()` gives the results as NDArrays in the order of `graph.results` (those in storages from
outside lie there, all others in new memory) and has written the states that the graph writes, `release(storages)`
lets go of inputs, and `memory` is a `program.memory.Plan` of the temporaries, which may be empty. A primitive that it
cannot do is an UnsupportedError with its name, raised here and not in `run`.
"""

from typing import Any

from needle import entries
from needle.errors import ArgumentError, BackendError

GROUP = "needle.compilers"


def compiler(name: str) -> Any:
    """The module of that compiler, or an error that says what there is."""
    entry_points, damaged = entries.find(GROUP)
    found = {entry.name: entry for entry in entry_points}
    if name not in found:
        there = "; ".join([", ".join(sorted(found)) or "none", *damaged])
        raise ArgumentError(f"compile: no compiler '{name}'; installed: {there}; pip install needle-{name}")
    try:
        return found[name].load()
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BackendError(f"compile: the compiler '{name}' cannot be loaded: {reason}") from error

"""The compiler `tvm`, as `needle.compile` finds it: TVM itself, whose import takes seconds, is loaded on first use."""

from typing import Any

OPTIONS = ("style", "tune", "folder", "scheduled", "threads")
PASSES = ("fold_constants", "common_subexpressions", "forward_copies", "dead_code")  # TVM fuses by itself


def execution(graph: Any, **options: Any) -> Any:
    """The graph made ready to run."""
    from needle_tvm.execution import TvmExecution  # noqa: PLC0415

    return TvmExecution(graph, **options)

"""The module of a function of tensors, in one line."""

from collections.abc import Callable
from typing import Any

import needle
from needle.program.passes import PASSES
from needle_tvm import _plugin
from needle_tvm.translate import Style, to_relax


def module(function: Callable[..., Any], *args: Any, style: Style = "te", constants: bool = True) -> Any:
    """The Relax IRModule of what `function(*args)` computes, such as a model of a batch; print it to read it.

    Its `main` takes the tensors among `args`. Weights become constants of the module as they are now, or, without
    `constants`, further parameters of `main`. It runs under `no_grad`: to see a training step, give the graph of a
    compiled one to `to_relax`.
    """
    captured = needle.compile(function, disable=PASSES.keys() - set(_plugin.PASSES))
    with needle.no_grad():
        captured(*args)
    (graph,) = captured.graphs()
    return to_relax(graph, style, constants=constants).module

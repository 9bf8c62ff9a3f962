"""Who may import whom: at the top of the file, and only what stands below."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import needle

ROOT = Path(needle.__file__).parent

# From the bottom to the top; a module imports only modules of lines above its own. Whoever adds a module puts it here.
LAYERS = """
entries errors habits kinds layering philox program tracing trees
compilers live program.surroundings
course device drawing dtype probing operators shape
expression fallback layout op precision result_types
backend indexing isolation
formulas host host_arrays plugin views
reference_layers reference_recurrent
reference
registry
backend_ndarray.device dispatch
backend_numpy contraction convolution exchange normalization observe rowwise selection
reductions
ndarray program.graph
one_pass
backend_ndarray.primitives composed ops.conv ops.elementwise ops.indexing ops.matmul ops.movement ops.norm
ops.pairwise ops.parts ops.reduction ops.scalar ops.softmax random
composed_recurrent ops.curves program.capture program.epilogues program.fusion program.layouts program.memory
ops.recurrent program.picture program.steady program.unfolding program.updates
program.recompute
profiler program.order program.passes
program.plan
backend_ndarray.ndarray_backend_cpu backend_ndarray.ndarray_backend_cuda backend_ndarray.ndarray_backend_mps
backend_ndarray.ndarray_backend_msl backend_ndarray.ndarray_backend_numpy backend_ndarray.strided composed_layers
fused graph
autograd backend_ndarray.ndarray conversions tensor_functions
backend_ndarray tensor
backend_selection image
course_op
course_drawing
course_autograd course_ops.elementwise course_ops.movement course_ops.products course_ops.reduction
course_ops.tuples
course_ops course_tensor
face
functions init lending program.rebinding
program.replay
compiled
arrangement course_names einstein measures neural placement testing ops
numpy_functions
nn optim data
needle
doctor
cli isolated
__main__
"""
HEIGHT = {name: i for i, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__").replace("__init__", "needle"): path
    for path in ROOT.rglob("*.py")
}
# The functions that import on first use: needle.nn, the course's names, what starts processes, what reads the site.
LAZY = {"needle": "__getattr__", "autograd": "__getattr__", "ops": "__getattr__", "registry": "_probed_apart",
        "entries": "installed"}  # fmt: skip
FORWARDING = {"nn", "optim", "data"}  # the only modules that may name needle_nn


def imported(tree: ast.AST) -> Iterator[str]:
    """The full names of the modules that a file imports when it runs; annotations may look up."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports have full names"
            module = node.module or ""
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield name if name.removeprefix("needle.") in MODULES and module.startswith("needle") else module
        yield from imported(node)


def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def test_every_module_has_its_layer() -> None:
    assert set(MODULES) == set(HEIGHT)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    for name in imported(parsed(module)):
        if name.split(".")[0] == "needle":
            below = name.removeprefix("needle.")
            assert HEIGHT[below] < HEIGHT[module], f"{module} imports {below}, which does not stand below it"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_stand_at_the_top(module: str) -> None:
    functions = [node for node in ast.walk(parsed(module)) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    for function in functions:
        name = getattr(function, "name", "lambda")
        assert not list(imported(function)), f"{module}.{name} imports inside a function"
        if LAZY.get(module) != name:
            called = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
            assert not called & {"import_module", "importlib.import_module", "__import__"}, f"{module}.{name}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_core_needs_only_the_standard_library_numpy_and_pluggy(module: str) -> None:
    for name in imported(parsed(module)):
        top = name.split(".")[0]
        assert not top.startswith("needle_") or (top == "needle_nn" and module in FORWARDING), f"imports {name}"
        if module not in FORWARDING and top != "needle":
            assert top in {"numpy", "pluggy", *sys.stdlib_module_names}, f"imports {name}"

"""The tables are complete: no op, no kind and no primitive of the protocol is without a row."""

import inspect
from collections import Counter

import pytest

import needle as ndl
from needle.backend import IN_PLACE
from needle.dispatch import dispatcher
from needle.kinds import Binary, Unary
from needle.op import Op
from needle_conformance import cases, kernels
from needle_conformance.case import Case
from needle_conformance.cases.errors import FAILS
from needle_conformance.derivative import Derivative
from needle_conformance.kernels.copy import COPY
from needle_conformance.test_metadata import PRIMITIVES
from needle_conformance.trial import Trial
from needle_conformance.watch import ops_seen

# Tried in the stage memory: it takes a second device.
ELSEWHERE = {"Move"}
NOT_OPS = {"as_tensor", "grad", "value_and_grad", "elementwise", "dropout"}
COURSE = {"needle.course_op"}  # in whose classes users write ops; imported with the first of the course's names
MODULES = {f"needle.{name}" for name in ("functions", "arrangement", "einstein", "image", "neural")}


def all_ops(of: type[Op] = Op) -> set[type[Op]]:
    """Every op class that can be used, hence no base without a `forward` or a kind, and not the course's."""
    below = {op for child in of.__subclasses__() if child.__module__ not in COURSE for op in all_ops(child)}
    wants_kind = any("kind" in getattr(c, "__annotations__", {}) for c in of.__mro__)
    usable = not inspect.isabstract(of) and (hasattr(of, "kind") or not wants_kind)
    return below | {of} if usable else below


def _trial(case: Case) -> Trial:
    device = ndl.device("numpy")
    dtypes = case.float_dtypes(dispatcher(device).backend.dtypes) or case.dtypes(dispatcher(device).backend.dtypes)
    return Trial(case, device, dtypes[-1], "compact")


@pytest.fixture(scope="module")
def seen() -> set[type[Op]]:
    """The ops that the rows run, forward and in both derivatives."""
    with ops_seen() as ops:
        for case in cases.CASES:
            trial = _trial(case)
            for options in case.options:
                case.function(*(x.requires_grad_(x.dtype.is_float) for x in trial.tensors(trial.values())), **options)
                if case.orders > 1:
                    Derivative(trial, options).second_by_rule()
    return {type(op) for op, _, _ in ops}


def test_every_op_has_a_row(seen: set[type[Op]]) -> None:
    missing = {op.__name__ for op in all_ops()} - {op.__name__ for op in seen} - ELSEWHERE
    assert not missing


def test_every_function_has_a_row() -> None:
    functions = {
        name
        for name, f in vars(ndl).items()
        if callable(f) and getattr(f, "__module__", "") in MODULES and name not in NOT_OPS
    }
    rows = {case.name for case in cases.CASES} | {case.function for case in cases.CASES}
    assert {name for name in functions if name not in rows and getattr(ndl, name) not in rows} == set()


def test_every_primitive_has_rows() -> None:
    assert {k.op for k in (*kernels.KERNELS, COPY)} == set(PRIMITIVES)
    names = {k.name for k in kernels.KERNELS}
    assert {kind.op for kind in (*Unary, *Binary)} <= names


@pytest.mark.parametrize("names", [
    [c.name for c in cases.CASES], [k.name for k in kernels.KERNELS], [f.name for f in FAILS],
], ids=["cases", "kernels", "fails"])  # fmt: skip
def test_names_differ(names: list[str]) -> None:
    assert [name for name, n in Counter(names).items() if n > 1] == []


def test_operands_depend_on_the_id_alone() -> None:
    first, second = _trial(cases.BY_NAME["exp"]), _trial(cases.BY_NAME["exp"])
    assert str(first) == "exp[float64-compact]"
    assert (first.values()[0] == second.values()[0]).all()
    assert first.seed != _trial(cases.BY_NAME["log"]).seed


def test_what_may_run_in_place_is_tried_in_place() -> None:
    assert {row.op for row in kernels.KERNELS if "in_place" in row.layouts} == IN_PLACE

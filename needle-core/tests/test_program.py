"""The passes over captured graphs, each before and after; the verifier; the planning of memory; text and drawings."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle.dtype import float32
from needle.errors import GraphError
from needle.kinds import Unary
from needle.layout import Layout
from needle.program.capture import Recorder, recording
from needle.program.graph import Graph, Node, Operand, Role, Storage, verify
from needle.program.memory import ALIGNMENT, plan_memory
from needle.program.passes import PASSES
from needle.program.picture import draw, picture
from needle.program.plan import Execution
from needle.program.replay import improve


def captured(function: Callable[..., Any], *shapes: tuple[int, ...]) -> tuple[Graph, list[Any]]:
    """The graph of a function as it is recorded, and the arrays of its arguments."""
    rng = np.random.default_rng(0)
    inputs = [ndl.Tensor(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]
    recorder = Recorder([x.array for x in inputs], [])
    with recording(recorder):
        result = function(*inputs)
    results = [recorder.operand(y.array) for y in (result if isinstance(result, tuple) else (result,))]
    return verify(Graph(recorder.nodes, results)), inputs


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def values(graph: Graph) -> list[Any]:
    return [array.numpy() for array in Execution(graph).run()]


M = (4, 6)
ROWS: dict[str, list[tuple[Callable[..., Any], list[tuple[int, ...]], list[str], list[str]]]] = {
    "dead_code": [
        (lambda x: (x.exp(), x + 1)[1], [M], ["exp", "add"], ["add"]),
        (lambda x: (x.exp() * 2, x + 1)[1], [M], ["exp", "mul", "add"], ["add"]),
        (lambda x: x.exp() * 2, [M], ["exp", "mul"], ["exp", "mul"]),
    ],
    "common_subexpressions": [
        (lambda x: x.exp() + x.exp(), [M], ["exp", "exp", "add"], ["exp", "add"]),
        (lambda x: x * 2 + x * 3, [M], ["mul", "mul", "add"], ["mul", "mul", "add"]),
        (lambda x: (x.exp(), x.exp()), [M], ["exp", "exp"], ["exp", "exp"]),  # each result has its own memory
        (lambda x: ndl.rand(4, 6) + ndl.rand(4, 6), [M], ["uniform", "uniform", "add"], ["uniform", "uniform", "add"]),
    ],
    "fold_constants": [
        (lambda x: x + ndl.arange(6, dtype="float32") * 2, [M], ["mul", "add"], ["add"]),
        (lambda x: x * 2 + 1, [M], ["mul", "add"], ["mul", "add"]),
    ],
    "forward_copies": [
        (lambda x: ndl.Tensor(x.array.copy()) + 1, [M], ["copy", "add"], ["add"]),
        (lambda x: ndl.Tensor(x.array.copy()), [M], ["copy"], ["copy"]),
        (lambda x: _changed_after_copy(x + 0), [M], ["add", "copy", "copy", "add"], ["add", "copy", "copy", "add"]),
    ],
    "fold_layouts": [
        (lambda x: x.T.contiguous() * 2, [M], ["copy", "mul"], ["mul"]),
        (lambda x: x.T.contiguous().sum(1) + 1, [M], ["copy", "sum", "add"], ["sum", "add"]),
        (lambda x: x.T.contiguous(), [M], ["copy"], ["copy"]),  # a result of the function
        (lambda x: x.T.contiguous() @ x, [M], ["copy", "matmul"], ["copy", "matmul"]),
        (lambda x: x.T.contiguous().reshape(24) + 1, [M], ["copy", "add"], ["copy", "add"]),  # in another shape
        (lambda x: _changed_after_transposed_copy(x + 0), [M], ["add", "copy", "copy", "add"],
         ["add", "copy", "copy", "add"]),
    ],
    "fold_broadcasts": [
        (lambda x, y: x + y.broadcast_to((4, 6)).exp(), [M, (6,)], ["exp", "add"], ["exp", "add"]),
        (lambda x, y: x * (y.broadcast_to((4, 6)) * 2).exp(), [M, (4, 1)], ["mul", "exp", "mul"],
         ["mul", "exp", "mul"]),
        (lambda x, y: (y.broadcast_to((4, 6)) + y.T.broadcast_to((4, 6))) * x, [M, (1, 1)], ["add", "mul"],
         ["add", "mul"]),
        (lambda x, y: y.broadcast_to((4, 6)).exp(), [M, (6,)], ["exp"], ["exp"]),
    ],
    "epilogues": [
        (lambda x, w, b: ndl.linear(x, w, b).relu(), [M, (6, 3), (3,)], ["linear", "relu"], ["linear"]),
        (lambda x, w, b: _both(ndl.linear(x, w, b)), [M, (6, 3), (3,)], ["linear", "relu"], ["linear", "relu"]),
    ],
    "fuse_reductions": [
        (lambda x: (x * x).sum(), [M], ["mul", "sum"], ["elementwise_reduce"]),
        (lambda x: x.exp().sum(1), [M], ["exp", "sum"], ["elementwise_reduce"]),
        (lambda x: x.exp().max((0, 1)), [M], ["exp", "max"], ["elementwise_reduce"]),
        (lambda x: x.exp().sum(0), [M], ["exp", "sum"], ["exp", "sum"]),  # columns: another order
        (lambda x: (lambda y: (y, y.sum()))(x.exp()), [M], ["exp", "sum"], ["exp", "sum"]),
        (lambda x: (lambda y: y.sum(1) + y.max(1))(x.exp()), [M], ["exp", "sum", "max", "add"],
         ["exp", "sum", "max", "add"]),
    ],
    "fuse_elementwise": [
        (lambda x: (x * 2 + 1).exp(), [M], ["mul", "add", "exp"], ["elementwise"]),
        (lambda x: (x.exp().sum(1, keepdims=True) + x), [M], ["exp", "sum", "add"], ["exp", "sum", "add"]),
        (lambda x, y: (x + y) * (x - y), [M, M], ["add", "sub", "mul"], ["elementwise"]),
        (lambda x: (lambda y: y.T.contiguous() + y.sum() + y * 2)(x.exp()), [(5, 5)],
         ["exp", "copy", "sum", "add", "mul", "add"], ["exp", "copy", "sum", "elementwise"]),
    ],
}  # fmt: skip


def _changed_after_copy(y: ndl.Tensor) -> ndl.Tensor:
    kept = ndl.Tensor(y.array.copy())
    y[0] = kept[1]
    return kept + y


def _changed_after_transposed_copy(y: ndl.Tensor) -> ndl.Tensor:
    kept = y.T.contiguous()
    y[0] = kept[:, 1]
    return kept + 1


def _both(y: ndl.Tensor) -> tuple[ndl.Tensor, ndl.Tensor]:
    return y, y.relu()


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, rows in ROWS.items() for row in rows])
def test_passes(name: str, row: Any) -> None:
    function, shapes, before, after = row
    graph, _ = captured(function, *shapes)
    improved = verify(PASSES[name](graph))
    assert names(graph) == before
    assert names(improved) == after
    if "rand" not in str(before) and "uniform" not in before:
        for found, expected in zip(values(improved), values(graph), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("row", "bytes_"), list(zip(ROWS["fold_broadcasts"], (24, 16, 4, 96), strict=True)))
def test_what_is_only_repeated_is_computed_once(row: Any, bytes_: int) -> None:
    """Bytes of the smallest result before the last."""
    graph, _ = captured(row[0], *row[1])
    folded = PASSES["fold_broadcasts"](graph)
    assert min(node.writes[0].storage.nbytes for node in folded.nodes) == bytes_


def test_passes_move_fewer_bytes() -> None:
    graph, _ = captured(lambda x: (x * 2 + 1).exp(), (1000,))
    improved, stages = improve(graph)
    assert graph.nbytes == 3 * 2 * 4000
    assert improved.nbytes == 2 * 4000
    assert [name for name, _, _ in stages] == list(PASSES)


def chain(length: int, nbytes: int, dies: bool = True) -> Graph:
    """relu of relu of ...; if nothing dies, all are results."""
    device = ndl.device("numpy")
    layout = Layout.compact((nbytes // 4,))
    storages = [Storage(Role.INPUT, device, nbytes)] + [Storage(Role.TEMPORARY, device, nbytes) for _ in range(length)]
    views = [Operand(s, layout, float32) for s in storages]
    nodes = [Node("unary", device, (Unary.RELU, b, a)) for a, b in itertools.pairwise(views)]
    return Graph(nodes, [views[-1]] if dies else views[1:])


@pytest.mark.parametrize(
    ("graph", "places"),
    [(chain(5, 1024), 1), (chain(1, 1024), 1), (chain(4, 1024, dies=False), 4), (chain(3, 100), 1)],
)
def test_temporaries_share_places(graph: Graph, places: int) -> None:
    plan = plan_memory(graph)
    size = -(-graph.nodes[0].writes[0].storage.nbytes // ALIGNMENT) * ALIGNMENT
    assert plan.nbytes == places * size
    assert plan.unshared == len(graph.nodes) * size


def test_those_alive_together_do_not_meet() -> None:
    graph, _ = captured(lambda x: sum((x @ x.T * i).exp().sum() for i in range(1, 6)) + (x @ x.T).sum(), (16, 16))
    plan = plan_memory(graph)
    alive: dict[Storage, tuple[int, int]] = {}
    for i, node in enumerate(graph.nodes):
        for x in [*node.reads, *node.writes]:
            if x.storage in plan.offsets:
                first, _ = alive.get(x.storage, (i, i))
                alive[x.storage] = (first, i)
    for a, (a_first, a_last) in alive.items():
        for b, (b_first, b_last) in alive.items():
            if a is not b and a_first < b_last and b_first < a_last:  # not in the same node only: an update in place
                start, other = plan.offsets[a], plan.offsets[b]
                assert start + a.nbytes <= other or other + b.nbytes <= start
    assert plan.nbytes < plan.unshared / 2


def test_verify_tells_what_is_wrong() -> None:
    good = chain(2, 64)
    a, b = good.nodes
    storage = Storage(Role.CONSTANT, a.device, 64)
    constant = Operand(storage, Layout.compact((16,)), float32)
    outside = Operand(a.writes[0].storage, Layout((16,), (1,), 4), float32)
    rows = [
        (Graph([b], good.results), "node 0 (relu) reads a temporary that nothing wrote"),
        (Graph([], good.results), "a result is a temporary that nothing wrote"),
        (Graph([Node("unary", a.device, (Unary.RELU, constant, a.reads[0]))], []), "node 0 (relu) writes a constant"),
        (Graph([Node("unary", a.device, (Unary.RELU, outside, a.reads[0]))], []), "leaves its storage of 64 bytes"),
    ]
    assert verify(good) is good
    for graph, told in rows:
        with pytest.raises(GraphError, match=re.escape(told)):
            verify(graph)


def test_text() -> None:
    graph, _ = captured(lambda x, w, b: ndl.linear(x, w, b).T.sum(1), M, (6, 3), (3,))
    text = str(graph)
    assert (
        "%0 float32[4, 3] = linear(input0 float32[4, 6], input1 float32[6, 3], input2 float32[3], False, None)" in text
    )
    assert "= sum(%0 float32[3, 4] strides [1, 3], 3, 4)" in text
    assert text.endswith("return %1 float32[3]")


def test_drawing(tmp_path: Path) -> None:
    graph, _ = captured(lambda x, w: (x @ w).relu().sum(), M, (6, 3))
    seen = picture(graph)
    assert [box.title for box in seen.boxes] == ["input", "input", "matmul", "relu", "sum", "result 0"]
    assert seen.arrows == [(0, 2), (1, 2), (2, 3), (3, 4), (4, 5)]
    draw(graph, tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text().count("<rect") >= len(seen.boxes)

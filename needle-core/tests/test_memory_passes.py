"""Passes that save memory: updates as soon as gradients are complete, cheap things computed again; places in place."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import dispatch
from needle.program.capture import Recorder, recording
from needle.program.graph import Graph, verify
from needle.program.memory import alive, plan_memory
from needle.program.plan import Execution
from needle.program.recompute import recompute
from needle.program.updates import early_updates

WIDE = 512  # a parameter of WIDE * WIDE floats is a large one


def captured(function: Callable[..., Any], *inputs: ndl.Tensor) -> Graph:
    recorder = Recorder([x.array for x in inputs], [])
    with recording(recorder):
        result = function(*inputs)
    results = [recorder.operand(y.array) for y in (result if isinstance(result, tuple) else (result,))]
    graph = verify(Graph(recorder.nodes, results))
    return replace(graph, most_alive=max(alive(graph)))


def _planned(graph: Graph) -> int:
    return plan_memory(graph, {x.storage for x in graph.results}).nbytes


def normal(*shape: int, seed: int = 0) -> ndl.Tensor:
    return ndl.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def sgd(params: list[ndl.Tensor], grads: list[ndl.Tensor]) -> None:
    arrays = [p.array for p in params], [g.array for g in grads]
    dispatch.sgd_step(
        params[0].device, *arrays, [], lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False
    )


def two_layers(read_after: bool) -> tuple[Callable[..., Any], list[ndl.Tensor]]:
    """A step of SGD for two large matrices and a small vector; the second matrix is perhaps read after its gradient."""
    params = [normal(WIDE, WIDE, seed=i) for i in range(2)] + [normal(WIDE, seed=2)]

    def step(x: ndl.Tensor) -> ndl.Tensor:
        first, second, bias = params
        hidden = x @ first
        g = hidden @ second + bias
        grad_second = hidden.T @ g
        g_hidden = g @ second.T if read_after else g
        sgd([first, second, bias], [x.T @ g_hidden, grad_second, g.sum(0)])
        return g

    return step, params


@pytest.mark.parametrize("read_after", [False, True])
def test_large_parameters_are_updated_once_their_gradient_is_complete(read_after: bool) -> None:
    step, params = two_layers(read_after)
    graph = captured(step, normal(8, WIDE))
    early = verify(early_updates(graph))
    updates = [(i, len(node.args[0])) for i, node in enumerate(early.nodes) if node.op == "sgd_step"]
    assert [count for _, count in updates] == [1, 1, 1]  # each matrix alone, and the vector
    names = [node.op for node in early.nodes]
    assert names[updates[0][0] - 1] == "matmul"  # its gradient, or what read the parameter last
    assert max(alive(early)) < max(alive(graph))
    before = [p.numpy().copy() for p in params]
    found = []
    for one in (graph, early):
        for p, value in zip(params, before, strict=True):
            p[...] = ndl.Tensor(value)
        result = Execution(one).run()[0].numpy()
        found.append([result, *(p.numpy().copy() for p in params)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_updates_wait_for_whoever_reads_the_gradient_into_the_step() -> None:
    """A gradient that is scaled by the norm of all of them is not complete before."""
    params = [normal(WIDE, WIDE, seed=i) for i in range(2)]

    def step(x: ndl.Tensor) -> ndl.Tensor:
        grads = [(x @ p) for p in params]
        norm = grads[0].square().sum() + grads[1].square().sum()
        sgd(params, [g / norm for g in grads])
        return norm

    graph = captured(step, normal(WIDE, WIDE))
    early = early_updates(graph)
    at = [i for i, node in enumerate(early.nodes) if node.op == "sgd_step"]
    divided = [i for i, node in enumerate(early.nodes) if node.name == "div"]
    assert at[0] > divided[0]


@pytest.mark.parametrize("deep", [False, True])
def test_cheap_results_are_computed_again(deep: bool) -> None:
    """What lies between is kept as long as its operand, which is: so only the operand is."""

    def function(x: ndl.Tensor) -> tuple[ndl.Tensor, ndl.Tensor]:
        kept = x @ x
        cheap = kept.exp().relu() if deep else kept.exp()
        high = ((cheap @ x) @ x) @ x
        return high @ (cheap + kept), cheap.sum()

    x = normal(256, 256)
    x[...] = x * 0.05
    graph = captured(function, x)
    changed = verify(recompute(graph))
    assert [node.name for node in changed.nodes].count("exp") == 2
    assert max(alive(changed)) < max(alive(graph))
    assert _planned(changed) < _planned(graph)
    for a, b in zip(Execution(graph).run(), Execution(changed).run(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_nothing_is_computed_again_where_an_operand_has_changed() -> None:
    state = normal(256, 256)

    def function(x: ndl.Tensor) -> ndl.Tensor:
        cheap = state.exp()
        high = ((cheap @ x) @ x) @ x
        state[...] = x
        return high @ cheap

    graph = captured(function, normal(256, 256))
    assert [node.name for node in recompute(graph).nodes].count("exp") == 1


def test_a_fused_result_takes_the_place_of_an_operand_that_dies() -> None:
    compiled = ndl.compile(lambda x: ((x @ x) * 2 + 1).exp() @ x)
    compiled(normal(64, 64))
    assert [node.op for node in compiled.graphs()[0].nodes] == ["matmul", "elementwise", "matmul"]
    assert compiled.memory() == 64 * 64 * 4

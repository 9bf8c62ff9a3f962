"""Pictures of the course's graph: a box for each value, and the norms of their gradients."""

from pathlib import Path

import numpy as np
import pytest
from checks import NUMPY

import needle as ndl
from needle import graph
from needle.drawing import Role


def test_boxes_arrows_and_norms(tmp_path: Path) -> None:
    x, c = ndl.Tensor([[3.0, 4.0]]), ndl.Tensor([[1.0], [2.0]], requires_grad=False)
    y = ndl.exp(x @ c * 0.0)
    before = graph.picture(y, {"x": x})
    assert [box.title for box in before.boxes] == ["x", "data", "MatMul", "MulScalar", "Exp"]
    assert [box.role for box in before.boxes] == [Role.LEAF, Role.CONSTANT, Role.OP, Role.OP, Role.OP]
    assert before.boxes[0].detail == f"(1, 2) {'float64' if NUMPY else 'float32'}"
    assert before.arrows == [(0, 2), (1, 2), (2, 3), (3, 4)]
    assert all(box.norm is None for box in before.boxes)
    with graph.watch({"x": x}, vanishing=0.1) as seen:
        (y * 5.0).backward()
    norms = [box.norm for box in seen.picture.boxes]
    assert norms == pytest.approx([0, 0, 0, 5, 5, 1])
    assert "<svg" in seen.to_svg()
    graph.draw(y, tmp_path / "graph.svg")
    assert "MatMul" in (tmp_path / "graph.svg").read_text()


def test_tuples_and_needle_s_own_ops() -> None:
    x = ndl.Tensor(np.ones((2, 3)))
    a, b = ndl.split(x, 0).tuple()
    y = (a * b).cumsum(0)
    y.backward()
    boxes = {box.title: box for box in graph.picture(y).boxes}
    assert boxes["Split"].detail == "2 values"
    assert boxes["Split"].norm == pytest.approx(np.sqrt(28))  # 3, 2 and 1, twice
    assert boxes["cumsum"].norm == pytest.approx(np.sqrt(3))


def test_a_leaf_is_drawn_alone() -> None:
    assert [box.title for box in graph.picture(ndl.Tensor([1.0])).boxes] == ["leaf"]


def test_indices_and_slices() -> None:
    x = ndl.Tensor(np.arange(6.0).reshape(3, 2))
    found = x[np.array([0, 2, 0])]
    assert found.numpy().tolist() == [[0.0, 1.0], [4.0, 5.0], [0.0, 1.0]]
    found.backward()
    assert x.grad.numpy().tolist() == [[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]

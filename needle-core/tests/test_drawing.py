"""Drawings of graphs: what is in them, where it stands, and the norms of gradients."""

import random
import re
import shutil
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import needle
from needle import Tensor, drawing, graph
from needle.drawing import Box, Health, Picture, Role
from needle.errors import GraphError, UnsupportedError
from needle.layering import GAP, LAYER_GAP, Arrangement, arrange

Case = tuple[list[tuple[float, float]], list[tuple[int, int]]]


@st.composite
def graphs(draw: st.DrawFn) -> Case:
    """Boxes and arrows from lower to higher numbers."""
    n = draw(st.integers(1, 14))
    sizes = draw(st.lists(st.tuples(st.floats(10, 200), st.floats(10, 60)), min_size=n, max_size=n))
    pairs = st.sampled_from(list(combinations(range(n), 2))) if n > 1 else st.nothing()
    return sizes, draw(st.lists(pairs, unique=True, max_size=25)) if n > 1 else []


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_boxes_stand_apart_and_arrows_go_down(case: Case) -> None:
    sizes, arrows = case
    places = arrange(sizes, arrows)
    for (i, a), (j, b) in combinations(enumerate(places.centres), 2):
        apart_x = abs(a[0] - b[0]) - (sizes[i][0] + sizes[j][0]) / 2
        apart_y = abs(a[1] - b[1]) - (sizes[i][1] + sizes[j][1]) / 2
        assert apart_x >= GAP - 1e-6 or apart_y >= LAYER_GAP - 1e-6
    for (x, y), (width, height) in zip(places.centres, sizes, strict=True):
        assert -1e-6 <= x - width / 2 <= x + width / 2 <= places.size[0] + 1e-6
        assert -1e-6 <= y - height / 2 <= y + height / 2 <= places.size[1] + 1e-6
    for (start, end), route in zip(arrows, places.routes, strict=True):
        assert route[0] == pytest.approx((places.centres[start][0], places.centres[start][1] + sizes[start][1] / 2))
        assert route[-1] == pytest.approx((places.centres[end][0], places.centres[end][1] - sizes[end][1] / 2))
        ys = [y for _, y in route]
        assert ys == sorted(ys)
        assert len(route) % 2 == 0


def crosses(places: Arrangement, sizes: Any) -> bool:
    """Whether an arrow passes through a box in a layer that it only passes."""
    return any(
        x == to_x and y < cy < to_y and abs(x - cx) < width / 2
        for route in places.routes
        for (x, y), (to_x, to_y) in zip(route[1:-1:2], route[2:-1:2], strict=True)
        for (cx, cy), (width, _) in zip(places.centres, sizes, strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_long_arrows_go_around_boxes(case: Case) -> None:
    assert not crosses(arrange(*case), case[0])


def test_a_chain_is_straight_with_its_parameters_aside() -> None:
    layers = 12
    sizes, arrows = [(100.0, 40.0)], []
    for k in range(layers):  # x, then (weight, bias, op) of each layer
        sizes += [(90.0, 40.0), (90.0, 40.0), (100.0, 40.0)]
        arrows += [(3 * k, 3 * k + 3), (3 * k + 1, 3 * k + 3), (3 * k + 2, 3 * k + 3)]
    places = arrange(sizes, arrows)
    spine = [places.centres[i][0] for i in range(3, len(sizes), 3)]
    assert max(spine) - min(spine) < 40
    assert places.size[0] < 500


def test_few_crossings() -> None:
    rng = random.Random(0)
    upper, lower = list(range(8)), list(range(8, 16))
    rng.shuffle(lower)
    places = arrange([(20.0, 10.0)] * 16, list(zip(upper, lower, strict=True)))
    order = sorted(range(8), key=lambda i: places.centres[i][0])
    xs = [places.centres[lower[i]][0] for i in order]
    assert xs == sorted(xs)


def test_the_longest_way_decides_the_layer() -> None:
    places = arrange([(10.0, 10.0)] * 5, [(0, 1), (1, 2), (2, 3), (0, 3), (4, 3)])
    ys = [y for _, y in places.centres]
    assert ys == [5, 49, 93, 137, 93]  # 4 is a parameter of 3 and stands by it


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


PICTURE = Picture(
    [
        Box('w<1> & "w"', "(2,) float32", Role.LEAF, norm=1e-9),
        Box("data", "(2,) float32", Role.CONSTANT, tip='tip "1"\\2'),
        Box("mul", "(2,) float32", Role.OP, norm=2.0),
        Box("exp", "() float32", Role.OP, norm=1e9),
        Box("log", "() float32", Role.OP, norm=float("nan")),
    ],
    [(0, 2), (1, 2), (2, 3), (3, 4)],
)


def test_health() -> None:
    assert [PICTURE.health(box) for box in PICTURE.boxes] == [
        Health.VANISHING, None, None, Health.EXPLODING, Health.BROKEN,
    ]  # fmt: skip
    assert Picture(PICTURE.boxes, vanishing=1e-10).health(PICTURE.boxes[0]) is None


def test_svg() -> None:
    svg = drawing.to_svg(PICTURE)
    found = texts(svg)
    assert found[:3] == ['w<1> & "w"', "(2,) float32", "|grad| 1e-09"]
    assert found[-3:] == ["vanishing below 1e-05", "exploding above 1000", "infinite or NaN"]
    for health in Health:
        assert svg.count(f'fill="{health.value[0]}"') == 2  # the box, and the legend
    assert drawing.to_svg(PICTURE) == svg
    plain = Picture([Box("mul", "(2,) float32", Role.OP)])
    assert texts(drawing.to_svg(plain)) == ["mul", "(2,) float32"]
    ET.fromstring(drawing.to_svg(Picture([])))


def test_dot() -> None:
    dot = drawing.to_dot(PICTURE)
    assert 'n0 [label="w<1> & \\"w\\"\\n(2,) float32\\n|grad| 1e-09"' in dot
    assert 'tooltip="tip \\"1\\"\\\\2"' in dot
    assert "  n0 -> n2;\n  n1 -> n2;\n  n2 -> n3;\n  n3 -> n4;\n" in dot
    assert dot.count("{") == dot.count("}") == 1


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_takes_it(tmp_path: Path) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("a.pdf", b"%PDF")):
        drawing.save(PICTURE, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(needle.KernelError, match=r"draw: Graphviz cannot write \.nonsense: "):
        drawing.save(PICTURE, tmp_path / "a.nonsense")


def test_without_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in ("a.svg", "a.dot", "a.gv", "A.SVG"):
        drawing.save(PICTURE, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 500
    with pytest.raises(UnsupportedError) as caught:
        drawing.save(PICTURE, tmp_path / "a.png")
    assert str(caught.value) == "draw: .png needs Graphviz, which is not installed; .svg and .dot do not"


def network() -> tuple[Tensor, dict[str, Tensor]]:
    rng = np.random.default_rng(0)
    names = {"w": Tensor(rng.normal(size=(3, 2)), requires_grad=True), "b": Tensor(np.ones(2), requires_grad=True)}
    x = Tensor(rng.normal(size=(4, 3)))
    return ((x @ names["w"] + names["b"]).tanh()).square().sum(), names


def test_a_tensors_graph(tmp_path: Path) -> None:
    loss, names = network()
    boxes = graph.picture(loss, names).boxes
    told = [(box.title, box.detail, box.role) for box in boxes]
    assert ("w", "(3, 2) float64", Role.LEAF) in told
    assert ("data", "(4, 3) float64", Role.CONSTANT) in told
    assert [title for title, _, role in told if role is Role.OP] == [
        "matmul", "broadcast_to", "add", "tanh", "square", "sum",
    ]  # fmt: skip
    assert all(box.norm is None for box in boxes)
    assert "(axes=(0, 1)" in boxes[-1].tip
    graph.draw(loss, str(tmp_path / "loss.svg"), names)
    assert (tmp_path / "loss.svg").read_text() == graph.to_svg(loss, names)
    assert graph.to_dot(loss).count("leaf") >= 2
    loss.backward(retain_graph=True)
    norms = {box.title: box.norm for box in graph.picture(loss, names).boxes}
    for name, leaf in names.items():
        assert leaf.grad is not None
        assert norms[name] == pytest.approx(np.linalg.norm(leaf.grad.numpy()))
    assert norms["tanh"] is None


def test_one_box_for_one_value() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    constant = Tensor([3.0, 4.0])
    y = (x * constant) * (constant * x) + x * x
    picture = graph.picture(y)
    assert [box.title for box in picture.boxes].count("leaf") == 1
    assert [box.title for box in picture.boxes].count("data") == 1
    assert len(set(picture.arrows)) == len(picture.arrows)


def test_watch_notes_every_gradient() -> None:
    loss, names = network()
    with graph.watch(names) as seen:
        loss.backward()
    norms = {box.title: box.norm for box in seen.picture.boxes}

    again, leaves = network()
    found = needle.grad(again, list(leaves.values()))
    z = np.asarray(graph_values(leaves))
    assert norms["w"] == pytest.approx(np.linalg.norm(found[0].numpy()))
    assert norms["b"] == pytest.approx(np.linalg.norm(found[1].numpy()))
    assert norms["sum"] == 1
    assert norms["square"] == pytest.approx(np.sqrt(8))
    assert norms["tanh"] == pytest.approx(np.linalg.norm(2 * np.tanh(z)))
    assert norms["add"] == pytest.approx(np.linalg.norm(2 * np.tanh(z) * (1 - np.tanh(z) ** 2)))
    assert norms["data"] is None
    assert "|grad| 1" in texts(seen.to_svg())
    assert seen._repr_svg_() == seen.to_svg()
    assert "digraph" in seen.to_dot()


def graph_values(names: dict[str, Tensor]) -> Any:
    """What `network` computes before tanh."""
    rng = np.random.default_rng(0)
    rng.normal(size=(3, 2))
    return rng.normal(size=(4, 3)) @ names["w"].numpy() + names["b"].numpy()


def test_vanishing_and_exploding_gradients_are_coloured(tmp_path: Path) -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x
    for factor in (1e-3, 1e-3, 1e4, 1e4):
        y = y * factor
    with graph.watch(vanishing=1e-2, exploding=1e7) as seen:
        y.sum().backward()
    picture = seen.picture
    found = [(box.norm, picture.health(box)) for box in picture.boxes if box.role is Role.OP]
    assert found == [
        (pytest.approx(1e5), None), (pytest.approx(1e8), Health.EXPLODING), (pytest.approx(1e4), None),
        (pytest.approx(1), None), (1, None),
    ]  # fmt: skip
    seen.save(tmp_path / "seen.svg")
    assert Health.EXPLODING.value[0] in (tmp_path / "seen.svg").read_text()


def test_a_watch_changes_no_gradient_and_sees_the_last_pass() -> None:
    loss, names = network()
    loss.backward()
    watched, twins = network()
    with graph.watch(twins) as seen:
        (twins["w"] * 2).sum().backward()
        twins["w"].grad = None
        watched.backward()
    for name, leaf in names.items():
        assert leaf.grad is not None
        twin = twins[name].grad
        assert twin is not None
        np.testing.assert_array_equal(leaf.grad.numpy(), twin.numpy())
    assert "tanh" in [box.title for box in seen.picture.boxes]
    again, _ = network()
    again.backward()  # not watched
    assert len(seen.picture.boxes) == 9


def test_second_derivatives_and_halves() -> None:
    x = Tensor([2.0, 3.0], requires_grad=True)
    with graph.watch({"x": x}) as seen:
        (g,) = needle.grad((x * x * x).sum(), [x], create_graph=True)
        assert g is not None
        first = {box.title: box.norm for box in seen.picture.boxes}
        g.sum().backward()
    assert first["x"] == pytest.approx(np.hypot(12, 27))
    assert {box.title: box.norm for box in seen.picture.boxes}["x"] == pytest.approx(np.hypot(12, 18))
    half = Tensor(np.full(4, 300, np.float16), requires_grad=True)
    with graph.watch({"half": half}) as seen:
        (half * half).sum().backward()
    assert {box.title: box.norm for box in seen.picture.boxes}["half"] == pytest.approx(1200)  # squares would overflow


ERRORS = [
    (lambda: graph.draw(Tensor([1.0]), "x.svg"), "draw: no graph behind this tensor; compute it from tensors with"),
    (lambda: graph.Watch({}, 0, 1).picture, "watch: there was no backward pass; call loss.backward() inside `with"),
]


@pytest.mark.parametrize(("call", "text"), ERRORS)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(GraphError, match=re.escape(text)):
        call()


def test_a_freed_graph() -> None:
    loss, _ = network()
    loss.backward()
    with pytest.raises(GraphError) as caught:
        graph.to_svg(loss)
    assert str(caught.value) == (
        "draw: backward has freed the graph; draw it before, or watch: "
        "`with needle.graph.watch() as seen: loss.backward()`, then seen.save(path)"
    )

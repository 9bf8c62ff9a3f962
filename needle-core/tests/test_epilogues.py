"""The pass `epilogues`, before and after: what joins the primitive before it, where, and where it must not."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import needle as ndl
from needle import dispatch, image
from needle.backend import Backend
from needle.device import Device
from needle.program.capture import Recorder, recording
from needle.program.graph import Graph, verify
from needle.program.passes import PASSES
from needle.program.plan import Execution
from needle.program.replay import improve
from needle.reference import NumpyBackend
from needle.registry import registry

IMAGE, KERNEL, BIAS = (2, 3, 6, 7), (3, 3, 3, 4), (4,)
CHANNELS = (3,)


def captured(function: Callable[..., Any], shapes: list[Any], device: Device, dtype: str = "float32") -> Graph:
    """The graph of a function as it is recorded."""
    rng = np.random.default_rng(0)
    inputs = [ndl.Tensor(rng.uniform(0.5, 2, shape) - 1, device=device, dtype=dtype) for shape in shapes]
    recorder = Recorder([x.array for x in inputs], [])
    with recording(recorder), ndl.no_grad():
        result = function(*inputs)
    results = [recorder.operand(y.array) for y in (result if isinstance(result, tuple) else (result,))]
    return verify(Graph(recorder.nodes, results))


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def same_bits(a: Graph, b: Graph) -> None:
    for x, y in zip(Execution(a).run(), Execution(b).run(), strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def conv(x: Any, w: Any, b: Any) -> Any:
    return ndl.conv2d(x, w, b, padding=1)


def norm(x: Any, scale: Any, shift: Any) -> Any:
    return image.batch_norm2d(x, scale, shift, scale, scale * scale)


def changed(x: Any, w: Any, b: Any) -> Any:
    """The image is another when the bias is added."""
    before = x + 0
    y = ndl.conv2d(before, w)
    before[0] = before[1]
    return y + b.reshape(1, 4, 1, 1), before


def relu_first(x: Any, scale: Any, shift: Any) -> Any:
    y = norm(x, scale, shift)
    return y.relu(), y


CONV, NORM = [IMAGE, KERNEL, BIAS], [IMAGE, CHANNELS, CHANNELS]
ROWS: list[tuple[str, Callable[..., Any], list[Any], list[str], list[str]]] = [
    ("bias", conv, CONV, ["conv2d", "add"], ["conv2d_bias"]),
    ("bias by hand", lambda x, w, b: ndl.conv2d(x, w) + b.reshape(1, 4, 1, 1), CONV, ["conv2d", "add"],
     ["conv2d_bias"]),
    ("bias first", lambda x, w, b: b + ndl.conv2d(x, w).permute(0, 2, 3, 1), CONV, ["conv2d", "add"], ["conv2d_bias"]),
    ("packed image", lambda x, w, b: conv(x.permute(0, 3, 1, 2), w, b), [(2, 6, 7, 3), KERNEL, BIAS],
     ["conv2d", "add"], ["conv2d_bias"]),
    ("into another order", lambda x, w, b: b.reshape(1, 4, 1, 1) + ndl.conv2d(x, w), CONV, ["conv2d", "add"],
     ["conv2d", "add"]),
    ("relu of a bias", lambda x, w, b: conv(x, w, b).relu(), CONV, ["conv2d", "add", "relu"], ["conv2d_bias", "relu"]),
    ("read twice", lambda x, w, b: (lambda y: (y, y + b.reshape(1, 4, 1, 1)))(ndl.conv2d(x, w)), CONV,
     ["conv2d", "add"], ["conv2d", "add"]),
    ("an image is no bias", lambda x, w, y: ndl.conv2d(x, w) + y, [IMAGE, KERNEL, (2, 4, 4, 5)], ["conv2d", "add"],
     ["conv2d", "add"]),
    ("nor is a row", lambda x, w, b: ndl.conv2d(x, w) + b, [IMAGE, KERNEL, (5,)], ["conv2d", "add"],
     ["conv2d", "add"]),
    ("nor one for all", lambda x, w, b: ndl.conv2d(x, w) + b, [IMAGE, KERNEL, (1,)], ["conv2d", "add"],
     ["conv2d", "add"]),
    ("with gaps", lambda x, w, b: conv(x, w, b[::2]), [IMAGE, KERNEL, (8,)], ["conv2d", "add"], ["conv2d", "add"]),
    ("twice itself", lambda x, w, b: (lambda y: y + y)(ndl.conv2d(x, w)), CONV, ["conv2d", "add"], ["conv2d", "add"]),
    ("changed between", changed, CONV, ["add", "conv2d", "copy", "copy", "add"],
     ["add", "conv2d", "copy", "copy", "add"]),
    ("relu", lambda *a: norm(*a).relu(), NORM, ["mul", "batch_norm", "relu"], ["mul", "batch_norm_relu"]),
    ("tanh", lambda *a: norm(*a).tanh(), NORM, ["mul", "batch_norm", "tanh"], ["mul", "batch_norm", "tanh"]),
    ("read later", relu_first, NORM, ["mul", "batch_norm", "relu"], ["mul", "batch_norm", "relu"]),
    ("a linear map", lambda x, w, b: ndl.linear(x, w, b).relu(), [(4, 6), (6, 3), (3,)], ["linear", "relu"],
     ["linear"]),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_before_and_after(row: Any) -> None:
    """The NumPy device has both primitives."""
    _, function, shapes, before, after = row
    graph = captured(function, shapes, ndl.numpy())
    improved = verify(PASSES["epilogues"](graph))
    assert names(graph) == before
    assert names(improved) == after
    same_bits(improved, graph)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types(dtype: str) -> None:
    graph = captured(lambda *a: conv(*a).relu(), CONV, ndl.numpy(), dtype)
    improved = PASSES["epilogues"](graph)
    assert names(improved) == ["conv2d_bias", "relu"]
    same_bits(improved, graph)


def test_it_can_be_switched_off_by_name() -> None:
    graph = captured(conv, CONV, ndl.numpy())
    assert names(improve(graph)[0]) == ["conv2d_bias"]
    assert names(improve(graph, frozenset({"epilogues"}))[0]) == ["conv2d", "add"]


class Without(NumpyBackend):
    conv2d_bias = Backend.conv2d_bias
    batch_norm_relu = Backend.batch_norm_relu


class Declining(NumpyBackend):
    def supports(self, op: str, kind: Any, dtypes: Any) -> str | None:
        return f"no {op}" if op in ("conv2d_bias", "batch_norm_relu") else super().supports(op, kind, dtypes)


class Recording(NumpyBackend):
    def recording(self, calls: Any, moving: Any, after: Any) -> None:
        """Which it declines, each time."""


class Packed(NumpyBackend):
    """Whose convolution reads any strides, and that with bias none."""

    strided = NumpyBackend.strided - {"conv2d_bias"}


@pytest.fixture
def device_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Backend], Device]]:
    device = Device("other")

    def made(backend: Backend) -> Device:
        monkeypatch.setitem(registry._backends, device, backend)
        dispatch._dispatchers.pop(device, None)
        return device

    yield made
    dispatch._dispatchers.pop(device, None)


@pytest.mark.parametrize(
    ("backend", "joins"),
    [(NumpyBackend, (True, True)), (Without, (False, False)), (Declining, (False, False)),
     (Recording, (False, False)), (Packed, (False, True))],
)  # fmt: skip
def test_devices(device_of: Any, backend: type[Backend], joins: tuple[bool, bool]) -> None:
    device = device_of(backend())
    rows = (conv, CONV, "conv2d_bias"), (lambda *args: norm(*args).relu(), NORM, "batch_norm_relu")
    for (function, shapes, both), joined in zip(rows, joins, strict=True):
        graph = captured(function, shapes, device)
        improved = PASSES["epilogues"](graph)
        assert (both in names(improved)) is joined
        assert len(improved.nodes) == len(graph.nodes) - joined
        same_bits(improved, graph)

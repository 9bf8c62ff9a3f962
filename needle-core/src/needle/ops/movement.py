"""Ops that move elements and compute nothing; most give views. The transpose of each is the next one's forward."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from needle.device import Device
from needle.errors import ShapeError
from needle.indexing import Step, axis_steps, view_layout
from needle.layout import Layout
from needle.ndarray import NDArray
from needle.op import Array, Cotangents, Op
from needle.shape import Shape, broadcast_axes, check_broadcast, resolve_reshape


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements, in row-major order, under another shape."""

    target: Shape

    def shape(self, x: Shape) -> Shape:
        return resolve_reshape(x, self.target)

    def forward(self, x: NDArray) -> NDArray:
        return x.reshape(self.target)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.reshape(x.shape),)


@lru_cache(maxsize=1024)
def permuted_shape(shape: Shape, axes: Shape) -> Shape:
    """The sizes in the order of `axes`."""
    if sorted(axes) != list(range(len(shape))):
        raise ShapeError(f"permute: {axes} is no order of the axes of {shape}")
    return tuple(shape[a] for a in axes)


@dataclass(frozen=True)
class Permute(Op):
    """Axis `axes[i]` becomes axis i."""

    axes: Shape

    def shape(self, x: Shape) -> Shape:
        return permuted_shape(x, self.axes)

    def forward(self, x: NDArray) -> NDArray:
        return x.viewed(x.layout.permute(self.axes))

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.permute(tuple(self.axes.index(a) for a in range(len(self.axes)))),)


@dataclass(frozen=True)
class BroadcastTo(Op):
    """Axes of size 1, and new leading ones, repeated without a copy."""

    target: Shape

    def shape(self, x: Shape) -> Shape:
        check_broadcast("broadcast_to", x, self.target)
        return self.target

    def forward(self, x: NDArray) -> NDArray:
        return x.viewed(x.layout.broadcast_to(self.target))

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        axes = broadcast_axes(x.shape, self.target)
        summed = g.sum(axes) if axes else g
        return (summed if summed.shape == x.shape else summed.reshape(x.shape),)


@dataclass(frozen=True)
class Move(Op):
    """The same elements on another device."""

    device: Device

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x.to(self.device)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.to(x.device),)


@dataclass(frozen=True)
class Flip(Op):
    """Some axes in reverse order."""

    axes: Shape

    def shape(self, x: Shape) -> Shape:
        return x

    def forward(self, x: NDArray) -> NDArray:
        return x.flip(self.axes)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.flip(self.axes),)


@dataclass(frozen=True)
class Slice(Op):
    """The view that parsed steps make (`indexing.py`): x[1:5, 0, None, ::-1]."""

    steps: tuple[Step, ...]

    def shape(self, x: Shape) -> Shape:
        return view_layout(Layout.compact(x), self.steps).shape

    def forward(self, x: NDArray) -> NDArray:
        return x.sliced(self.steps)

    def vjp(self, g: Array, y: Array, x: Array) -> Cotangents:
        return (g.embedded(self.steps, x.shape),)


@dataclass(frozen=True)
class Embed(Op):
    """Zeros of a shape, in which the view that the steps make is x: the transpose of Slice."""

    steps: tuple[Step, ...]
    target: Shape

    def shape(self, x: Shape) -> Shape:
        return self.target

    def forward(self, x: NDArray) -> NDArray:
        return x.embedded(self.steps, self.target)

    def vjp(self, g: Any, y: Array, x: Array) -> Cotangents:
        return (g.sliced(self.steps),)


def joined_shape(op: str, shapes: Sequence[Shape], axis: int) -> Shape:
    """The shape of arrays laid end to end along an axis; their other sizes must agree."""
    first = shapes[0]
    for other in shapes[1:]:
        rest, expected = (*other[:axis], *other[axis + 1 :]), (*first[:axis], *first[axis + 1 :])
        if len(other) != len(first) or rest != expected:
            raise ShapeError(f"{op}: {first} and {other} differ in more than axis {axis}")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


@dataclass(frozen=True)
class Concatenate(Op):
    """Arrays end to end along an axis."""

    axis: int

    def shape(self, *inputs: Shape) -> Shape:
        return joined_shape("concatenate", inputs, self.axis)

    def forward(self, *inputs: NDArray) -> NDArray:
        return inputs[0].concatenated(inputs[1:], self.axis)

    def vjp(self, g: Any, y: Array, *inputs: Array) -> Cotangents:
        parts, start = [], 0
        for x in inputs:
            parts.append(g.sliced(axis_steps(g.shape, self.axis, start, x.shape[self.axis])))
            start += x.shape[self.axis]
        return tuple(parts)

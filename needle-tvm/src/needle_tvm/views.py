"""Views of tensors as Relax sees them: what a layout shows of a storage, as tensor expressions."""

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx

from needle.layout import Layout, storage_order


def te_reshape(x: Any, shape: Sequence[int]) -> Any:
    """The same elements in row-major order."""
    return te_view(x, Layout.compact(tuple(shape)), "T_reshape")


def te_broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """Axes of size 1, and new leading ones, repeated."""
    sizes = [int(n) for n in x.shape]
    lead = len(shape) - len(sizes)

    def element(*at: Any) -> Any:
        return x(*[0 if n == 1 else at[lead + axis] for axis, n in enumerate(sizes)])

    return te.compute(tuple(shape), element, name="T_broadcast_to")


def te_transpose(x: Any, axes: Sequence[int]) -> Any:
    """Axis `axes[i]` becomes axis i."""
    sizes = [int(n) for n in x.shape]

    def element(*at: Any) -> Any:
        return x(*[at[list(axes).index(axis)] for axis in range(len(sizes))])

    return te.compute(tuple(sizes[a] for a in axes), element, name="T_transpose")


def te_view(x: Any, layout: Layout, name: str = "T_view") -> Any:
    """What any layout shows of a tensor's elements in row-major order."""

    def element(*at: Any) -> Any:
        place = layout.offset
        for index, stride in zip(at, layout.strides, strict=True):
            place = place + index * stride
        return _at(x, place)

    return te.compute(layout.shape, element, name=name)


def te_insert(whole: Any, part: Any, layout: Layout) -> Any:
    """A flat tensor with `part` in the places that a layout shows; see `can_insert`."""
    axes = sorted(zip(layout.strides, layout.shape, range(layout.rank), strict=True), reverse=True)

    def element(place: Any) -> Any:
        rest, indices = place - layout.offset, [0] * layout.rank
        inside = rest >= 0
        for stride, n, axis in axes:
            if n > 1:
                indices[axis] = tirx.floordiv(rest, stride)
                inside = tirx.And(inside, indices[axis] < n)
                rest = tirx.floormod(rest, stride)
        inside = tirx.And(inside, rest <= 0)
        return tirx.if_then_else(inside, part(*indices), whole(place))

    return te.compute(whole.shape, element, name="T_insert")


def can_insert(layout: Layout) -> bool:
    """Whether a place tells its index: each axis steps over all that the smaller ones reach."""
    reach = 1
    for stride, n in sorted((s, n) for s, n in zip(layout.strides, layout.shape, strict=True) if n > 1):
        if stride < reach:
            return False
        reach = stride * n
    return bool(layout.size)


def _at(x: Any, place: Any) -> Any:
    """An element by its place in row-major order."""
    indices = []
    for n in reversed([int(n) for n in x.shape]):
        indices.append(place % n)
        place = place // n
    return x(*reversed(indices))


def steps(shape: tuple[int, ...], layout: Layout) -> list[tuple[str, Any]]:
    """The named steps that show `layout` of a tensor of that shape: reshape, transpose, broadcast_to; or one view."""
    if layout.shape == shape and layout.compacted:
        return []
    if layout.compacted and layout.size == Layout.compact(shape).size:
        return [("reshape", layout.shape)]
    kept = tuple(n if s or n == 1 else 1 for n, s in zip(layout.shape, layout.strides, strict=True))
    if kept != layout.shape:
        base = Layout(kept, tuple(s if n > 1 else 0 for n, s in zip(kept, layout.strides, strict=True)), layout.offset)
        base = Layout.compact(kept) if base.contiguous and base.offset == 0 else base
        return [*steps(shape, base), ("broadcast_to", layout.shape)]
    order = storage_order(layout)
    if order is not None and layout.offset == 0 and layout.size == Layout.compact(shape).size:
        stored = tuple(layout.shape[a] for a in order[0])
        return [*steps(shape, Layout.compact(stored)), ("transpose", order[1])]
    return [("view", layout)]

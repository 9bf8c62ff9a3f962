"""Functions that put elements in other places: zeros around and between them, the order of their size, a mask."""

from collections.abc import Sequence

from needle.errors import ShapeError
from needle.functions import as_tensor
from needle.indexing import Step
from needle.shape import Shape, normalize_axis
from needle.tensor import Tensor, TensorLike


def pad(x: TensorLike, widths: Sequence[tuple[int, int]], value: float = 0) -> Tensor:
    """`widths[a]` elements of `value` before and after axis a."""
    inner = as_tensor(x)
    if len(widths) != inner.ndim or any(len(pair) != 2 or min(pair) < 0 for pair in widths):
        raise ShapeError(f"pad: takes (before, after) for each axis, not {widths!r}: shape is {inner.shape}")
    steps = tuple((before, 1, n) for (before, _), n in zip(widths, inner.shape, strict=True))
    shape = tuple(before + n + after for (before, after), n in zip(widths, inner.shape, strict=True))
    wide = inner.embedded(steps, shape)
    if value == 0:
        return wide
    inside = inner.array.filled(inner.shape, True, "bool").embedded(steps, shape)
    return Tensor(inside).where(wide, value)


def dilate(x: TensorLike, axes: int | Sequence[int], dilation: int) -> Tensor:
    """`dilation` zeros after each element along the axes: n becomes n * (dilation + 1). Axes beyond the rank: none."""
    inner = as_tensor(x)
    shape, steps = _spread(inner.shape, axes, dilation)
    return inner.embedded(steps, shape) if dilation else inner


def undilate(x: TensorLike, axes: int | Sequence[int], dilation: int) -> Tensor:
    """Every (dilation + 1)-th element along the axes, from the first on: the inverse of dilate."""
    wide = as_tensor(x)
    chosen, step = _within(axes, wide.ndim), _step(dilation)
    return wide[tuple(slice(None, None, step if a in chosen else 1) for a in range(wide.ndim))]


def _spread(shape: Shape, axes: int | Sequence[int], dilation: int) -> tuple[Shape, tuple[Step, ...]]:
    """The dilated shape, and the steps that find the elements in it."""
    chosen, step = _within(axes, len(shape)), _step(dilation)
    wide = tuple(n * step if a in chosen else n for a, n in enumerate(shape))
    return wide, tuple((0, step if a in chosen else 1, n) for a, n in enumerate(shape))


def _within(axes: int | Sequence[int], rank: int) -> set[int]:
    listed = (axes,) if isinstance(axes, int) else axes
    return {a % rank for a in listed if -rank <= a < rank}


def _step(dilation: int) -> int:
    if dilation < 0:
        raise ShapeError(f"dilate: the dilation is at least 0, not {dilation}")
    return dilation + 1


def masked_fill(x: TensorLike, mask: TensorLike, value: float) -> Tensor:
    """`value` where the mask is true, else x."""
    inner = as_tensor(x)
    return inner.like(mask).where(value, inner)


def argsort(x: TensorLike, axis: int = -1, descending: bool = False) -> Tensor:
    """The order that sorts along an axis; stable, a NaN larger than all."""
    inner = as_tensor(x)
    return _last(_last(inner, axis, "argsort").argsort(descending), axis, "argsort")


def sort(x: TensorLike, axis: int = -1, descending: bool = False) -> Tensor:
    """The elements in order along an axis; a NaN is larger than all."""
    return topk(x, None, axis, descending)[0]


def topk(x: TensorLike, k: int | None, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) elements along an axis in order, and their positions; None means all of them."""
    rows = _last(as_tensor(x), axis, "topk").contiguous()  # one copy for both that follow
    n = rows.shape[-1]
    if k is not None and not 0 <= k <= n:
        raise ShapeError(f"topk: {k} elements of {n} along axis {axis}: shape is {as_tensor(x).shape}")
    order = rows.detach().argsort(largest)[..., :k]
    return _last(rows.gather(order, -1), axis, "topk"), _last(order, axis, "topk")


def _last(x: Tensor, axis: int, op: str) -> Tensor:
    """An axis and the last one swapped; applied twice, x."""
    at, last = normalize_axis(axis, x.ndim, op), x.ndim - 1
    return x if at == last else x.permute(tuple(last if a == at else at if a == last else a for a in range(x.ndim)))

"""Functions that repeat, move and choose elements by where they stand: compositions, named as in the array API."""

from collections.abc import Sequence

from needle.errors import ArgumentError, ShapeError, shown
from needle.functions import as_tensor, concatenate
from needle.ndarray import arange
from needle.shape import normalize_axis
from needle.tensor import Tensor, TensorLike

Ints = int | Sequence[int]


def tile(x: TensorLike, repetitions: Ints) -> Tensor:
    """The whole of x one behind another, so often along each axis; axes that x lacks come first."""
    inner, counts = as_tensor(x), (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    if any(n < 0 for n in counts):
        raise ShapeError(f"tile: repetitions are at least 0, not {counts}")
    rank = max(inner.ndim, len(counts))
    shape = (1,) * (rank - inner.ndim) + inner.shape
    counts = (1,) * (rank - len(counts)) + counts
    spread = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    single = tuple(n for size in shape for n in (1, size))
    whole = tuple(n * size for n, size in zip(counts, shape, strict=True))
    return inner.reshape(single).broadcast_to(spread).reshape(whole)


def repeat(x: TensorLike, repeats: int, axis: int | None = None) -> Tensor:
    """Each element so often, one behind another, along an axis; of x as one row where no axis is given."""
    inner = as_tensor(x)
    if not isinstance(repeats, int) or repeats < 0:
        raise ShapeError(f"repeat: repeats is an int, at least 0, not {shown(repeats)}")
    if axis is None:
        inner, axis = inner.reshape(inner.size), 0
    at = normalize_axis(axis, inner.ndim, "repeat")
    before, n, after = inner.shape[:at], inner.shape[at], inner.shape[at + 1 :]
    wide = inner.expand_dims(at + 1).broadcast_to((*before, n, repeats, *after))
    return wide.reshape((*before, n * repeats, *after))


def roll(x: TensorLike, shift: Ints, axis: Ints | None = None) -> Tensor:
    """Elements moved on by `shift` places along an axis, the last ones to the front; x as one row without an axis."""
    inner = as_tensor(x)
    if axis is None:
        return roll(inner.reshape(inner.size), shift, 0).reshape(inner.shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: takes a shift for each axis: shifts are {shifts}, axes {axes}")
    for by, a in zip(shifts, axes, strict=True):
        at = normalize_axis(a, inner.ndim, "roll")
        size = inner.shape[at]
        cut = -by % size if size else 0
        if cut:
            head = (slice(None),) * at
            inner = concatenate([inner[(*head, slice(cut, None))], inner[(*head, slice(None, cut))]], at)
    return inner


def moveaxis(x: TensorLike, source: Ints, destination: Ints) -> Tensor:
    """Axes taken to other places; the rest keep their order."""
    inner = as_tensor(x)
    pairs = [(a,) if isinstance(a, int) else tuple(a) for a in (source, destination)]
    places = [[normalize_axis(a, inner.ndim, "moveaxis") for a in axes] for axes in pairs]
    if len(places[0]) != len(places[1]) or any(len(set(axes)) != len(axes) for axes in places):
        raise ShapeError(f"moveaxis: takes as many axes as places, each once, not {pairs[0]} to {pairs[1]}")
    order = [a for a in range(inner.ndim) if a not in places[0]]
    for to, a in sorted(zip(places[1], places[0], strict=True)):
        order.insert(to, a)
    return inner.permute(tuple(order))


def unstack(x: TensorLike, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts along an axis, which they lack: the inverse of stack."""
    inner = as_tensor(x)
    at = normalize_axis(axis, inner.ndim, "unstack")
    return tuple(inner[(*(slice(None),) * at, i)] for i in range(inner.shape[at]))


def meshgrid(*tensors: TensorLike, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid, from those along each axis; with "xy" its first two axes are swapped."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    rows = [as_tensor(x) for x in tensors]
    if any(x.ndim > 1 for x in rows):
        raise ShapeError(f"meshgrid: takes rank 1, not {', '.join(str(x.shape) for x in rows)}")
    sizes, n = tuple(x.size for x in rows), len(rows)
    grids = [x.reshape((1,) * i + (x.size,) + (1,) * (n - i - 1)).broadcast_to(sizes) for i, x in enumerate(rows)]
    return tuple(moveaxis(x, 1, 0) if indexing == "xy" and n > 1 else x for x in grids)


def tril(x: TensorLike, k: int = 0) -> Tensor:
    """The elements of each matrix on its k-th diagonal and below; zeros above."""
    inner = as_tensor(x)
    return _below(inner, k, "tril").where(inner, 0)


def triu(x: TensorLike, k: int = 0) -> Tensor:
    """The elements of each matrix on its k-th diagonal and above; zeros below."""
    inner = as_tensor(x)
    return _below(inner, k - 1, "triu").where(0, inner)


def _below(x: Tensor, k: int, op: str) -> Tensor:
    """(m, n): true on the k-th diagonal of x's matrices and below it."""
    if x.ndim < 2:
        raise ShapeError(f"{op}: takes rank 2 or more: shape is {x.shape}")
    rows, columns = (arange(n, "int32", x.device) for n in x.shape[-2:])
    return x.like(columns <= rows.expand_dims(1) + k)

"""Views of an array: algebra on its layout, which shares memory and costs no kernel."""

from abc import abstractmethod
from functools import lru_cache
from typing import Any, Self

from needle.backend import View
from needle.device import Device
from needle.dtype import INDEX, DType, int32
from needle.errors import ShapeError
from needle.indexing import Step, view_layout
from needle.kinds import Binary, Unary
from needle.layout import Layout, reversed_axes, swapped_axes
from needle.shape import Axes, Shape, either_axes, normalize_axes, normalize_axis, resolve_reshape


class Views(View):
    """The methods of NDArray that only look at its elements in another order."""

    __slots__ = ()

    @abstractmethod
    def viewed(self, layout: Layout) -> Self:
        """The same buffer through another layout."""

    device: Device

    @abstractmethod
    def contiguous(self) -> Self:
        """Itself if contiguous, else a copy that is."""

    @abstractmethod
    def copy(self) -> Self:
        """A new array with the same elements, row-major."""

    @abstractmethod
    def astype(self, dtype: Any) -> Self:
        """Converted to another element type."""

    @abstractmethod
    def assign(self, value: Any) -> None:
        """Overwrite the elements in place."""

    @abstractmethod
    def like(self, value: Any) -> Self:
        """A number or NumPy array as an array that can meet this one."""

    @abstractmethod
    def where(self, a: Any, b: Any) -> Self:
        """a where self is true, else b."""

    @abstractmethod
    def _unary(self, kind: Unary) -> Self:
        """The kind of each element."""

    @abstractmethod
    def _binary(self, kind: Binary, other: Any) -> Self:
        """The kind of self and other, broadcast to one shape."""

    @abstractmethod
    def new(self, shape: Shape, dtype: DType) -> Self:
        """An array on the same device, its elements not yet written."""

    @abstractmethod
    def room(self, op: str, shape: Shape) -> Self:
        """For a result of this shape, in memory in the order of x = self, if the device's kernel keeps that."""

    @abstractmethod
    def filled(self, shape: Shape, value: float | int | bool, dtype: Any) -> Self:
        """An array of one value on the same device."""

    def positions(self) -> Self:
        """Ints as kernels take an index: int32 or int64."""
        return self if self.dtype in INDEX else self.astype(int32)

    @property
    def size(self) -> int:
        return self.layout.size

    @property
    def ndim(self) -> int:
        return len(self.layout.shape)

    @property
    def nbytes(self) -> int:
        return self.layout.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.layout.shape:
            raise TypeError("len() of an array of rank 0")
        return self.layout.shape[0]

    def reshape(self, *shape: Any) -> Self:
        """The same elements in row-major order; one size may be -1. Copies only where no view can show them."""
        target = resolve_reshape(self.layout.shape, shape_argument(shape))
        layout = self.layout.reshape(target)
        return self.viewed(layout) if layout is not None else self.contiguous().reshape(target)

    def permute(self, *axes: Any) -> Self:
        """Axis `axes[i]` becomes axis i."""
        given = axes[0] if len(axes) == 1 and type(axes[0]) is tuple else shape_argument(axes)
        return self.viewed(self.layout.permute(_order_of_axes(given, self.layout.shape)))

    @property
    def T(self) -> Self:
        """All axes in reverse order."""
        return self.viewed(self.layout.permute(reversed_axes(len(self.layout.shape))))

    @property
    def mT(self) -> Self:
        """The last two axes swapped."""
        rank = len(self.layout.shape)
        if rank < 2:
            raise ShapeError(f"mT: takes rank 2 or more: shape is {self.shape}")
        return self.viewed(self.layout.permute(swapped_axes(rank)))

    def broadcast_to(self, *shape: Any) -> Self:
        """Axes of size 1, and new leading axes, repeated without a copy."""
        return self.viewed(self.layout.broadcast_to(shape_argument(shape)))

    def flip(self, axes: Axes = None, *, axis: Axes = None) -> Self:
        """The elements of some axes, or of all, in reverse order."""
        return self.viewed(self.layout.flip(normalize_axes(either_axes(axes, axis, "flip"), self.ndim, "flip")))

    def sliced(self, steps: tuple[Step, ...]) -> Self:
        """The view of parsed steps, see `indexing.py`."""
        return self.viewed(view_layout(self.layout, steps))

    def squeeze(self, axes: Axes = None, *, axis: Axes = None) -> Self:
        """Without the axes of size 1 that are named, or all of them."""
        return self.reshape(squeezed_shape(self.shape, either_axes(axes, axis, "squeeze")))

    def expand_dims(self, axis: int) -> Self:
        """With a new axis of size 1 before axis `axis`."""
        return self.viewed(self.layout.insert_axis(normalize_axis(axis, self.ndim + 1, "expand_dims")))


@lru_cache(maxsize=1024)
def _order_of_axes(axes: Shape, shape: Shape) -> Shape:
    """The axes counted from the front, each once; or a ShapeError."""
    order = tuple(normalize_axis(a, len(shape), "permute") for a in axes)
    if sorted(order) != list(range(len(shape))):
        raise ShapeError(f"permute: {order} is no order of the axes of {shape}")
    return order


def shape_argument(shape: tuple[Any, ...]) -> Shape:
    """`f(2, 3)` and `f((2, 3))` mean the same."""
    if len(shape) == 1 and not hasattr(shape[0], "__index__"):
        shape = tuple(shape[0])
    for n in shape:
        if type(n) is not int:
            return tuple(map(int, shape))
    return shape


def squeezed_shape(shape: Shape, axes: Axes) -> Shape:
    """The shape without the named axes, which must have size 1; None names all that do."""
    chosen = (
        tuple(i for i, n in enumerate(shape) if n == 1) if axes is None else normalize_axes(axes, len(shape), "squeeze")
    )
    wide = [i for i in chosen if shape[i] != 1]
    if wide:
        raise ShapeError(f"squeeze: axis {wide[0]} has size {shape[wide[0]]}, not 1: shape is {shape}")
    return tuple(n for i, n in enumerate(shape) if i not in chosen)

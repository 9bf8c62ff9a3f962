"""Case and Fails: one row about one op. What is tested of it follows from the row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from needle.dtype import DTYPES, DType, as_dtype
from needle.shape import Shape
from needle_conformance.inputs import Input, edges

Options: TypeAlias = Mapping[str, Any]

# The layouts of operands whose shape the row fixes, and those, besides, of operands that may have any shape.
VIEWS = ("compact", "offset", "permuted", "sliced", "flipped", "broadcast")
SHAPES: dict[str, Shape] = {"scalar": (), "one": (1, 1), "empty": (2, 0, 3), "large": (317, 331)}
BASE: Shape = (3, 4, 5)
_MIXED = ("permuted", "flipped", "offset")  # by turns, for operands whose layouts differ
_OUTER: tuple[Shape, ...] = ((4, 1), (3, 1, 5), (1,))  # by turns, for operands that are broadcast

NO_OPTIONS: tuple[Options, ...] = ({},)


@dataclass(frozen=True)
class Case:
    """What a function of Tensors is expected to give, told by a function of NumPy arrays.

    `expected` is given float64 arrays in place of floats, and what it returns is rounded to the result's dtype.
    """

    function: Callable[..., Any]
    expected: Callable[..., Any]
    inputs: Sequence[Input]
    options: Sequence[Options] = NO_OPTIONS  # keyword arguments of both, each tried
    name: str = ""  # the function's, by default
    gives: str = "same"  # dtype of the result: "same", "float" (float32 for ints), "sum", "index", or its name
    orders: int = 2  # of derivatives that exist
    special: bool = True  # whether the edge values are tried
    layouts: Sequence[str] = ()  # the only ones that are tried, of those that fit; all, by default
    signed_zero: bool = False  # whether the sign of a zero is part of the result
    exact: bool = False  # whether floats must be equal
    needs: Sequence[str] = ()  # dtypes without which the row does not apply
    rtol: Mapping[str, float] = field(default_factory=dict)  # instead of the dtype's; the row says why
    atol: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.function.__name__)

    @property
    def free(self) -> list[Input]:
        """The operands that have the row's dtype."""
        return [x for x in self.inputs if x.free]

    @property
    def polymorphic(self) -> bool:
        """Whether the operands may have any shape."""
        return all(x.shape is None for x in self.inputs)

    def dtypes(self, available: frozenset[DType]) -> list[DType]:
        """The dtypes that the row is tried in, of those that a device has."""
        fixed = [as_dtype(x.dtype) for x in self.inputs if x.dtype is not None]
        if any(as_dtype(name) not in available for name in self.needs) or any(d not in available for d in fixed):
            return []
        if not self.free:
            return fixed[:1]
        return [d for d in DTYPES if d in available and all(x.takes(d) for x in self.free)]

    def float_dtypes(self, available: frozenset[DType]) -> list[DType]:
        """Those of them in which there are gradients."""
        return [d for d in self.dtypes(available) if d.is_float and self.orders]

    def all_layouts(self) -> list[str]:
        """The layouts that the row is tried in: of memory, and, where the row leaves it open, of shape."""
        return [name for name in self._fitting() if not self.layouts or name in self.layouts]

    def _fitting(self) -> list[str]:
        several = len(self.inputs) > 1
        fixed = max((len(x.shape) for x in self.inputs if x.shape is not None), default=0)
        views = VIEWS if self.polymorphic or fixed > 1 else ("compact", "offset", "sliced", "flipped")
        shapes = tuple(SHAPES) + ("special",) * self.special + ("outer",) * several if self.polymorphic else ()
        return [*views, *("mixed",) * several, *shapes]

    def arrangement(self, layout: str, i: int) -> str:
        """How the operand `i` lies in memory."""
        return _MIXED[i % 3] if layout == "mixed" else layout if layout in VIEWS else "compact"

    def draw(self, rng: np.random.Generator, dtype: DType, layout: str, shape: Shape = BASE) -> list[Any]:
        """The operands, as NumPy arrays."""
        if layout == "special":
            return self._edges(dtype)
        values = []
        for i, x in enumerate(self.inputs):
            size = x.shape if x.shape is not None else _OUTER[i] if layout == "outer" else SHAPES.get(layout, shape)
            drawn = x.draw(rng, size, dtype if x.dtype is None else as_dtype(x.dtype))
            values.append(np.broadcast_to(drawn[:1], size) if layout == "broadcast" and size else drawn)
        return values

    def _edges(self, dtype: DType) -> list[Any]:
        """Every edge value with every other."""
        values = [edges(dtype if x.dtype is None else as_dtype(x.dtype)) for x in self.inputs]
        return [np.array(v.reshape(-1)) for v in np.meshgrid(*values, indexing="ij")]


@dataclass(frozen=True)
class Fails:
    """What a function says of operands that it cannot take: zeros of these shapes and dtypes, or any values.

    `text` begins the error's one line; `{device}` in it stands for the device that is tested.
    """

    function: Callable[..., Any]
    inputs: Sequence[Any]
    error: type[Exception]
    text: str
    dtypes: Sequence[str] = ()  # float32, by default
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.function.__name__)

"""Element types and the rule by which two of them combine.

A DType is its name: a `str` with a few facts attached, so that `x.dtype == "float32"` holds,
hashing costs nothing, and comparing with anything else is simply False.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray as NumpyArray

from needle.errors import DTypeError
from needle.live import LiveFloat, LiveInt

Category = Literal["bool", "int", "float"]


class DType(str):
    """The type of an array's elements: name, size in bytes, category, and its number in native code."""

    __slots__ = ("category", "code", "is_float", "itemsize")

    category: Category
    code: int  # enum class DType in include/needle/view.h
    is_float: bool
    itemsize: int

    def __new__(cls, name: str, code: int, itemsize: int, category: Category) -> "DType":
        self = super().__new__(cls, name)
        self.code, self.itemsize, self.category = code, itemsize, category
        self.is_float = category == "float"
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (str(self),)


bool_ = DType("bool", 0, 1, "bool")
uint8 = DType("uint8", 1, 1, "int")
int8 = DType("int8", 2, 1, "int")
int32 = DType("int32", 3, 4, "int")
int64 = DType("int64", 4, 8, "int")
float16 = DType("float16", 5, 2, "float")
bfloat16 = DType("bfloat16", 6, 2, "float")
float32 = DType("float32", 7, 4, "float")
float64 = DType("float64", 8, 8, "float")

DTYPES: tuple[DType, ...] = (bool_, uint8, int8, int32, int64, float16, bfloat16, float32, float64)
_BY_NAME: dict[str, DType] = {str(dtype): dtype for dtype in DTYPES}
DEFAULT_FLOAT = float32


def as_dtype(dtype: Any) -> DType:
    """The DType named by a DType, its name, `float`, `int`, `bool`, or a NumPy dtype."""
    if type(dtype) is DType:
        return dtype
    name = _PYTHON.get(dtype) if isinstance(dtype, type) else None
    if name is None:
        name = dtype if isinstance(dtype, str) else _numpy_name(dtype)
    if name not in _BY_NAME:
        raise DTypeError(f"no dtype {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


_PYTHON: dict[type, str] = {float: "float32", int: "int64", bool: "bool"}


def _numpy_name(dtype: Any) -> str:
    try:
        return str(dtype) if dtype is None else str(np.dtype(dtype).name)
    except TypeError:
        return str(dtype)


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """The NumPy type of the same bytes; bfloat16, which NumPy lacks, is held as uint16."""
    return np.dtype("uint16" if dtype is bfloat16 else str(dtype))


def bfloat16_from_float32(values: NumpyArray[Any]) -> NumpyArray[Any]:
    """The bits of bfloat16, rounded to nearest even, from float64 in one step as well; NaN stays NaN."""
    wide = np.asarray(values)
    bits = np.asarray(wide, dtype=np.float32).view(np.uint32)
    if wide.dtype == np.float64:
        bits = _odd_where_cut(bits, wide)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(wide), np.uint16(0x7FC0), rounded)


def _odd_where_cut(bits: NumpyArray[Any], wide: NumpyArray[Any]) -> NumpyArray[Any]:
    """float32 bits that round on as float64 itself would: cut towards zero, the last bit telling that something was cut
    (Boldo and Melquiond, 2008, call it rounding to odd)."""
    near = bits.view(np.float32).astype(np.float64)
    beyond = (np.abs(near) > np.abs(wide)).astype(np.uint32)
    return np.where((near != wide) & ~np.isnan(wide), (bits - beyond) | np.uint32(1), bits)


def float32_from_bfloat16(bits: NumpyArray[Any]) -> NumpyArray[Any]:
    """The float32 values of bfloat16 bits, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _promotion_table() -> dict[tuple[DType, DType], DType]:
    """Within a category the wider type wins; a float wins over an int, and anything over bool.

    As in the Array API standard, extended as PyTorch does: int with float keeps the float's type.
    int8 with uint8 gives int32 (there is no int16), float16 with bfloat16 gives float32.
    """
    order = {dtype: rank for rank, dtype in enumerate(DTYPES)}
    table = {}
    for a in DTYPES:
        for b in DTYPES:
            table[a, b] = a if order[a] >= order[b] else b
    table[uint8, int8] = table[int8, uint8] = int32
    table[float16, bfloat16] = table[bfloat16, float16] = float32
    return table


_PROMOTION = _promotion_table()


def promote(a: DType, b: DType) -> DType:
    """The type of the result when elements of `a` and `b` meet."""
    return _PROMOTION[a, b]


def promote_scalar(dtype: DType, category: Category) -> DType:
    """The type of `array op number`: a Python number changes the category only where it must."""
    if category == "bool" or dtype.is_float:
        return dtype
    if category == "int":
        return int64 if dtype is bool_ else dtype
    return DEFAULT_FLOAT


INDEX = frozenset({int32, int64})  # the types of an index that kernels take

# Of the Python numbers.
CATEGORY: dict[type, Category] = {bool: "bool", int: "int", float: "float", LiveInt: "int", LiveFloat: "float"}


_INT_RANGE = {d: (int(np.iinfo(str(d)).min), int(np.iinfo(str(d)).max)) for d in DTYPES if d.category == "int"}


def check_scalar(op: str, scalar: bool | int | float, dtype: DType) -> None:
    """Raise DTypeError where a Python int does not fit the integer type of the array it meets."""
    if dtype.category != "int" or isinstance(scalar, float):
        return
    low, high = _INT_RANGE[dtype]
    if not low <= scalar <= high:
        raise DTypeError(f"{op}: {scalar} does not fit {dtype}, which holds {low} to {high}")

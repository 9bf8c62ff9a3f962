"""Which types an elementwise function computes in and gives, by the Array API's rules: pure functions, cached."""

from functools import cache

from needle.dtype import DEFAULT_FLOAT, Category, DType, bool_, int32, int64, promote, promote_scalar
from needle.errors import DTypeError
from needle.kinds import BITWISE, COMPARISONS, FLOAT_ONLY, LOGICAL, PREDICATES, Binary, Unary

_ANY = COMPARISONS | {Binary.MAXIMUM, Binary.MINIMUM}
_FLOAT = frozenset({Binary.DIV, Binary.ATAN2})
_UNARY_ON_BOOL = PREDICATES | {Unary.BITWISE_NOT}


@cache
def unary_types(kind: Unary, x: DType) -> tuple[DType, DType]:
    """(type to compute in, type of the result)."""
    if kind is Unary.LOGICAL_NOT:
        return bool_, bool_
    if kind is Unary.BITWISE_NOT and x.is_float:
        raise DTypeError(f"{kind.op}: takes ints or bools, not {x}")
    if x is bool_ and kind not in _UNARY_ON_BOOL and kind not in FLOAT_ONLY:
        raise DTypeError(f"{kind.op}: not defined for bool; convert it with .astype('int32')")
    compute = DEFAULT_FLOAT if kind in FLOAT_ONLY and not x.is_float else x
    return compute, bool_ if kind in PREDICATES else compute


@cache
def binary_types(kind: Binary, a: DType, b: DType) -> tuple[DType, DType]:
    """(type to compute in, type of the result) of two arrays."""
    return _checked(kind, promote(a, b))


@cache
def _checked(kind: Binary, common: DType) -> tuple[DType, DType]:
    if kind in LOGICAL:
        return bool_, bool_
    if kind in COMPARISONS:
        return common, bool_
    if kind in BITWISE and common.is_float:
        raise DTypeError(f"{kind.op}: takes ints or bools, not {common}")
    if kind in _FLOAT and not common.is_float:
        common = DEFAULT_FLOAT
    if common is bool_ and kind not in BITWISE and kind not in _ANY:
        raise DTypeError(f"{kind.op}: not defined for bool; convert with .astype('int32') or use &, |, ^")
    return common, common


@cache
def scalar_types(kind: Binary, x: DType, category: Category) -> tuple[DType, DType]:
    """(type to compute in, type of the result) of an array and a Python number of this category, which keeps the
    array's type unless it is of a higher one."""
    return _checked(kind, promote_scalar(x, category))


def sum_dtype(x: DType, has_int64: bool) -> DType:
    """Ints and bools are summed in int64, where the device has it, so that they do not overflow."""
    if x.is_float:
        return x
    return int64 if has_int64 else int32

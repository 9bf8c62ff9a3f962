"""Mixed precision: `autocast` runs what tensor cores are fast at in a half type, and the rest as it stands.

Parameters stay float32: casting them is part of the graph, so their gradients come back in float32. Ops say by
`Op.autocast` what is to be done with their operands.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from needle.dtype import DType, as_dtype, bfloat16, float16, float32
from needle.errors import DTypeError

_half: ContextVar[DType | None] = ContextVar("needle_autocast", default=None)
_HALVES = (float16, bfloat16)


@contextmanager
def autocast(dtype: Any = bfloat16, enabled: bool = True) -> Iterator[None]:
    """Inside, products, convolutions and attention take float32 operands in `dtype`, a half type; softmax, losses and
    normalization take halves in float32. Leave it before `backward`, whose ops follow those of the forward pass."""
    half = as_dtype(dtype)
    if half not in _HALVES:
        raise DTypeError(f"autocast: takes float16 or bfloat16, not {half}")
    token = _half.set(half if enabled else None)
    try:
        yield
    finally:
        _half.reset(token)


def autocast_dtype() -> DType | None:
    """The half type of the innermost autocast, or None outside of any."""
    return _half.get()


def autocasted(way: str, inputs: Sequence[Any], half: DType) -> list[Any]:
    """The operands of an op whose way is "lower" or "raise": float32 to the half type, or halves to float32."""
    if way == "lower":
        return [x.astype(half) if x.dtype is float32 else x for x in inputs]
    return [x.astype(float32) if x.dtype in _HALVES else x for x in inputs]

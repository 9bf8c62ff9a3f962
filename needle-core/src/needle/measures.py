"""Functions that measure: logarithms of other bases, lengths of vectors, how near numbers are. Compositions."""

from math import inf, log

from needle import functions
from needle.errors import ArgumentError
from needle.functions import as_tensor
from needle.shape import Axes
from needle.tensor import Tensor, TensorLike


def log2(x: TensorLike) -> Tensor:
    """log(x) / log(2)."""
    return functions.log(x) * (1 / log(2))


def log10(x: TensorLike) -> Tensor:
    """log(x) / log(10)."""
    return functions.log(x) * (1 / log(10))


def logaddexp(a: TensorLike, b: TensorLike) -> Tensor:
    """log(exp(a) + exp(b)), without overflow."""
    return functions.logsumexp(functions.stack(functions.broadcast_tensors(a, b)), 0)


def outer(a: TensorLike, b: TensorLike) -> Tensor:
    """a (m,), b (n,) -> (m, n): each element of a times each of b; of higher rank as one row."""
    x, y = as_tensor(a), as_tensor(b)
    return x.reshape(x.size, 1) * y.reshape(1, y.size)


def vector_norm(
    x: TensorLike, axes: Axes = None, keepdims: bool = False, ord: float = 2, *, axis: Axes = None
) -> Tensor:
    """The length: the root of the sum of squares, for `ord` 1 the sum of |x|, for inf the largest |x|.

    The gradient of a root of 0 is 0.
    """
    y = as_tensor(x)
    if ord == 1:
        return y.abs().sum(axes, keepdims, axis=axis)
    if ord == inf:
        return y.abs().max(axes, keepdims, axis=axis)
    if ord != 2:
        raise ArgumentError(f"vector_norm: ord is 1, 2 or inf, not {ord!r}")
    total = y.square().sum(axes, keepdims, axis=axis)
    nothing = total.detach().equal(0)
    return nothing.where(0, nothing.where(1, total).sqrt())


def isclose(a: TensorLike, b: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |a - b| <= atol + rtol * |b|, or both are the same infinity; or NaN, if asked for."""
    x, y = (z.detach() for z in functions.broadcast_tensors(a, b))
    near = functions.less_equal((x - y).abs(), y.abs() * rtol + atol)
    found = functions.logical_or(functions.equal(x, y), functions.logical_and(near, functions.isfinite(y)))
    if not equal_nan:
        return found
    return functions.logical_or(found, functions.logical_and(functions.isnan(x), functions.isnan(y)))


def allclose(a: TensorLike, b: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds everywhere. The device is waited for."""
    return bool(isclose(a, b, rtol, atol, equal_nan).all())

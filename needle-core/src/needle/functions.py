"""The functions of `needle`: each takes Tensors, arrays or numbers and is one line onto a Tensor's method or an op."""

from builtins import all as builtin_all
from builtins import any as builtin_any
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from needle.dtype import promote
from needle.errors import DTypeError, NotATensorError, ShapeError
from needle.face import Tensor
from needle.graph import enable_grad
from needle.kinds import Binary, Unary
from needle.ops.elementwise import UNARY_OPS, Clip
from needle.ops.movement import Concatenate, Reshape
from needle.ops.pairwise import BINARY_OPS
from needle.ops.parts import Part, Whole
from needle.shape import Axes, Shape, broadcast_shapes, normalize_axis
from needle.tensor import Tensor as AnyTensor
from needle.tensor import TensorLike, apply, grad_of


def as_tensor(value: TensorLike) -> Tensor:
    """A Tensor, itself if it is one."""
    return value if isinstance(value, Tensor) else Tensor(value)


def _unary(kind: Unary, about: str) -> Callable[[TensorLike], Tensor]:
    def function(x: TensorLike) -> Tensor:
        return as_tensor(x)._unary(kind)

    function.__name__ = function.__qualname__ = kind.op
    function.__doc__ = about
    return function


def _binary(kind: Binary, about: str) -> Callable[[TensorLike, TensorLike], Tensor]:
    def function(a: TensorLike, b: TensorLike) -> Tensor:
        if isinstance(a, Tensor):
            return a._binary(kind, b)
        return b._swapped(kind, a) if isinstance(b, Tensor) else as_tensor(a)._binary(kind, b)

    function.__name__ = function.__qualname__ = kind.op
    function.__doc__ = about
    return function


def elementwise(name: str) -> Callable[..., Tensor] | None:
    """The function of a kind that has no line below: named as its kind, documented as its op."""
    for unary, op in UNARY_OPS.items():
        if unary.op == name:
            return _unary(unary, op.__doc__ or "")
    for binary, pair in BINARY_OPS.items():
        if binary.op == name:
            return _binary(binary, pair.__doc__ or "")
    return None


negative = _unary(Unary.NEG, "-x.")
abs = _unary(Unary.ABS, "|x|; its gradient at 0 is 0.")
square = _unary(Unary.SQUARE, "x * x.")
sign = _unary(Unary.SIGN, "-1, 0 or 1; NaN for NaN.")
relu = _unary(Unary.RELU, "max(x, 0); its gradient at 0 is 0.")
exp = _unary(Unary.EXP, "e ** x.")
expm1 = _unary(Unary.EXPM1, "exp(x) - 1, exact near 0.")
log = _unary(Unary.LOG, "The natural logarithm.")
log1p = _unary(Unary.LOG1P, "log(1 + x), exact near 0.")
sqrt = _unary(Unary.SQRT, "The square root; NaN below 0.")
rsqrt = _unary(Unary.RSQRT, "1 / sqrt(x).")
reciprocal = _unary(Unary.RECIPROCAL, "1 / x.")
sin = _unary(Unary.SIN, "The sine of x in radians.")
cos = _unary(Unary.COS, "The cosine of x in radians.")
tanh = _unary(Unary.TANH, "The hyperbolic tangent.")
sigmoid = _unary(Unary.SIGMOID, "1 / (1 + exp(-x)).")
erf = _unary(Unary.ERF, "The error function.")
softplus = _unary(Unary.SOFTPLUS, "log(1 + exp(x)), a smooth relu.")
floor = _unary(Unary.FLOOR, "Rounded down.")
ceil = _unary(Unary.CEIL, "Rounded up.")
round = _unary(Unary.ROUND, "Rounded to the nearest integer, halves to the even one.")
trunc = _unary(Unary.TRUNC, "Rounded towards 0.")
logical_not = _unary(Unary.LOGICAL_NOT, "Whether x is 0 or False.")
bitwise_not = _unary(Unary.BITWISE_NOT, "Every bit inverted.")
isnan = _unary(Unary.ISNAN, "Whether x is NaN.")
isinf = _unary(Unary.ISINF, "Whether x is infinite.")
isfinite = _unary(Unary.ISFINITE, "Whether x is neither infinite nor NaN.")

add = _binary(Binary.ADD, "a + b.")
subtract = _binary(Binary.SUB, "a - b.")
multiply = _binary(Binary.MUL, "a * b.")
divide = _binary(Binary.DIV, "a / b; ints give float32.")
power = _binary(Binary.POW, "a ** b.")
maximum = _binary(Binary.MAXIMUM, "The larger of a and b; NaN if one is. Equal operands share the gradient.")
minimum = _binary(Binary.MINIMUM, "The smaller of a and b; NaN if one is. Equal operands share the gradient.")
floor_divide = _binary(Binary.FLOOR_DIVIDE, "a / b rounded down; for ints, 0 where b is 0.")
remainder = _binary(Binary.REMAINDER, "a - floor(a / b) * b, with the sign of b.")
atan2 = _binary(Binary.ATAN2, "The angle of the point (b, a), in radians.")
equal = _binary(Binary.EQUAL, "a == b, elementwise.")
not_equal = _binary(Binary.NOT_EQUAL, "a != b, elementwise.")
less = _binary(Binary.LESS, "a < b, elementwise.")
less_equal = _binary(Binary.LESS_EQUAL, "a <= b, elementwise.")
greater = _binary(Binary.GREATER, "a > b, elementwise.")
greater_equal = _binary(Binary.GREATER_EQUAL, "a >= b, elementwise.")
logical_and = _binary(Binary.LOGICAL_AND, "a and b, of bools.")
logical_or = _binary(Binary.LOGICAL_OR, "a or b, of bools.")
logical_xor = _binary(Binary.LOGICAL_XOR, "Whether one of a and b is true.")
bitwise_and = _binary(Binary.BITWISE_AND, "a & b, of ints or bools.")
bitwise_or = _binary(Binary.BITWISE_OR, "a | b, of ints or bools.")
bitwise_xor = _binary(Binary.BITWISE_XOR, "a ^ b, of ints or bools.")
bitwise_left_shift = _binary(Binary.SHIFT_LEFT, "a << b; 0 beyond the width.")
bitwise_right_shift = _binary(Binary.SHIFT_RIGHT, "a >> b, keeping the sign.")


def where(condition: TensorLike, a: TensorLike, b: TensorLike) -> Tensor:
    """a where the condition holds, else b."""
    return as_tensor(condition).where(a, b)


def clip(x: TensorLike, low: float | None = None, high: float | None = None) -> Tensor:
    """x, but at least `low` and at most `high`; the gradient flows within the bounds and at them."""
    y = as_tensor(x)
    if y.dtype.is_float and builtin_all(bound is None or type(bound) in (int, float) for bound in (low, high)):
        return apply(Clip(low, high), y)
    y = y if low is None else y.maximum(low)
    return y if high is None else y.minimum(high)


def sum(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """The sum over axes, or of all; ints and bools in int64."""
    return as_tensor(x).sum(axes, keepdims, axis=axis)


def prod(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """The product over axes, or of all."""
    return as_tensor(x).prod(axes, keepdims, axis=axis)


def max(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """The largest element; NaN if there is one. Equal elements share the gradient."""
    return as_tensor(x).max(axes, keepdims, axis=axis)


def min(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """The smallest element; NaN if there is one. Equal elements share the gradient."""
    return as_tensor(x).min(axes, keepdims, axis=axis)


def any(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """Whether some element is true."""
    return as_tensor(x).any(axes, keepdims, axis=axis)


def all(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """Whether every element is true."""
    return as_tensor(x).all(axes, keepdims, axis=axis)


def mean(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """The mean; ints give float32."""
    return as_tensor(x).mean(axes, keepdims, axis=axis)


def var(
    x: TensorLike, axes: Axes = None, keepdims: bool = False, correction: float = 0, *, axis: Axes = None
) -> Tensor:
    """The variance, over n - correction."""
    return as_tensor(x).var(axes, keepdims, correction, axis=axis)


def std(
    x: TensorLike, axes: Axes = None, keepdims: bool = False, correction: float = 0, *, axis: Axes = None
) -> Tensor:
    """The standard deviation, over n - correction."""
    return as_tensor(x).std(axes, keepdims, correction, axis=axis)


def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the first largest element."""
    return as_tensor(x).argmax(axis, keepdims)


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the first smallest element."""
    return as_tensor(x).argmin(axis, keepdims)


def cumsum(x: TensorLike, axis: int) -> Tensor:
    """Running sums along an axis."""
    return as_tensor(x).cumsum(axis)


def reshape(x: TensorLike, shape: Shape) -> Tensor:
    """The same elements in row-major order; one size may be -1."""
    return as_tensor(x).reshape(shape)


def permute(x: TensorLike, axes: Shape) -> Tensor:
    """Axis `axes[i]` becomes axis i."""
    return as_tensor(x).permute(axes)


def broadcast_to(x: TensorLike, shape: Shape) -> Tensor:
    """Axes of size 1, and new leading axes, repeated without a copy."""
    return as_tensor(x).broadcast_to(shape)


def flip(x: TensorLike, axes: Axes = None, *, axis: Axes = None) -> Tensor:
    """Axes in reverse order."""
    return as_tensor(x).flip(axes, axis=axis)


def squeeze(x: TensorLike, axes: Axes = None, *, axis: Axes = None) -> Tensor:
    """Without axes of size 1."""
    return as_tensor(x).squeeze(axes, axis=axis)


def expand_dims(x: TensorLike, axis: int) -> Tensor:
    """With a new axis of size 1."""
    return as_tensor(x).expand_dims(axis)


def concatenate(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """End to end along an axis; their other sizes agree, their types are promoted."""
    inputs = _same_dtype("concatenate", tensors)
    return apply(Concatenate(normalize_axis(axis, inputs[0].ndim, "concatenate")), *inputs)


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Side by side along a new axis; all of one shape."""
    inputs = _same_dtype("stack", tensors)
    for x in inputs:
        if x.shape != inputs[0].shape:
            raise ShapeError(f"stack: {inputs[0].shape} and {x.shape} differ")
    at = normalize_axis(axis, inputs[0].ndim + 1, "stack")
    wide = (*inputs[0].shape[:at], 1, *inputs[0].shape[at:])
    return apply(Concatenate(at), *(apply(Reshape(wide), x) for x in inputs))


def split(x: TensorLike, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Equal parts (an int), or parts of the given sizes, along an axis: views."""
    whole = as_tensor(x)
    at = normalize_axis(axis, whole.ndim, "split")
    n = whole.shape[at]
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise ShapeError(f"split: {n} do not divide into {sections} parts along axis {at}: shape is {whole.shape}")
        sections = [n // sections] * sections
    total = 0
    for size in sections:
        total += size
    if total != n:
        raise ShapeError(f"split: parts {list(sections)} add up to {total}, axis {at} has {n}: shape is {whole.shape}")
    parts, start, behind = [], 0, apply(Whole(at, tuple(sections)), whole)
    for i, size in enumerate(sections):
        parts.append(apply(Part(at, i, start, size), behind))
        start += size
    return tuple(parts)


def _same_dtype(op: str, tensors: Sequence[TensorLike]) -> list[Tensor]:
    inputs = [as_tensor(x) for x in tensors]
    if not inputs:
        raise ShapeError(f"{op}: takes at least one tensor")
    dtype = inputs[0].dtype
    for x in inputs:
        dtype = promote(dtype, x.dtype)
    return [x.astype(dtype) for x in inputs]


def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """(..., m, k) @ (..., k, n) -> (..., m, n)."""
    return as_tensor(a) @ as_tensor(b)


def linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """x (..., k) @ weight (k, n) + bias, and relu of that if asked for, in one pass."""
    if not (isinstance(x, AnyTensor) and isinstance(weight, AnyTensor)):
        raise NotATensorError("linear", weight if isinstance(x, AnyTensor) else x)
    return x.linear(weight, bias, relu)


def gather(x: TensorLike, index: TensorLike, axis: int) -> Tensor:
    """x[..., index[...], ...] along an axis; the other axes of index are x's, or 1."""
    return as_tensor(x).gather(as_tensor(index), axis)


def scatter_add(x: TensorLike, index: TensorLike, source: TensorLike, axis: int) -> Tensor:
    """x, to which source is added at the index along an axis; repeated indices add up."""
    return as_tensor(x).scatter_add(as_tensor(index), as_tensor(source), axis)


def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis, without overflow."""
    return as_tensor(x).softmax(axis)


def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """x - logsumexp(x) along an axis."""
    return as_tensor(x).log_softmax(axis)


def logsumexp(x: TensorLike, axes: Axes = None, keepdims: bool = False, *, axis: Axes = None) -> Tensor:
    """log(sum(exp(x))) without overflow."""
    return as_tensor(x).logsumexp(axes, keepdims, axis=axis)


def cross_entropy(logits: TensorLike, labels: TensorLike) -> Tensor:
    """The mean of logsumexp(row) - row[label]: logits (rows, classes), labels (rows,) -> ()."""
    return as_tensor(logits).cross_entropy(as_tensor(labels))


def broadcast_tensors(*tensors: TensorLike) -> tuple[Tensor, ...]:
    """All stretched to their common shape."""
    inputs = [as_tensor(x) for x in tensors]
    if not inputs:
        return ()
    shape = broadcast_shapes("broadcast_tensors", *(x.shape for x in inputs))
    return tuple(x.broadcast_to(shape) for x in inputs)


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False, create_graph: bool = False
) -> Callable[..., Any]:
    """The function that gives (f(...), its gradients with respect to the arguments `argnums`).

    f returns one element, or (one element, anything) if `has_aux`. Gradients of gradients work by nesting;
    `create_graph` makes them differentiable with respect to tensors that f merely refers to, too.
    """
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @wraps(f)
    def function(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            inputs = {i: _tracked(args[i]) for i in chosen}
            nested = builtin_any(as_tensor(args[i]).requires_grad for i in chosen)
            result = f(*(inputs.get(i, arg) for i, arg in enumerate(args)), **kwargs)
            value = result[0] if has_aux else result
            if not isinstance(value, Tensor):
                raise DTypeError(f"value_and_grad: {f.__name__} returned {type(value).__name__}, not a Tensor")
            found = grad_of(
                value, list(inputs.values()), create_graph=create_graph or nested, retain_graph=True, allow_unused=True
            )
        grads = tuple(
            Tensor(x.array.filled(x.shape, 0, x.dtype)) if g is None else g
            for g, x in zip(found, inputs.values(), strict=True)
        )
        return result if nested or create_graph else _detached(result), grads[0] if isinstance(argnums, int) else grads

    return function


def grad(target: Any, *args: Any, **options: Any) -> Any:
    """`grad(f)` is the function that gives f's gradient, as `value_and_grad` does without the value;
    `grad(outputs, inputs, grad_outputs=None, retain_graph=, create_graph=, allow_unused=)` gives gradients of tensors
    with respect to tensors and leaves every `.grad` as it is."""
    if callable(target):
        with_value = value_and_grad(target, *args, **options)

        @wraps(target)
        def function(*inputs: Any, **kwargs: Any) -> Any:
            value, grads = with_value(*inputs, **kwargs)
            return (grads, value[1]) if options.get("has_aux") else grads

        return function
    return grad_of(target, *args, **options)


def _tracked(x: Any) -> Tensor:
    """A tensor to differentiate by: a new leaf, or, inside another gradient, a new place in its graph."""
    tensor = as_tensor(x)
    if tensor.requires_grad:
        return apply(Reshape(tensor.shape), tensor)
    return Tensor(tensor.array, requires_grad=True)


def _detached(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(_detached(r) for r in result)
    return result.detach() if isinstance(result, Tensor) else result

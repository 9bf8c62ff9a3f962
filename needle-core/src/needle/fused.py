"""The fused functions of Tensor: convolution, pooling, normalization, attention.

Their gradients are kernels on NDArrays. The methods of the same names here compose them from differentiable ops, so
that derivatives of higher order follow.
"""

from abc import abstractmethod
from typing import Any, Self, TypeVar

from needle import formulas
from needle.convolution import Pair, Window
from needle.dtype import DType
from needle.errors import NotATensorError
from needle.kinds import Binary, Pool
from needle.op import Op
from needle.ops.conv import Conv, ConvGradInput, ConvGradWeight, Pool2d
from needle.ops.norm import ArgSort, Attention, BatchNorm, LayerNorm, RMSNorm
from needle.result_types import binary_types
from needle.shape import Shape

T = TypeVar("T", bound="FusedFunctions")


class FusedFunctions:
    """The methods of Tensor that are one fused op."""

    __slots__ = ()

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """The sizes of the axes."""

    @property
    @abstractmethod
    def dtype(self) -> DType:
        """Of the elements."""

    @abstractmethod
    def _apply(self, op: Op, *others: Self) -> Self:
        """The op of self and others."""

    @abstractmethod
    def astype(self, dtype: Any) -> Self:
        """Converted to another element type."""

    def _fused(self, op: Op, *others: Self) -> Self:
        """The op of self and others, all converted to one type: kernels of several operands take one."""
        first, *rest = promoted(self, *others)
        return first._apply(op, *rest)

    def conv2d(self, kernel: Self, window: Window) -> Self:
        """(N, H, W, C) * (KH, KW, C / groups, O) -> (N, OH, OW, O)."""
        return self._fused(Conv(window), kernel)

    def conv2d_grad_input(self, kernel: Self, shape: Shape, window: Window) -> Self:
        return self._fused(ConvGradInput(shape, window), kernel)

    def conv2d_grad_weight(self, image: Self, shape: Shape, window: Window) -> Self:
        return self._fused(ConvGradWeight(shape, window), image)

    def pool2d(self, kind: Pool, size: Pair, stride: Pair, padding: Pair = (0, 0)) -> Self:
        """The largest, or the mean, of each window: (N, H, W, C) -> (N, OH, OW, C)."""
        x = floating(self) if kind is Pool.MEAN else self
        return x._apply(Pool2d(kind, size, stride, padding))

    def pool2d_grad(self, kind: Pool, x: Any, y: Any, size: Pair, stride: Pair, padding: Pair) -> Any:
        if kind is Pool.MEAN:
            return formulas.mean_pool_grad(self, x.shape, size, stride, padding)
        return formulas.max_pool_grad(self, x, y, size, stride, padding)

    def layer_norm(self, weight: Self, bias: Self, eps: float = 1e-5) -> Self:
        """(x - mean) / sqrt(var + eps) * weight + bias over the last axis."""
        return self._fused(LayerNorm(eps), weight, bias)

    def layer_norm_grad(self, x: Self, weight: Self, eps: float) -> Any:
        return formulas.layer_norm_grad(self, x, weight, eps)

    def rms_norm(self, weight: Self, eps: float = 1e-5) -> Self:
        """x / sqrt(mean(x**2) + eps) * weight over the last axis."""
        return self._fused(RMSNorm(eps), weight)

    def rms_norm_grad(self, x: Self, weight: Self, eps: float) -> Any:
        return formulas.rms_norm_grad(self, x, weight, eps)

    def batch_norm(
        self, weight: Self, bias: Self, mean: Self, var: Self, eps: float = 1e-5, training: bool = True
    ) -> Self:
        """(x - mean) / sqrt(var + eps) * weight + bias per channel, the last axis; in training mean and var are
        the moments of x."""
        return self._fused(BatchNorm(eps, training), weight, bias, mean, var)

    def batch_norm_grad(self, x: Any, weight: Self, mean: Any, var: Any, eps: float, training: bool) -> Any:
        if training:  # then they depend on x, which a second derivative must see
            mean, var = formulas.moments(x)
        return formulas.batch_norm_grad(self, x, weight, mean, var, eps, training)

    def attention(self, key: Self, value: Self, causal: bool = False, scale: float | None = None) -> Self:
        """softmax(q @ k.mT * scale) @ v for q = self; the scale is 1 / sqrt(D) unless given."""
        return floating(self)._fused(Attention(causal, self.shape[-1] ** -0.5 if scale is None else scale), key, value)

    def attention_grad(self, q: Any, k: Any, v: Any, y: Any, causal: bool, scale: float) -> Any:
        return formulas.attention_grad(self, q, k, v, causal, scale)

    def argsort(self, descending: bool = False) -> Self:
        """The order that sorts the last axis; stable, a NaN larger than all."""
        return self._apply(ArgSort(descending))


def floating(x: T) -> T:
    """Itself if of floating point, else in float32."""
    return x if x.dtype.is_float else x.astype("float32")


def promoted(*tensors: T) -> tuple[T, ...]:
    """All in the type that their elements have when they meet."""
    dtype = tensors[0].dtype
    for x in tensors:
        if x.dtype is not dtype:
            break
    else:
        return tensors
    for x in tensors:
        if not isinstance(x.dtype, DType):
            raise NotATensorError("promote", x)
        dtype, _ = binary_types(Binary.ADD, dtype, x.dtype)
    return tuple(x.astype(dtype) for x in tensors)

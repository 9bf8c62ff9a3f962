"""Needle: a deep learning framework whose devices are plug-ins.

    import needle as ndl

    x = ndl.randn(3, 4, requires_grad=True)
    loss = (x @ x.T).square().mean()
    loss.backward()
    x.grad

Devices are functions of this module: `ndl.cpu()`, `ndl.cuda(1)`, or whatever is installed; see `ndl.devices()`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from needle import composed_layers as _composed  # noqa: F401  fills dispatch with the composed defaults
from needle import course_names as _course
from needle import functions, graph, init, observe, ops
from needle import numpy_functions as _numpy_functions  # noqa: F401  tells Tensor NumPy's names of its functions
from needle.arrangement import (
    argsort,
    dilate,
    masked_fill,
    pad,
    sort,
    topk,
    undilate,
)
from needle.compiled import compile, log_from_environment
from needle.device import (
    Device,
)
from needle.dispatch import (
    get_matmul_precision,
    set_matmul_precision,
)
from needle.dtype import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
)
from needle.einstein import (
    einsum,
)
from needle.errors import (
    ArgumentError,
    BackendError,
    DataError,
    DeviceError,
    DTypeError,
    GraphError,
    IndexRangeError,
    KernelError,
    NeedleError,
    OutOfMemoryError,
    ShapeError,
    UnsupportedError,
)
from needle.face import (
    Tensor,
)
from needle.fallback import (
    FallbackWarning,
    fallbacks,
    reset_fallbacks,
    set_fallback,
)
from needle.functions import (
    abs,
    add,
    all,
    any,
    argmax,
    argmin,
    as_tensor,
    atan2,
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    broadcast_tensors,
    broadcast_to,
    ceil,
    clip,
    concatenate,
    cos,
    cross_entropy,
    cumsum,
    divide,
    equal,
    erf,
    exp,
    expand_dims,
    expm1,
    flip,
    floor,
    floor_divide,
    gather,
    grad,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    linear,
    log,
    log1p,
    log_softmax,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    not_equal,
    permute,
    power,
    prod,
    reciprocal,
    relu,
    remainder,
    reshape,
    round,
    rsqrt,
    scatter_add,
    sigmoid,
    sign,
    sin,
    softmax,
    softplus,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    subtract,
    sum,
    tanh,
    trunc,
    value_and_grad,
    var,
    where,
)
from needle.graph import (
    enable_grad,
    is_grad_enabled,
    no_grad,
)
from needle.habits import hint as _hint
from needle.image import (
    adaptive_avg_pool2d,
    avg_pool2d,
    conv1d,
    conv2d,
    conv_transpose2d,
    max_pool2d,
)
from needle.init import (
    arange,
    empty,
    eye,
    full,
    full_like,
    linspace,
    multinomial,
    one_hot,
    ones,
    ones_like,
    rand,
    randb,
    randint,
    randn,
    tensor,
    zeros,
    zeros_like,
)
from needle.measures import allclose, isclose, log2, log10, logaddexp, outer, vector_norm
from needle.ndarray import (
    NDArray,
    from_dlpack,
)
from needle.neural import (
    attention_weights,
    dropout,
    embedding,
    gelu,
    lstm,
    scaled_dot_product_attention,
    silu,
)
from needle.placement import meshgrid, moveaxis, repeat, roll, tile, tril, triu, unstack
from needle.precision import autocast
from needle.profiler import profile
from needle.random import (
    Generator,
    manual_seed,
)
from needle.registry import (
    default_device,
    device,
    devices,
    use_device,
)
from needle.registry import registry as _registry

if TYPE_CHECKING:
    from needle import data as data
    from needle import nn as nn
    from needle import optim as optim

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BackendError",
    "DType",
    "DTypeError",
    "DataError",
    "Device",
    "DeviceError",
    "FallbackWarning",
    "Generator",
    "GraphError",
    "IndexRangeError",
    "KernelError",
    "NDArray",
    "NeedleError",
    "OutOfMemoryError",
    "ShapeError",
    "Tensor",
    "UnsupportedError",
    "abs",
    "adaptive_avg_pool2d",
    "add",
    "all",
    "allclose",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "as_tensor",
    "atan2",
    "attention_weights",
    "autocast",
    "avg_pool2d",
    "bfloat16",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool_",
    "broadcast_tensors",
    "broadcast_to",
    "ceil",
    "clip",
    "compile",
    "concatenate",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cos",
    "cross_entropy",
    "cumsum",
    "default_device",
    "device",
    "devices",
    "dilate",
    "divide",
    "dropout",
    "einsum",
    "embedding",
    "empty",
    "enable_grad",
    "equal",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "fallbacks",
    "flip",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "from_dlpack",
    "full",
    "full_like",
    "gather",
    "gelu",
    "get_matmul_precision",
    "grad",
    "graph",
    "greater",
    "greater_equal",
    "init",
    "int8",
    "int32",
    "int64",
    "is_grad_enabled",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "linear",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "lstm",
    "manual_seed",
    "masked_fill",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "moveaxis",
    "multinomial",
    "multiply",
    "negative",
    "no_grad",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "ops",
    "outer",
    "pad",
    "permute",
    "power",
    "prod",
    "profile",
    "rand",
    "randb",
    "randint",
    "randn",
    "reciprocal",
    "relu",
    "remainder",
    "repeat",
    "reset_fallbacks",
    "reshape",
    "roll",
    "round",
    "rsqrt",
    "scaled_dot_product_attention",
    "scatter_add",
    "set_fallback",
    "set_matmul_precision",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "tanh",
    "tensor",
    "tile",
    "topk",
    "tril",
    "triu",
    "trunc",
    "uint8",
    "undilate",
    "unstack",
    "use_device",
    "value_and_grad",
    "var",
    "vector_norm",
    "where",
    "zeros",
    "zeros_like",
]

_FORWARDED = ("nn", "optim", "data")  # modules of needle-nn
_LAZY = ("backend_ndarray", "backend_selection")  # modules of the course's face


def _device_function(name: str) -> Callable[[int], Device]:
    def function(index: int = 0) -> Device:
        return _registry.device(name, index)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Device `index` of the backend '{name}'."
    return function


def __getattr__(name: str) -> Any:
    """`needle.nn` and its like on first use; a function for each elementwise kind and installed backend; last the
    course's ops."""
    if name in _FORWARDED:
        try:
            return import_module(f"needle.{name}")
        except ModuleNotFoundError as error:
            if error.name != "needle_nn":
                raise
            raise AttributeError(str(error)) from error
    if name in _LAZY:
        return import_module(f"needle.{name}")
    if not name.startswith("_"):
        function = functions.elementwise(name)
        if function is not None:
            return globals().setdefault(name, function)
        if name in _registry.names():
            return globals().setdefault(name, _device_function(name))
        if hasattr(ops, name):
            return globals().setdefault(name, getattr(ops, name))
        if known := _hint(name):
            raise AttributeError(f"module 'needle' has no attribute '{name}'{known}")
        installed = ", ".join(_registry.names())
        raise AttributeError(
            f"module 'needle' has no attribute '{name}', and no such device is installed (there are {installed}); "
            f"if it is a device: pip install needle-backend-{name}"
        )
    raise AttributeError(f"module 'needle' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*__all__, *_FORWARDED, *_registry.names()})


observe.from_environment()
log_from_environment()

# As attributes, `matmul` and `conv` are the course's functions; `from needle.ops.matmul import` finds the modules.
del ops.matmul, ops.conv
globals().update(_course.NAMES)  # under NEEDLE_COURSE=1

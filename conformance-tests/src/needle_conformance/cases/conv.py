"""Convolution with its two transposes, and pooling: of images with channels last, as ops are, and channels first."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import needle as ndl
from needle.convolution import Pair, Window
from needle.kinds import Pool
from needle_conformance.case import Case, Options
from needle_conformance.inputs import Input, floats

# Some units in the last place of the products that are summed; composed, the halves of each place are rounded first.
_PRODUCTS = {"float64": 1e-13, "float32": 2e-5, "float16": 2e-2, "bfloat16": 1.5e-1}
_MANY = {"float64": 1e-12, "float32": 2e-4, "float16": 6e-2, "bfloat16": 5e-1}

_WINDOWS: tuple[Options, ...] = (
    {"window": Window()},
    {"window": Window((2, 1), (1, 0))},
    {"window": Window((1, 2), (0, 2), (2, 1))},
)


def _seen(x: Any, size: Any, window: Window) -> Any:
    """What each place of the result sees: (N, OH, OW, C, KH, KW)."""
    (i, j), (k, m) = window.stride, window.dilation
    padded = np.pad(x, ((0, 0), *((p, p) for p in window.padding), (0, 0)))
    reach = tuple(d * (n - 1) + 1 for n, d in zip(size, window.dilation, strict=True))
    return sliding_window_view(padded, reach, axis=(1, 2))[:, ::i, ::j, :, ::k, ::m]


def _split(x: Any, axis: int, groups: int) -> Any:
    """The channels as (groups, channels of each)."""
    return x.reshape(*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])


def _conv(x: Any, w: Any, window: Window) -> Any:
    groups = window.groups
    seen = _split(_seen(x, w.shape[:2], window), 3, groups)
    y = np.einsum("nijgckm,kmcgo->nijgo", seen, _split(w, 3, groups))
    return y.reshape(*y.shape[:3], w.shape[3])


def _grad_input(g: Any, w: Any, shape: Any, window: Window) -> Any:
    """By the matrix of the convolution: its columns are what the images of a single 1 give."""
    size = int(np.prod(shape[1:]))
    columns = _conv(np.eye(size).reshape(size, *shape[1:]), w, window)
    return np.einsum("nijo,pijo->np", g, columns).reshape(shape)


def _grad_weight(g: Any, x: Any, shape: Any, window: Window) -> Any:
    groups = window.groups
    seen = _split(_seen(x, shape[:2], window), 3, groups)
    return np.einsum("nijgckm,nijgo->kmcgo", seen, _split(g, 3, groups)).reshape(shape)


def _conv_case(name: str, image: Input, kernel: Input, windows: tuple[Options, ...], **row: Any) -> Case:
    return Case(lambda x, w, window: x.conv2d(w, window), _conv, [image, kernel], windows, name,
                **{"atol": _PRODUCTS, **row})  # fmt: skip


def _transposes(name: str, result: Input, kernel: Input, image: Input, window: Window) -> list[Case]:
    """The rows of both transposes of one convolution."""
    to_image, to_kernel = {"shape": image.shape, "window": window}, {"shape": kernel.shape, "window": window}
    return [
        Case(lambda g, w, shape, window: g.conv2d_grad_input(w, shape, window), _grad_input, [result, kernel],
             [to_image], f"conv_grad_input{name}", atol=_PRODUCTS),
        Case(lambda g, x, shape, window: g.conv2d_grad_weight(x, shape, window), _grad_weight, [result, image],
             [to_kernel], f"conv_grad_weight{name}", atol=_PRODUCTS),
    ]  # fmt: skip


CONVOLUTIONS = [
    _conv_case("conv", floats(1, 4, 5, 2), floats(3, 2, 2, 3), _WINDOWS[:2]),
    _conv_case("conv_dilated", floats(1, 5, 4, 1), floats(2, 2, 1, 2), _WINDOWS[2:]),
    _conv_case("conv_of_points", floats(2, 3, 2, 3), floats(1, 1, 3, 2), _WINDOWS[:1]),
    _conv_case("conv_groups", floats(1, 4, 3, 4), floats(2, 2, 2, 6), ({"window": Window(padding=(0, 1), groups=2)},)),
    _conv_case("conv_depthwise", floats(1, 3, 3, 3), floats(2, 2, 1, 3), ({"window": Window(groups=3)},)),
    _conv_case("conv_of_none", floats(0, 4, 5, 2), floats(3, 2, 2, 3), _WINDOWS[:2], orders=1),
    _conv_case("conv_large", floats(3, 17, 18, 5), floats(3, 3, 5, 19), _WINDOWS, orders=0, atol=_MANY),
    *_transposes("", floats(1, 2, 4, 3), floats(3, 2, 2, 3), floats(1, 4, 5, 2), Window((2, 1), (1, 0))),
    *_transposes("_remainder", floats(1, 2, 1, 2), floats(2, 2, 1, 2), floats(1, 4, 3, 1), Window((2, 2))),
    *_transposes("_groups", floats(1, 2, 2, 4), floats(2, 2, 1, 4), floats(1, 3, 3, 2), Window(groups=2)),
]


def _image(*shape: int) -> Input:
    """An image without two equal elements."""
    return Input(shape, -20, 20, distinct=True)


def _pool(x: Any, kind: Pool, size: Pair, stride: Pair, padding: Pair = (0, 0)) -> Any:
    around = ((0, 0), *((p, p) for p in padding), (0, 0))
    padded = np.pad(x, around, constant_values=-np.inf if kind is Pool.MAX else 0)
    seen = sliding_window_view(padded, size, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return seen.max((-2, -1)) if kind is Pool.MAX else seen.mean((-2, -1))


_POOLS: list[Options] = [
    {"kind": kind, "size": size, "stride": stride, "padding": padding}
    for kind in Pool
    for size, stride, padding in (((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 1)))
]
_MEANS = {"float64": 1e-13, "float32": 2e-5, "float16": 2e-2, "bfloat16": 1.5e-1}

POOLS = [
    Case(lambda x, **options: x.pool2d(**options), _pool, [_image(1, 4, 5, 2)], _POOLS, "pool2d", atol=_MEANS),
    Case(lambda x, **options: x.pool2d(**options), _pool, [_image(3, 19, 17, 5)], _POOLS, "pool2d_large", orders=0,
         atol=_MEANS),
]  # fmt: skip


def _first(x: Any) -> Any:
    """Channels first."""
    return x.transpose(0, 3, 1, 2)


def _last(x: Any) -> Any:
    return x.transpose(0, 2, 3, 1)


def _conv2d(x: Any, w: Any, b: Any, stride: int, padding: Pair) -> Any:
    return _first(_conv(_last(x), w, Window((stride, stride), padding)) + b)


def _conv1d(x: Any, w: Any, b: Any, stride: int, dilation: int) -> Any:
    window = Window((1, stride), (0, 0), (1, dilation))
    return _first(_conv(_last(x[:, :, None]), w[None], window) + b)[:, :, 0]


def _conv_transpose2d(x: Any, w: Any, b: Any, stride: int, padding: int, output_padding: Pair) -> Any:
    n, _, *size = x.shape
    sizes = zip(size, w.shape, output_padding, strict=False)
    shape = (n, *((m - 1) * stride - 2 * padding + k + more for m, k, more in sizes), w.shape[2])
    window = Window((stride, stride), (padding, padding))
    return _first(_grad_input(_last(x), w, shape, window) + b)


def _max_pool2d(x: Any, kernel_size: int) -> Any:
    return _first(_pool(_last(x), Pool.MAX, (kernel_size,) * 2, (kernel_size,) * 2))


def _avg_pool2d(x: Any, kernel_size: Pair, stride: int) -> Any:
    return _first(_pool(_last(x), Pool.MEAN, kernel_size, (stride, stride)))


def _adaptive_avg_pool2d(x: Any, output_size: Pair) -> Any:
    n, c, h, w = x.shape
    i, j = output_size
    return x.reshape(n, c, i, h // i, j, w // j).mean((3, 5))


IMAGES = [
    Case(ndl.conv2d, _conv2d, [floats(2, 2, 4, 3), floats(2, 2, 2, 3), floats(3)], [{"stride": 2, "padding": (1, 0)}],
         atol=_PRODUCTS),
    Case(ndl.conv1d, _conv1d, [floats(2, 2, 7), floats(3, 2, 2), floats(2)], [{"stride": 2, "dilation": 2}],
         atol=_PRODUCTS),
    Case(ndl.conv_transpose2d, _conv_transpose2d, [floats(2, 2, 2, 3), floats(3, 2, 3, 2), floats(3)],
         [{"stride": 2, "padding": 1, "output_padding": (1, 0)}], atol=_PRODUCTS),
    Case(ndl.max_pool2d, _max_pool2d, [_image(1, 2, 4, 5)], [{"kernel_size": 2}]),
    Case(ndl.avg_pool2d, _avg_pool2d, [_image(2, 2, 4, 3)], [{"kernel_size": (2, 3), "stride": 1}], atol=_MEANS),
    Case(ndl.adaptive_avg_pool2d, _adaptive_avg_pool2d, [_image(2, 3, 4, 2)],
         [{"output_size": (2, 1)}, {"output_size": (1, 1)}], atol=_MEANS),
]  # fmt: skip

CASES = [*CONVOLUTIONS, *POOLS, *IMAGES]

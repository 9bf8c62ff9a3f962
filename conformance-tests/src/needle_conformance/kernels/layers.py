"""The primitives of layers: convolution, pooling, normalization and attention with their gradients, and sorting."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from needle.backend import Pair
from needle.dispatch import dispatcher
from needle.dtype import DTYPES
from needle.kinds import Pool
from needle.shape import Shape
from needle.testing import rounded
from needle_conformance.inputs import Input, anything, floats
from needle_conformance.kernel import Arguments, Kernel, KernelTrial, Operand
from needle_conformance.kernels.elementwise import TAILS, memory, result
from needle_conformance.kernels.rows import FLOAT_TYPES, INDICES, drawn

_VIEWS = ("compact", "offset", "padded", "permuted", "sliced", "flipped")
_LAYOUTS = (*_VIEWS, "sizes", "large")


class _Operands:
    """Makes a trial's arguments: results, drawn operands, operands of given values."""

    def __init__(self, trial: KernelTrial) -> None:
        self.trial, self.rng = trial, trial.rng()

    def out(self, *shape: int) -> Operand:
        return result(shape, self.trial.dtype, self.trial.layout)

    def drawn(self, *shape: int, x: Input | None = None) -> Operand:
        return self.of((x or floats()).draw(self.rng, shape, self.trial.dtype))

    def of(self, values: Any) -> Operand:
        """These values, as far as the dtype holds them."""
        return Operand(rounded(values, self.trial.dtype), self.trial.dtype, memory(self.trial.layout))


# Images (N, H, W, C), kernels (KH, KW, O), stride, padding, dilation, groups.
_Conv = tuple[Shape, Shape, Pair, Pair, Pair, int]
_CONVS: list[_Conv] = [
    ((2, 5, 6, 4), (3, 2, 6), (1, 1), (0, 0), (1, 1), 1),
    ((2, 5, 6, 4), (3, 2, 6), (2, 1), (1, 2), (1, 2), 2),
]
_CONV_SIZES: dict[str, list[_Conv]] = {
    "sizes": [
        ((1, 1, 1, 1), (1, 1, 1), (1, 1), (0, 0), (1, 1), 1),
        ((3, 4, 3, 5), (1, 1, 7), (1, 1), (0, 0), (1, 1), 1),
        ((2, 5, 5, 1), (3, 3, 2), (1, 1), (1, 1), (1, 1), 1),
        ((1, 1, 9, 3), (1, 3, 1), (1, 2), (0, 1), (1, 1), 1),
        ((2, 8, 7, 3), (2, 2, 4), (3, 3), (0, 0), (1, 1), 1),
        ((1, 6, 6, 4), (3, 3, 4), (1, 1), (1, 1), (1, 1), 4),
        ((1, 7, 7, 2), (3, 3, 3), (2, 2), (2, 2), (2, 2), 1),
        ((0, 4, 4, 2), (3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
        ((1, 2, 3, 2), (5, 4, 3), (1, 1), (3, 2), (1, 1), 1),
    ],
    "large": [((2, 17, 19, 33), (3, 3, 37), (1, 1), (1, 1), (1, 1), 1)],
}


def _convolutions(trial: KernelTrial) -> Iterator[tuple[_Operands, Shape, Shape, Shape, Arguments]]:
    """The shapes of image, kernel and result, and the arguments behind the views."""
    for image, (kh, kw, o), stride, padding, dilation, groups in _CONV_SIZES.get(trial.layout, _CONVS):
        oh, ow = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(image[1:3], (kh, kw), stride, padding, dilation, strict=True)
        )
        args: Arguments = [stride, padding, dilation, groups]
        yield _Operands(trial), image, (kh, kw, image[3] // groups, o), (image[0], oh, ow, o), args


def _conv2d(trial: KernelTrial) -> Iterator[Arguments]:
    for made, image, kernel, y, args in _convolutions(trial):
        yield [made.out(*y), made.drawn(*image), made.drawn(*kernel), *args]


def _conv2d_bias(trial: KernelTrial) -> Iterator[Arguments]:
    for made, image, kernel, y, args in _convolutions(trial):
        yield [made.out(*y), made.drawn(*image), made.drawn(*kernel), made.drawn(kernel[3]), *args]


def _conv2d_grad_input(trial: KernelTrial) -> Iterator[Arguments]:
    for made, image, kernel, y, args in _convolutions(trial):
        yield [made.out(*image), made.drawn(*y), made.drawn(*kernel), *args]


def _conv2d_grad_weight(trial: KernelTrial) -> Iterator[Arguments]:
    for made, image, kernel, y, args in _convolutions(trial):
        yield [made.out(*kernel), made.drawn(*image), made.drawn(*y), *args]


def _orders(made: _Operands, x: Operand, shape: Shape) -> Iterator[Operand]:
    """A result of this shape in row-major order and, where core may ask for it, in the order of x."""
    yield made.out(*shape)
    trial = made.trial
    if trial.layout == "permuted" and trial.kernel.op in dispatcher(trial.device).backend.keeps_order:
        yield Operand(np.ones(shape), trial.dtype, "permuted", written=True)


# Images, and windows: size, stride, padding.
_Pool = tuple[Shape, Pair, Pair, Pair]
_POOLS: list[_Pool] = [((2, 5, 6, 3), (2, 2), (2, 2), (0, 0)), ((2, 5, 6, 3), (3, 2), (1, 2), (1, 1))]
_POOL_SIZES: dict[str, list[_Pool]] = {
    "sizes": [
        ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0)),
        ((1, 7, 7, 1), (3, 3), (2, 2), (1, 1)),
        ((2, 4, 4, 17), (2, 2), (3, 3), (0, 0)),
        ((0, 4, 4, 2), (2, 2), (2, 2), (0, 0)),
        ((1, 3, 4, 2), (3, 4), (1, 1), (1, 2)),
    ],
    "large": [((3, 31, 29, 19), (3, 3), (2, 2), (1, 1))],
}
_FEW = Input(low=-3, high=-0.5, step=0.5)  # many equal elements, of which the first counts, all below the padding's 0


def _pools(trial: KernelTrial) -> Iterator[tuple[_Operands, Operand, Any, Arguments]]:
    """The image, shapes of windows that fit in it, and the arguments behind the views."""
    for image, size, stride, padding in _POOL_SIZES.get(trial.layout, _POOLS):
        made = _Operands(trial)
        out = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(image[1:3], padding, size, stride, strict=True))
        yield made, made.drawn(*image, x=_FEW), (image[0], *out, image[3]), [size, stride, padding]


def _pool(kind: Pool) -> Callable[[KernelTrial], Iterator[Arguments]]:
    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for made, x, y, args in _pools(trial):
            for out in _orders(made, x, y):
                yield [kind, out, x, *args]

    return build


def _pooled(x: Any, shape: Shape, size: Pair, stride: Pair, padding: Pair) -> Any:
    """The largest of each window."""
    around = np.pad(x, ((0, 0), *((p, p) for p in padding), (0, 0)), constant_values=-np.inf)
    y = np.empty(shape)
    for i, j in np.ndindex(shape[1:3]):
        top, left = i * stride[0], j * stride[1]
        y[:, i, j] = around[:, top : top + size[0], left : left + size[1]].max((1, 2))
    return y


def _pool_grad(kind: Pool) -> Callable[[KernelTrial], Iterator[Arguments]]:
    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for made, x, y, args in _pools(trial):
            g, of = made.drawn(*y), made.of(_pooled(x.values, y, *args))
            for out in _orders(made, x, x.values.shape):
                yield [kind, out, g, x, of, *args]

    return build


_EPS = 1e-3
_WEIGHTS = Input(low=0.5, high=2.0)
_ROW_SIZES: dict[str, list[Shape]] = {
    "sizes": [(1, 1), (1, 40), (40, 1), (0, 5), *((3, n) for n in TAILS)],
    "large": [(211, 503), (3, 5003)],
}


def _shapes(trial: KernelTrial) -> list[Shape]:
    return _ROW_SIZES.get(trial.layout, [(3, 4, 10)])


def _norm(bias: bool, grad: bool) -> Callable[[KernelTrial], Iterator[Arguments]]:
    """Of rows: with a bias (layer_norm) or without (rms_norm), and its gradient."""

    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for shape in _shapes(trial):
            made, n = _Operands(trial), shape[-1]
            x, weight = made.drawn(*shape), made.drawn(n, x=_WEIGHTS)
            behind = [int(np.prod(shape[:-1])), n, _EPS]
            if grad:
                outs = [made.out(*shape), made.out(n), *[made.out(n)] * bias]
                yield [*outs, made.drawn(*shape), x, weight, *behind]
            else:
                yield [made.out(*shape), x, weight, *[made.drawn(n)] * bias, *behind]

    return build


def _by_channel(trial: KernelTrial) -> Iterator[tuple[_Operands, Operand, Operand, int]]:
    """x, the weight of its channels, their number; there is at least one row."""
    for shape in _shapes(trial):
        if shape[0]:
            made = _Operands(trial)
            yield made, made.drawn(*shape), made.drawn(shape[-1], x=_WEIGHTS), shape[-1]


def _moments(trial: KernelTrial) -> Iterator[Arguments]:
    for made, x, _, n in _by_channel(trial):
        yield [made.out(n), made.out(n), x]


def _statistics(made: _Operands, x: Operand) -> list[Operand]:
    rows = np.asarray(x.values, np.float64).reshape(-1, x.values.shape[-1])
    return [made.of(rows.mean(0)), made.of(rows.var(0))]


def _batch_norm(trial: KernelTrial) -> Iterator[Arguments]:
    for made, x, weight, n in _by_channel(trial):
        for out in _orders(made, x, x.values.shape):
            yield [out, x, weight, made.drawn(n), *_statistics(made, x), _EPS]


def _batch_norm_grad(trial: KernelTrial) -> Iterator[Arguments]:
    for training in (True, False):
        for made, x, weight, n in _by_channel(trial):
            for out in _orders(made, x, x.values.shape):
                g = made.drawn(*x.values.shape)
                yield [out, made.out(n), made.out(n), g, x, weight, *_statistics(made, x), _EPS, training]


# By layout, batches, T, S, D, E.
_Attention = tuple[Shape, int, int, int, int]
_ATTENTION_SIZES: dict[str, list[_Attention]] = {
    "sizes": [((), 3, 3, 2, 2), ((1,), 1, 1, 1, 1), ((2, 2), 1, 9, 8, 8), ((3,), 9, 1, 4, 5), ((2,), 17, 33, 16, 16),
              ((0, 2), 3, 3, 2, 2), ((2,), 0, 3, 2, 2)],
    "large": [((2, 3), 130, 133, 33, 33), ((1,), 67, 67, 64, 64)],
}  # fmt: skip


def _attention(grad: bool) -> Callable[[KernelTrial], Iterator[Arguments]]:
    def build(trial: KernelTrial) -> Iterator[Arguments]:
        for batch, t, s, d, e in _ATTENTION_SIZES.get(trial.layout, [((2, 3), 5, 6, 4, 3)]):
            for causal in (False, True):
                made = _Operands(trial)
                q, k, v = made.drawn(*batch, t, d), made.drawn(*batch, s, d), made.drawn(*batch, s, e)
                behind = [causal, d**-0.5]
                if grad:
                    outs = [made.out(*x.values.shape) for x in (q, k, v)]
                    y = made.of(_attended(q, k, v, causal))
                    yield [*outs, made.drawn(*batch, t, e), q, k, v, y, *behind]
                else:
                    yield [made.out(*batch, t, e), q, k, v, *behind]

    return build


def _attended(q: Operand, k: Operand, v: Operand, causal: bool) -> Any:
    """The result of attention, which its gradient is given."""
    query, key, value = (np.asarray(x.values, np.float64) for x in (q, k, v))
    weights = np.exp(query @ key.swapaxes(-1, -2) * query.shape[-1] ** -0.5)
    weights = np.tril(weights) if causal else weights
    return weights @ value / weights.sum(-1, keepdims=True)


def _unsorted(trial: KernelTrial) -> Iterator[tuple[Any, int, int]]:
    """Few values, so that equal ones must keep their order; NaN, infinities and the ends of ranges."""
    x = anything(low=-2.5, high=2.5, step=1.0)
    if trial.layout == "large":  # composed, time and memory go with n * n
        yield x.draw(trial.rng(), (2, 709), trial.dtype), 2, 709
    else:
        yield from drawn(trial, x)


def _argsort(trial: KernelTrial) -> Iterator[Arguments]:
    for values, rows, n in _unsorted(trial):
        for index in trial.available(INDICES):
            for descending in (False, True):
                dst = result(values.shape, index, trial.layout)
                yield [dst, Operand(values, trial.dtype, memory(trial.layout)), rows, n, descending]


_SORTED = (*_VIEWS, "one_row", "one_column", "no_rows", "tails", "large", "special")

# By layout, times, rows, units.
_LSTM_SIZES: dict[str, list[tuple[int, int, int]]] = {
    "sizes": [(1, 1, 1), (4, 1, 3), (2, 0, 3), (3, 5, 8), (2, 13, 9), (2, 25, 17)],
    "large": [(7, 33, 40), (3, 5, 131)],
}


def _walks(trial: KernelTrial) -> Iterator[tuple[_Operands, list[Operand], int, int, int]]:
    """inputs, h, c, weight and bias, and the sizes."""
    for t, b, n in _LSTM_SIZES.get(trial.layout, [(3, 2, 4)]):
        made = _Operands(trial)
        shapes = (t, b, 4 * n), (b, n), (b, n), (n, 4 * n), (4 * n,)
        yield made, [made.drawn(*shape, x=floats(low=-1, high=1)) for shape in shapes], t, b, n


def _lstm(trial: KernelTrial) -> Iterator[Arguments]:
    for made, given, t, b, n in _walks(trial):
        yield [made.out(6, t, b, n), *given]


def _lstm_grad(trial: KernelTrial) -> Iterator[Arguments]:
    """Of h at all times, of the last c, of both."""
    for of_h, of_c in ((True, False), (False, True), (True, True)):
        for made, given, t, b, n in _walks(trial):
            wanted = [made.drawn(t, b, n)] * of_h, [made.drawn(b, n)] * of_c
            outs = [made.out(t, b, 4 * n), made.out(b, n), made.out(b, n)]
            yield [*outs, *wanted, made.of(_walked(*given)), given[2], given[3]]


def _walked(*given: Operand) -> Any:
    """The result of lstm, which its gradient is given."""
    inputs, h, c, weight, bias = (np.asarray(x.values, np.float64) for x in given)
    kept = []
    for x in inputs:
        i, f, g, o = np.split(x + h @ weight + bias, 4, axis=-1)
        i, f, g, o = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o))
        c = f * c + i * g
        h = o * np.tanh(c)
        kept.append([h, c, i, f, g, o])
    return np.asarray(kept).reshape(len(inputs), 6, *h.shape).swapaxes(0, 1)


# Sums of products are right to some units in the last place of the terms. Composed, each step rounds halves.
_PRODUCTS = {"float64": 1e-11, "float32": 5e-4, "float16": 1e-1, "bfloat16": 1.0}
_MEANS = {"float64": 1e-13, "float32": 4e-6, "float16": 8e-3, "bfloat16": 6e-2}
_NEAR = {"float64": 1e-11, "float32": 2e-4, "float16": 6e-2, "bfloat16": 5e-1}
_WEIGHTED = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-2, "bfloat16": 1.5e-1}


def _layer(op: str, calls: Callable[[KernelTrial], Iterator[Arguments]], atol: dict[str, float], **row: Any) -> Kernel:
    return Kernel(row.pop("name", op), op, calls, FLOAT_TYPES, _LAYOUTS, atol=atol, **row)


KERNELS = [
    _layer("conv2d", _conv2d, _PRODUCTS),
    _layer("conv2d_bias", _conv2d_bias, _PRODUCTS),
    _layer("conv2d_grad_input", _conv2d_grad_input, _PRODUCTS),
    _layer("conv2d_grad_weight", _conv2d_grad_weight, _PRODUCTS),
    _layer("pool2d", _pool(Pool.MAX), {}, name="max_pool", exact=True),
    _layer("pool2d", _pool(Pool.MEAN), _MEANS, name="mean_pool"),
    _layer("pool2d_grad", _pool_grad(Pool.MAX), _MEANS, name="max_pool_grad"),
    _layer("pool2d_grad", _pool_grad(Pool.MEAN), _MEANS, name="mean_pool_grad"),
    _layer("layer_norm", _norm(bias=True, grad=False), _NEAR),
    _layer("layer_norm_grad", _norm(bias=True, grad=True), _NEAR),
    _layer("rms_norm", _norm(bias=False, grad=False), _NEAR),
    _layer("rms_norm_grad", _norm(bias=False, grad=True), _NEAR),
    _layer("moments", _moments, _NEAR),
    _layer("batch_norm", _batch_norm, _NEAR),
    _layer("batch_norm_relu", _batch_norm, _NEAR),
    _layer("batch_norm_grad", _batch_norm_grad, _NEAR),
    _layer("attention", _attention(grad=False), _WEIGHTED),
    _layer("attention_grad", _attention(grad=True), _WEIGHTED),
    _layer("lstm", _lstm, _WEIGHTED),
    _layer("lstm_grad", _lstm_grad, _NEAR),
    Kernel("argsort", "argsort", _argsort, DTYPES, _SORTED),
]

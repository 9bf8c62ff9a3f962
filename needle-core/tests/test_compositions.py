"""Functions composed of ops (einsum, padding, sorting, activations, images, attention) against NumPy, in a table;
their gradients against differences, and their errors."""

from math import erf, pi, sqrt
from typing import Any

import numpy as np
import pytest

import needle
from needle import Tensor
from needle.errors import ArgumentError, IndexRangeError, ShapeError

DEVICES = [str(device) for device in needle.devices()]
MASK = np.random.default_rng(5).random((4, 6)) < 0.5


def dilated(x: Any, axes: Any, dilation: int) -> Any:
    shape = [n * (dilation + 1) if a in axes else n for a, n in enumerate(x.shape)]
    out = np.zeros(shape)
    out[tuple(slice(None, None, dilation + 1 if a in axes else 1) for a in range(x.ndim))] = x
    return out


def attention(q: Any, k: Any, v: Any, mask: Any = None, added: Any = 0.0, scale: Any = None) -> Any:
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale) + added
    e = np.exp(scores) if mask is None else np.where(mask, np.exp(scores), 0)
    return e / e.sum(-1, keepdims=True) @ v


def tanh_gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


QKV = [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)]

# name, function of Tensors, the same in NumPy, shapes of the operands
CASES: list[tuple[str, Any, Any, list[Any]]] = [
    ("pad", lambda x: needle.pad(x, ((1, 0), (2, 3))), lambda x: np.pad(x, ((1, 0), (2, 3))), [(2, 3)]),
    ("pad with a value", lambda x: needle.pad(x, ((1, 0), (2, 3)), -1.5),
     lambda x: np.pad(x, ((1, 0), (2, 3)), constant_values=-1.5), [(2, 3)]),
    ("dilate", lambda x: needle.dilate(x, (0, 2), 2), lambda x: dilated(x, (0, 2), 2), [(2, 3, 2)]),
    ("dilate beyond the rank", lambda x: needle.dilate(x, (1, 7), 1), lambda x: dilated(x, (1,), 1), [(2, 3)]),
    ("dilate by none", lambda x: needle.dilate(x, 0, 0), lambda x: x, [(2, 3)]),
    ("undilate", lambda x: needle.undilate(x, 1, 2), lambda x: x[:, ::3], [(2, 9)]),
    ("masked fill", lambda x: needle.masked_fill(x, MASK, -2.0), lambda x: np.where(MASK, -2.0, x), [(4, 6)]),
    ("sort", lambda x: needle.sort(x), lambda x: np.sort(x), [(4, 6)]),
    ("sort the other way", lambda x: needle.sort(x, 0, descending=True), lambda x: -np.sort(-x, 0), [(4, 6)]),
    ("topk", lambda x: needle.topk(x, 2)[0], lambda x: -np.sort(-x)[:, :2], [(4, 6)]),
    ("topk along another axis", lambda x: needle.topk(x, 2, 0)[0], lambda x: -np.sort(-x, 0)[:2], [(4, 6)]),
    ("smallest", lambda x: needle.topk(x, 3, largest=False)[0], lambda x: np.sort(x)[:, :3], [(4, 6)]),
    ("split", lambda x: needle.functions.split(x, 3, 1)[1], lambda x: x[:, 2:4], [(4, 6)]),
    ("split, all parts", lambda x: _product(needle.functions.split(x, [1, 2, 3], 1)),
     lambda x: x[:, :1] * x[:, 1:2] * x[:, 3:4] + x[:, 2:3] + x[:, 5:], [(4, 6)]),
    ("tile", lambda x: needle.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), [(2, 3)]),
    ("tile, fewer", lambda x: needle.tile(x, 2), lambda x: np.tile(x, 2), [(2, 3)]),
    ("repeat", lambda x: needle.repeat(x, 2, -1), lambda x: np.repeat(x, 2, -1), [(2, 3)]),
    ("repeat, a row", lambda x: needle.repeat(x, 3), lambda x: np.repeat(x, 3), [(2, 3)]),
    ("roll", lambda x: needle.roll(x, (1, -8), (0, 2)), lambda x: np.roll(x, (1, -8), (0, 2)), [(2, 3, 5)]),
    ("roll, a row", lambda x: needle.roll(x, -2), lambda x: np.roll(x, -2), [(2, 3)]),
    ("moveaxis", lambda x: needle.moveaxis(x, (0, -1), (2, 0)), lambda x: np.moveaxis(x, (0, -1), (2, 0)), [(2, 3, 4)]),
    ("unstack", lambda x: needle.unstack(x, 1)[2], lambda x: x[:, 2], [(2, 3, 4)]),
    ("meshgrid", lambda *x: needle.stack(needle.meshgrid(*x)), lambda *x: np.stack(np.meshgrid(*x)),
     [(2,), (3,), (4,)]),
    ("meshgrid, ij", lambda *x: needle.stack(needle.meshgrid(*x, indexing="ij")),
     lambda *x: np.stack(np.meshgrid(*x, indexing="ij")), [(2,), (3,)]),
    *((f"tril and triu {k}", lambda x, k=k: needle.tril(x, k) - 2 * needle.triu(x, k),
       lambda x, k=k: np.tril(x, k) - 2 * np.triu(x, k), [(2, 3, 5)]) for k in (-9, -1, 0, 2, 9)),
    ("log2 and log10", lambda x: needle.log2(x * x + 1) + needle.log10(x * x + 1),
     lambda x: np.log2(x * x + 1) + np.log10(x * x + 1), [(2, 3)]),
    ("logaddexp", needle.logaddexp, np.logaddexp, [(2, 3), (3,)]),
    ("outer", needle.outer, np.outer, [(3,), (2, 2)]),
    ("vector_norm", lambda x: needle.vector_norm(x, -1), lambda x: np.linalg.norm(x, axis=-1), [(2, 3)]),
    ("vector_norm 1", lambda x: needle.vector_norm(x, 0, True, 1), lambda x: np.abs(x).sum(0, keepdims=True), [(2, 3)]),
    ("vector_norm inf", lambda x: needle.vector_norm(x, ord=np.inf), lambda x: np.abs(x).max(), [(2, 3)]),
    ("gelu", needle.gelu, lambda x: 0.5 * x * (1 + np.vectorize(erf)(x / sqrt(2))), [(4, 6)]),
    ("gelu by tanh", lambda x: needle.gelu(x, "tanh"), tanh_gelu, [(4, 6)]),
    ("silu", needle.silu, lambda x: x / (1 + np.exp(-x)), [(4, 6)]),
    ("softplus", needle.softplus, lambda x: np.logaddexp(x, 0), [(4, 6)]),
    ("embedding", lambda w: needle.embedding(np.array([[3, 0], [3, 1]]), w), lambda w: w[[[3, 0], [3, 1]]], [(4, 6)]),
    ("attention", needle.scaled_dot_product_attention, attention, QKV),
    ("attention, causal", lambda q, k, v: needle.scaled_dot_product_attention(q, k, v, is_causal=True),
     lambda q, k, v: attention(q, k, v, np.tri(4, 6)), QKV),
    ("attention, masked", lambda q, k, v: needle.scaled_dot_product_attention(q, k, v, q.like(MASK), scale=0.3),
     lambda q, k, v: attention(q, k, v, MASK, scale=0.3), QKV),
    ("attention, biased", needle.scaled_dot_product_attention,
     lambda q, k, v, bias: attention(q, k, v, None, bias), [*QKV, (4, 6)]),
    *((equation, lambda *x, e=equation: needle.einsum(e, *x), lambda *x, e=equation: np.einsum(e, *x), shapes)
      for equation, shapes in [
        ("ij,jk->ik", [(3, 4), (4, 5)]), ("ij,jk", [(3, 4), (4, 5)]), ("bij,bjk->kb", [(2, 3, 4), (2, 4, 5)]),
        ("ij->ji", [(3, 4)]), ("ij->", [(3, 4)]), ("ii->i", [(4, 4)]), ("ii", [(4, 4)]), ("iji->ij", [(3, 4, 3)]),
        ("jii->ij", [(4, 3, 3)]), ("i,j->ij", [(3,), (4,)]), ("ij,ij->ij", [(3, 4), (3, 4)]),
        ("ijk,ilk,kl->jl", [(2, 3, 4), (2, 5, 4), (4, 5)]), ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 5)]),
        ("...i->...", [(2, 3)]), ("i...,i...->...", [(2, 3), (2, 1)]), ("b i , b i -> b", [(2, 3), (2, 3)]),
      ]),
]  # fmt: skip
each_case = pytest.mark.parametrize(
    ("function", "formula", "shapes"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)


def _product(parts: Any) -> Any:
    a, b, c = parts
    return a * b[:, :1] * c[:, :1] + b[:, 1:] + c[:, 2:]


@each_case
@pytest.mark.parametrize("place", DEVICES)
def test_values(function: Any, formula: Any, shapes: list[Any], place: str) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape) for shape in shapes]
    found = function(*(Tensor(v, device=place, dtype="float32") for v in values))
    expected = formula(*values)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@each_case
def test_gradients(function: Any, formula: Any, shapes: list[Any]) -> None:
    """First and second derivatives, along one direction."""
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape) for shape in shapes]
    directions = [Tensor(rng.standard_normal(shape), device="numpy") for shape in shapes]
    weights = Tensor(rng.standard_normal(formula(*starts).shape), device="numpy")

    def slope(step: float, order: int) -> Any:
        points = [
            Tensor(start + step * d.numpy(), device="numpy", requires_grad=True)
            for start, d in zip(starts, directions, strict=True)
        ]
        total = (function(*points) * weights).square().sum()
        for _ in range(order):
            grads = needle.grad(total, points, create_graph=True)
            total = sum((g * d).sum() for g, d in zip(grads, directions, strict=True))
        return total.item()

    for order in (1, 2):
        difference = (slope(1e-6, order - 1) - slope(-1e-6, order - 1)) / 2e-6
        np.testing.assert_allclose(slope(0.0, order), difference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", DEVICES)
def test_positions(place: str) -> None:
    values = np.array([[3, np.nan, 1, 3], [0, 2, 2, -1]], np.float32)
    x = Tensor(values, device=place)
    np.testing.assert_array_equal(needle.argsort(x).numpy(), np.argsort(values, kind="stable"))
    np.testing.assert_array_equal(needle.argsort(x, 0).numpy(), np.argsort(values, 0, kind="stable"))
    np.testing.assert_array_equal(needle.argsort(x, descending=True).numpy(), [[1, 0, 3, 2], [1, 2, 0, 3]])
    np.testing.assert_array_equal(needle.topk(x[1], 2)[1].numpy(), [1, 2])


def test_large_numbers_do_not_overflow() -> None:
    x = needle.tensor([1000.0, -1000.0, 0.0], requires_grad=True)
    y = needle.softplus(x)
    np.testing.assert_allclose(y.numpy(), [1000, 0, np.log(2)], rtol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1, 0, 0.5])
    np.testing.assert_array_equal(needle.silu(needle.tensor([-1e4])).numpy(), [0])


def test_dropout_keeps_the_mean_and_follows_its_generator() -> None:
    x = needle.ones(10_000)
    first, second = (needle.dropout(x, 0.2, generator=needle.Generator(seed)).numpy() for seed in (1, 1))
    np.testing.assert_array_equal(first, second)
    assert abs(first.mean() - 1) < 0.02
    assert needle.dropout(x, 0.2, training=False) is x
    assert needle.dropout(x, 0.2).dtype == "float32"


@pytest.mark.parametrize("place", DEVICES)
def test_images(place: str) -> None:
    """The arguments in PyTorch's order; the values are those of the ops, whose tests are elsewhere."""
    x = needle.arange(32, device=place, dtype="float32").reshape(1, 2, 4, 4)
    weight, bias = needle.ones(2, 2, 2, 3, device=place), needle.tensor([0.0, 1.0, 2.0], device=place)
    y = needle.conv2d(x, weight, bias, 2, 1)
    padded = np.pad(x.numpy().sum(1)[0], 1)
    windows = padded.reshape(3, 2, 3, 2).sum((1, 3))
    np.testing.assert_allclose(y.numpy()[0], windows + np.array([0, 1, 2])[:, None, None])
    np.testing.assert_allclose(needle.max_pool2d(x, 2).numpy()[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_allclose(needle.avg_pool2d(x, 2, 1).numpy()[0, 0, 0], [2.5, 3.5, 4.5])
    line = needle.conv1d(x.reshape(1, 2, 16), weight[0], None, 4)
    np.testing.assert_allclose(line.numpy()[0, 0], [34, 50, 66, 82])


FAILS: list[tuple[Any, type[Exception], str]] = [
    (lambda: needle.pad(needle.ones(2, 3), ((1, 1),)), ShapeError,
     "pad: takes (before, after) for each axis, not ((1, 1),): shape is (2, 3)"),
    (lambda: needle.pad(needle.ones(2), ((-1, 1),)), ShapeError,
     "pad: takes (before, after) for each axis, not ((-1, 1),): shape is (2,)"),
    (lambda: needle.dilate(needle.ones(2), 0, -1), ShapeError, "dilate: the dilation is at least 0, not -1"),
    (lambda: needle.topk(needle.ones(2, 3), 4), ShapeError, "topk: 4 elements of 3 along axis -1: shape is (2, 3)"),
    (lambda: needle.sort(needle.ones(2), 1), ShapeError, "topk: axis 1 is out of range for rank 1"),
    (lambda: needle.embedding(needle.tensor([7]), needle.ones(4, 2)), IndexRangeError,
     "embedding: index 7 is out of range for size 4"),
    (lambda: needle.einsum("ij,jk->ik", needle.ones(2, 3)), ShapeError,
     "einsum: 'ij,jk->ik' names 2 operands, 1 are given"),
    (lambda: needle.einsum("ij->i", needle.ones(2)), ShapeError,
     "einsum: 'ij' in 'ij->i' does not fit an operand of rank 1"),
    (lambda: needle.einsum("i,i->i", needle.ones(2), needle.ones(3)), ShapeError,
     "einsum: 2 and 3 differ under one name in 'i,i->i': shapes are (2,), (3,)"),
    (lambda: needle.einsum("i->j", needle.ones(2)), ShapeError,
     "einsum: the result of 'i->j' takes names of the operands, each once"),
    (lambda: needle.dropout(needle.ones(2), 1.5), ArgumentError, "dropout: a probability is from 0 to 1, not 1.5"),
    (lambda: needle.conv2d(needle.ones(1, 3, 8, 8), needle.ones(3, 3, 4, 8)), ShapeError,
     "conv2d: x has 3 channels, the weight takes 4: x is (1, 3, 8, 8), weight is (3, 3, 4, 8)"),
    (lambda: needle.conv1d(needle.ones(1, 3), needle.ones(3, 3, 4)), ShapeError,
     "conv1d: takes (N, C, L): x is (1, 3)"),
    (lambda: needle.init.truncated_normal(3, low=5.0, high=6.0), ArgumentError,
     "truncated_normal: less than 1 % of N(0.0, 1.0) lies in [5.0, 6.0]"),
    (lambda: needle.init.kaiming_normal(3, 4, nonlinearity="tanh"), ArgumentError,
     "kaiming: the only nonlinearity is 'relu', not 'tanh'; use xavier_* for others"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), FAILS, ids=[row[2][:30] for row in FAILS])
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text


def test_what_is_close() -> None:
    a = np.array([1.0, 1.0, np.inf, np.inf, -np.inf, np.nan, np.nan, 0.0, 1.0])
    b = np.array([1.0 + 1e-6, 1.1, np.inf, -np.inf, 1.0, np.nan, 0.0, 1e-9, np.inf])
    for equal_nan in (False, True):
        found = needle.isclose(Tensor(a), Tensor(b), equal_nan=equal_nan)
        np.testing.assert_array_equal(found.numpy(), np.isclose(a, b, equal_nan=equal_nan))
    assert needle.allclose(Tensor([1.0, 2.0]), 1.5, rtol=0, atol=0.5)
    assert not needle.allclose(Tensor([1.0, 2.0]), 1.5)


def test_the_gradient_of_no_length_is_0() -> None:
    x = needle.zeros(3, requires_grad=True)
    needle.vector_norm(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), 0)


def test_infinities_and_no_elements() -> None:
    x = Tensor([np.inf, -np.inf, 3.0])
    np.testing.assert_array_equal(needle.logaddexp(x, x).numpy(), np.logaddexp(x.numpy(), x.numpy()))
    assert needle.tile(needle.ones(2, 3), 0).shape == (2, 0)
    assert needle.repeat(needle.ones(0, 3), 2, 1).shape == (0, 6)
    assert needle.roll(needle.ones(0, 3), 2).shape == (0, 3)
    assert needle.unstack(needle.ones(0, 3)) == ()
    assert needle.meshgrid() == ()
    like = needle.full_like(needle.ones(2, dtype="int32"), 7)
    assert (like.dtype, like.tolist()) == ("int32", [7, 7])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "value"), [(1000, 300.0), (70_000, 2.0), (1_200_000, 0.25)])
def test_means_of_many_halves(n: int, value: float, device: str) -> None:
    """Their sum, or one over their number, is none that a half can be."""
    values = np.full((1, n), value, np.float16)
    values[0, ::2] += np.float16(1)
    x = Tensor(values, device=device, requires_grad=True)
    for found, expected in ((x.mean(), value + 0.5), (x.var(1)[0], 0.25), (x.array.mean(1), [value + 0.5])):
        assert found.dtype == "float16"
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3)
    x.mean().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((1, n), 1 / n), rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 70), 1), ((70, 3), 0), ((2, 8, 9), (1, 2)), ((2, 3, 70), (0, 2)), ((2, 100), None)]
)
def test_variance_of_short_and_long_rows(shape: tuple[int, ...], axes: Any, correction: int, device: str) -> None:
    rng = np.random.default_rng(6)
    values = rng.standard_normal(shape) + 3
    mean, count = values.mean(axes, keepdims=True), values.size / values.mean(axes).size
    weight = rng.standard_normal(mean.shape)
    for stored in (values, np.asfortranarray(values)):
        x = Tensor(stored, device=device, requires_grad=True)
        var = x.var(axes, keepdims=True, correction=correction)
        np.testing.assert_allclose(var.numpy(), values.var(axes, keepdims=True, ddof=correction), rtol=1e-12)
        (var * Tensor(weight, device=device)).sum().backward()
        expected = 2 * (values - mean) / (count - correction) * weight
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-9, atol=1e-12)
    empty = Tensor(np.zeros((0, 100)), device=device)
    assert empty.var(1).shape == (0,)

"""Philox against its published vectors, distributions, and generators as values."""

import math

import numpy as np
import pytest

import needle as ndl
from needle import philox
from needle.errors import DTypeError
from needle.random import default_generator


@pytest.mark.parametrize(
    ("seed", "offset", "words"),
    [(0, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"), (0xFFFFFFFFFFFFFFFF, 0, None), (0x299F31D0A4093822, 0, None)],
)
def test_known_answers(seed, offset, words):
    """Random123's known answer for key 0 and counter 0; the others against a loop over Python's integers."""
    found = " ".join(f"{w:08x}" for w in philox.philox(seed, offset, 4))
    assert found == (words or " ".join(f"{w:08x}" for w in philox_by_hand(seed, offset)))


def philox_by_hand(seed, counter):
    """Philox4x32-10 as Salmon et al. (2011) write it, one block."""
    c = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_blocks_follow_the_counter_across_32_bits():
    start = 2**32 - 2
    found = philox.philox(7, start, 16).reshape(4, 4)
    assert [[int(w) for w in row] for row in found] == [philox_by_hand(7, start + i) for i in range(4)]


def test_uniform_is_uniform():
    """Kolmogorov and Smirnov: the largest distance from the distribution function, at 1 in 1000."""
    n = 1_000_000
    draws = np.sort(philox.uniform(3, 0, n).astype(np.float64))
    assert draws[0] >= 0
    assert draws[-1] < 1
    assert np.abs(draws - np.arange(n) / n).max() < 1.95 / math.sqrt(n)


def test_normal_is_normal():
    n = 400_000
    draws = philox.normal(3, 0, n).astype(np.float64)
    ordered = np.sort(draws)
    expected = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in ordered])
    assert np.abs(expected - np.arange(n) / n).max() < 1.95 / math.sqrt(n)
    assert abs(np.corrcoef(draws[::2], draws[1::2])[0, 1]) < 4 / math.sqrt(n / 2)


def test_generators_are_streams():
    one, two = ndl.Generator(5), ndl.Generator(5)
    first = one.uniform(6, "numpy").numpy()
    assert np.array_equal(first, two.uniform(6, "numpy").numpy())
    state = one.get_state()
    second = one.normal((2, 3), "numpy").numpy()
    assert not np.array_equal(first[:4], one.uniform(4, "numpy").numpy())
    one.set_state(state)
    assert np.array_equal(second, one.normal((2, 3), "numpy").numpy())
    assert repr(ndl.Generator(5)) == "Generator(seed=5, offset=0)"


def test_draws_do_not_depend_on_the_shape():
    a, b = ndl.Generator(1), ndl.Generator(1)
    assert np.array_equal(a.uniform((4, 4), "numpy").numpy().ravel(), b.uniform(16, "numpy").numpy())


def test_manual_seed_seeds_layers_too():
    ndl.manual_seed(3)
    one = ndl.randn(4, device="numpy").numpy(), ndl.init.kaiming_uniform(3, 2, device="numpy").numpy()
    ndl.manual_seed(3)
    two = ndl.randn(4, device="numpy").numpy(), ndl.init.kaiming_uniform(3, 2, device="numpy").numpy()
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    assert default_generator().seed == 3
    with pytest.raises(DTypeError, match="a seed is an int, not str"):
        ndl.manual_seed("a")


def test_init_draws_as_the_course_does():
    """Draws of NumPy's global generator, cast to float32, times (high - low), plus low."""
    np.random.seed(1)
    found = ndl.init.xavier_uniform(3, 5, gain=1.5, device="numpy").numpy()
    np.random.seed(1)
    bound = 1.5 * math.sqrt(6 / 8)
    np.testing.assert_allclose(found, np.random.rand(3, 5) * 2 * bound - bound, rtol=1e-5, atol=1e-7)
    np.random.seed(2)
    found = ndl.init.kaiming_normal(3, 5, device="numpy").numpy()
    np.random.seed(2)
    np.testing.assert_allclose(found, np.random.randn(3, 5) * math.sqrt(2 / 3), rtol=1e-6)


def test_scaled_draws():
    x = ndl.rand(1000, low=-2.0, high=3.0, device="numpy", dtype="float64").numpy()
    assert x.dtype == np.float64
    assert -2 <= x.min() < x.max() < 3
    assert abs(ndl.randn(10_000, mean=5.0, std=0.1, device="numpy").numpy().mean() - 5) < 0.01
    assert abs(ndl.randb(10_000, p=0.3, device="numpy").numpy().mean() - 0.3) < 0.03


def test_integers_are_each_as_likely():
    x = ndl.randint(2, 7, (10_000,), device="numpy", generator=ndl.Generator(3)).numpy()
    assert x.dtype == np.int32
    assert abs(np.bincount(x)[2:] / 10_000 - 0.2).max() < 0.02
    assert np.bincount(x).size == 7
    assert ndl.randint(5, (2, 3), device="numpy", dtype="int64").dtype == "int64"


@pytest.mark.parametrize("replacement", [True, False])
def test_positions_are_drawn_by_their_weights(replacement):
    weights = ndl.tensor([[1.0, 0.0, 3.0, 4.0]] * 5000, device="numpy")
    drawn = ndl.multinomial(weights, 3, replacement, generator=ndl.Generator(7)).numpy()
    assert drawn.shape == (5000, 3)
    assert drawn.dtype == np.int32
    first = np.bincount(drawn[:, 0], minlength=4) / 5000
    np.testing.assert_allclose(first, [1 / 8, 0, 3 / 8, 4 / 8], atol=0.03)
    if replacement:
        np.testing.assert_allclose(np.bincount(drawn[:, 2], minlength=4) / 5000, first, atol=0.03)
    else:
        np.testing.assert_array_equal(np.sort(drawn), [[0, 2, 3]] * 5000)


def test_one_hot():
    hot = ndl.one_hot(4, ndl.tensor([1, 3], device="numpy"))
    np.testing.assert_array_equal(hot.numpy(), np.eye(4, dtype=np.float32)[[1, 3]])
    outside = ndl.one_hot(4, ndl.tensor([-1, 4], device="numpy"))
    np.testing.assert_array_equal(outside.numpy(), np.zeros((2, 4)))

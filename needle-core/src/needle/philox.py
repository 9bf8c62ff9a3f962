"""Random numbers from a counter: Philox4x32-10 in NumPy, the specification of every backend's `random`.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011. Element i of a stream is lane
i % 4 of the block with key `seed` and counter `offset + i // 4`, so any part of it can be drawn alone, in parallel.

`include/needle/philox.h` is the same arithmetic, bit for bit. The normals therefore use only +, -, * and sqrt of
float32, which IEEE 754 rounds alike everywhere, in the order written here, and no `log` or `cos` of a library.
"""

import numpy as np
from numpy.typing import NDArray as NumpyArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)  # what the two key words grow by each round: golden ratio, sqrt(3) - 1
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

# log(1 + f) = f - f^2/2 + f^3 P(f) for sqrt(1/2) <= 1 + f < sqrt(2); highest power first, as all below.
_LOG = (
    -0.07729898393154144, 0.12788590788841248, -0.13152597844600677, 0.1420033723115921,
    -0.16623325645923615, 0.20001260936260223, -0.250008225440979, 0.3333333134651184,
)  # fmt: skip
_LN2_HIGH = np.float32(0.693359375)  # few enough bits that times an exponent it is exact
_LN2_LOW = np.float32(-2.12194442e-4)
# sin(pi/4 y) = y S(y^2) and cos(pi/4 y) = C(y^2) for -1 <= y <= 1.
_SIN = (-3.6651941627496853e-05, 0.002491072053089738, -0.08074584603309631, 0.7853981852531433)
_COS = (3.4905237953353208e-06, -0.000325863336911425, 0.015854282304644585, -0.3084251284599304, 1.0)
_SQRT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_ONE = np.int32(0x3F800000)  # the bits of 1


def philox(seed: int, offset: int, n: int) -> NumpyArray[np.uint32]:
    """The first `n` words (n,) of the stream of `seed` from block `offset` on."""
    blocks = -(-n // 4)
    counter = np.arange(blocks, dtype=np.uint64) + np.uint64(offset % 2**64)
    zeros = np.zeros(blocks, np.uint64)
    words = philox_blocks((counter & _LOW, counter >> _HALF, zeros, zeros), (seed % 2**32, (seed >> 32) % 2**32))
    return words.reshape(-1)[:n]


def philox_blocks(counter: tuple[NumpyArray[np.uint64], ...], key: tuple[int, int]) -> NumpyArray[np.uint32]:
    """Ten rounds of Philox over counters given as four arrays of 32-bit words (blocks,): words (blocks, 4)."""
    c0, c1, c2, c3 = counter
    for r in range(_ROUNDS):
        k0, k1 = (np.uint64((k + r * w) % 2**32) for k, w in zip(key, _WEYL, strict=True))
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
    return np.stack((c0, c1, c2, c3), axis=1).astype(np.uint32)


def bits(seed: int, offset: int, n: int) -> NumpyArray[np.int32]:
    """The words themselves, as int32 (n,)."""
    return philox(seed, offset, n).view(np.int32)


def uniform(seed: int, offset: int, n: int) -> NumpyArray[np.float32]:
    """float32 (n,) in [0, 1): the upper 24 bits of each word, times 2^-24."""
    return (philox(seed, offset, n) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def normal(seed: int, offset: int, n: int) -> NumpyArray[np.float32]:
    """float32 (n,) of mean 0 and variance 1: Box and Muller's transform of each pair of words.

    The first word of a pair gives the radius sqrt(-2 log u), the second the angle; cosine first, sine second.
    """
    words = philox(seed, offset, n + n % 2).reshape(-1, 2)
    radius = np.sqrt(np.float32(-2) * _log_unit(words[:, 0]))
    sine, cosine = _sincos_turn(words[:, 1])
    return np.stack((radius * cosine, radius * sine), axis=1).reshape(-1)[:n]


def _log_unit(words: NumpyArray[np.uint32]) -> NumpyArray[np.float32]:
    """log u for u = (word // 256 + 1) * 2^-24, in (0, 1]."""
    x = ((words >> np.uint32(8)) + np.uint32(1)).astype(np.float32)
    shifted = x.view(np.int32) + (_ONE - _SQRT_HALF)  # makes the mantissa run from sqrt(1/2) to sqrt(2)
    exponent = ((shifted >> np.int32(23)) - np.int32(127 + 24)).astype(np.float32)
    f = ((shifted & np.int32(0x007FFFFF)) + _SQRT_HALF).view(np.float32) - np.float32(1)
    square = f * f
    tail = _horner(_LOG, f) * f * square - np.float32(0.5) * square + exponent * _LN2_LOW
    return (f + tail) + exponent * _LN2_HIGH


def _sincos_turn(words: NumpyArray[np.uint32]) -> tuple[NumpyArray[np.float32], NumpyArray[np.float32]]:
    """Sine and cosine of 2 pi u for u = word // 256 * 2^-24: the nearest quarter turn q, and the rest of it."""
    turn = (words >> np.uint32(8)).view(np.int32)
    q = (turn + np.int32(1 << 21)) >> np.int32(22)
    y = (turn - (q << np.int32(22))).astype(np.float32) * np.float32(2.0**-21)
    square = y * y
    sine, cosine = y * _horner(_SIN, square), _horner(_COS, square)
    odd = (q & 1) != 0
    sine, cosine = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    return np.where((q & 2) != 0, -sine, sine), np.where(((q + 1) & 2) != 0, -cosine, cosine)


def _horner(coefficients: tuple[float, ...], x: NumpyArray[np.float32]) -> NumpyArray[np.float32]:
    """The polynomial at x, every product and sum rounded to float32."""
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = total * x + np.float32(c)
    return total

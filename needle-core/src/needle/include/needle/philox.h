// Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011), the same bits on every device.
//
// philox.py is the same arithmetic in NumPy and says what a stream is. Uniforms and normals use only +, -, * and sqrt
// of float, each rounded by itself, in the order written here: a host file that includes this must be compiled with
// -ffp-contract=off, a Metal one without fast math.
#ifndef NEEDLE_PHILOX_H
#define NEEDLE_PHILOX_H

#include "compiler.h"

NEEDLE_BEGIN
namespace philox {

#if defined(__METAL_VERSION__)
#pragma METAL fp contract(off)
#elif defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

// One product or sum, never fused with the next.
#if defined(__CUDA_ARCH__)
NEEDLE_HD float mul(float a, float b) { return __fmul_rn(a, b); }
NEEDLE_HD float add(float a, float b) { return __fadd_rn(a, b); }
NEEDLE_HD float root(float x) { return __fsqrt_rn(x); }
#elif defined(__METAL_VERSION__)
NEEDLE_HD float mul(float a, float b) { return a * b; }
NEEDLE_HD float add(float a, float b) { return a + b; }
NEEDLE_HD float root(float x) { return metal::precise::sqrt(x); }
#elif defined(NEEDLE_HOST)
NEEDLE_HD float mul(float a, float b) { return a * b; }
NEEDLE_HD float add(float a, float b) { return a + b; }
NEEDLE_HD float root(float x) { return __builtin_sqrtf(x); }
#else  // the host pass of nvcc
NEEDLE_HD float mul(float a, float b) { return a * b; }
NEEDLE_HD float add(float a, float b) { return a + b; }
NEEDLE_HD float root(float x) { return ::sqrtf(x); }
#endif

struct Words {
  uint32_t w[4];
};

// The high word of a 32 by 32 bit product.
NEEDLE_HD uint32_t mul_high(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}

// Ten rounds over a 128-bit counter with a 64-bit key, low words first.
NEEDLE_HD Words rounds(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = mul_high(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const uint32_t high1 = mul_high(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  Words words;
  words.w[0] = c0;
  words.w[1] = c1;
  words.w[2] = c2;
  words.w[3] = c3;
  return words;
}

// The four words of block `counter`; element i of a stream is word i % 4 of block offset + i / 4.
NEEDLE_HD Words block(uint64_t seed, uint64_t counter) {
  return rounds(static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0u, 0u,
                static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

// In [0, 1): the upper 24 bits.
NEEDLE_HD float uniform(uint32_t word) { return mul(static_cast<float>(word >> 8), 5.9604644775390625e-08f); }

// log u for u = (word / 256 + 1) * 2^-24, in (0, 1]: the exponent, and a polynomial of the mantissa around 1.
NEEDLE_HD float log_unit(uint32_t word) {
  const float x = static_cast<float>(static_cast<int32_t>((word >> 8) + 1u));
  const int32_t shifted = bits_of(x) + (0x3F800000 - 0x3F3504F3);
  const float exponent = static_cast<float>((shifted >> 23) - (127 + 24));
  const float f = add(float_of((shifted & 0x007FFFFF) + 0x3F3504F3), -1.0f);
  const float square = mul(f, f);
  float p = -0.07729898393154144f;
  p = add(mul(p, f), 0.12788590788841248f);
  p = add(mul(p, f), -0.13152597844600677f);
  p = add(mul(p, f), 0.1420033723115921f);
  p = add(mul(p, f), -0.16623325645923615f);
  p = add(mul(p, f), 0.20001260936260223f);
  p = add(mul(p, f), -0.250008225440979f);
  p = add(mul(p, f), 0.3333333134651184f);
  const float tail = add(add(mul(mul(p, f), square), -mul(0.5f, square)), mul(exponent, -2.12194442e-4f));
  return add(add(f, tail), mul(exponent, 0.693359375f));
}

struct Pair {
  float cosine, sine;
};

// Cosine and sine of 2 pi u for u = word / 256 * 2^-24: the nearest quarter turn q, and the rest y, in eighths.
NEEDLE_HD Pair sincos_turn(uint32_t word) {
  const int32_t turn = static_cast<int32_t>(word >> 8);
  const int32_t q = (turn + (1 << 21)) >> 22;
  const float y = mul(static_cast<float>(turn - (q << 22)), 4.76837158203125e-07f);
  const float square = mul(y, y);
  float s = -3.6651941627496853e-05f;
  s = add(mul(s, square), 0.002491072053089738f);
  s = add(mul(s, square), -0.08074584603309631f);
  s = add(mul(s, square), 0.7853981852531433f);
  s = mul(y, s);
  float c = 3.4905237953353208e-06f;
  c = add(mul(c, square), -0.000325863336911425f);
  c = add(mul(c, square), 0.015854282304644585f);
  c = add(mul(c, square), -0.3084251284599304f);
  c = add(mul(c, square), 1.0f);
  const float sine = (q & 1) != 0 ? c : s;
  const float cosine = (q & 1) != 0 ? s : c;
  Pair pair;
  pair.sine = (q & 2) != 0 ? -sine : sine;
  pair.cosine = ((q + 1) & 2) != 0 ? -cosine : cosine;
  return pair;
}

// Box and Muller: two words give two normals, the cosine's first.
NEEDLE_HD Pair normal(uint32_t word0, uint32_t word1) {
  const float radius = root(mul(-2.0f, log_unit(word0)));
  Pair pair = sincos_turn(word1);
  pair.cosine = mul(radius, pair.cosine);
  pair.sine = mul(radius, pair.sine);
  return pair;
}

}  // namespace philox
NEEDLE_END

#endif  // NEEDLE_PHILOX_H

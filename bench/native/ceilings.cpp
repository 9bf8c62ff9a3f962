// What the machine can do at most, measured by loops that do nothing else.
//
// Built when the bench runs, for the machine it runs on: unlike a wheel it may use what this processor has.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

namespace {

typedef float Vec __attribute__((vector_size(kBytes)));

// dst = src with stores that go past the caches where there are such, so that dst is not read first.
void stream(const float* src, float* dst, size_t n) {
  constexpr size_t lanes = kBytes / sizeof(float);
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (size_t k = 0; k < 4; ++k) {
      Vec v;
      std::memcpy(&v, src + i + k * lanes, sizeof(v));
#if defined(__clang__)
      __builtin_nontemporal_store(v, reinterpret_cast<Vec*>(dst + i + k * lanes));
#elif defined(__AVX512F__)
      __builtin_ia32_movntps512(dst + i + k * lanes, v);
#elif defined(__AVX__)
      __builtin_ia32_movntps256(dst + i + k * lanes, v);
#elif defined(__SSE__)
      __builtin_ia32_movntps(dst + i + k * lanes, v);
#else
      std::memcpy(dst + i + k * lanes, &v, sizeof(v));
#endif
    }
  }
  for (; i < n; ++i) dst[i] = src[i];
#if defined(__SSE__)
  __builtin_ia32_sfence();
#endif
}

// The sum of two streams that are read side by side: what one core can read alone. It has so many lines under way at
// most, which a copy with streaming stores does not need for what it writes. Asking for lines ahead made it slower.
float sum_streams(const float* x, size_t n) {
  constexpr size_t lanes = kBytes / sizeof(float), streams = 2, together = 4;
  const size_t part = n / streams / (lanes * together) * (lanes * together);
  Vec sums[streams][together] = {};
  for (size_t i = 0; i < part; i += lanes * together) {
    for (size_t s = 0; s < streams; ++s) {
      for (size_t k = 0; k < together; ++k) {
        const float* from = x + s * part + i + k * lanes;
        Vec v;
        std::memcpy(&v, from, sizeof(v));
        sums[s][k] += v;
      }
    }
  }
  Vec total = {};
  for (auto& stream : sums) {
    for (Vec& sum : stream) total += sum;
  }
  return total[0];
}

// Independent sums: more than an addition's latency times the units that add, and fewer than there are registers.
constexpr int kChains = kBytes == 64 ? 20 : 12;

float multiply_add(int64_t rounds) {
  Vec sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = Vec{} + static_cast<float>(c);  // equal ones would be made one
  Vec x = Vec{} + 0.999f, y = Vec{} + 1e-3f;
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 20
    for (int c = 0; c < kChains; ++c) sums[c] = sums[c] * x + y;
  }
  Vec total = {};
  for (int c = 0; c < kChains; ++c) total += sums[c];
  float result = 0;
  for (size_t i = 0; i < kBytes / sizeof(float); ++i) result += total[i];
  return result;
}

template <class F> void on_threads(int threads, F f) {
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back([=] { f(t); });
  f(0);
  for (std::thread& other : others) other.join();
}

}  // namespace

extern "C" {

void copy_streaming(const float* src, float* dst, size_t n, int threads) {
  const size_t part = n / static_cast<size_t>(threads) / 64 * 64;
  on_threads(threads, [=](int t) {
    const size_t begin = part * static_cast<size_t>(t);
    stream(src + begin, dst + begin, t == threads - 1 ? n - begin : part);
  });
}

void copy_plain(const float* src, float* dst, size_t n, int threads) {
  const size_t part = n / static_cast<size_t>(threads) / 64 * 64;
  on_threads(threads, [=](int t) {
    const size_t begin = part * static_cast<size_t>(t);
    std::memcpy(dst + begin, src + begin, (t == threads - 1 ? n - begin : part) * sizeof(float));
  });
}

void read_streaming(const float* src, size_t n, int threads, float* results) {
  const size_t part = n / static_cast<size_t>(threads) / 64 * 64;
  on_threads(threads, [=](int t) { results[t] = sum_streams(src + part * static_cast<size_t>(t), part); });
}

// The number of operations done.
double arithmetic(int64_t rounds, int threads, float* results) {
  on_threads(threads, [=](int t) { results[t] = multiply_add(rounds); });
  return 2.0 * kChains * (kBytes / sizeof(float)) * static_cast<double>(rounds) * threads;
}
}

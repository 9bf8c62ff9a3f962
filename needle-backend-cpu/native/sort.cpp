// argsort: each element becomes an unsigned key of the same order, with its index below it, so that sorting the keys
// is stable. Long rows are sorted digit by digit. A NaN is larger than all; the zeros are equal.
#include <algorithm>
#include <cstring>

#include "launch.h"
#include "ops.h"
#include "strided.h"
#include "workspace.h"

namespace needle {
namespace {

constexpr int64_t kGrain = 4096;    // elements that are worth another thread
constexpr int64_t kRadixRow = 512;  // shorter rows are sorted by comparison
constexpr int kDigit = 11;          // bits that one pass sorts by

uint32_t key_of(float x) {
  if (x != x) return UINT32_MAX;
  uint32_t bits;
  const float number = x == 0 ? 0.0f : x;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

uint64_t key_of(double x) {
  if (x != x) return UINT64_MAX;
  uint64_t bits;
  const double number = x == 0 ? 0.0 : x;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits >> 63 != 0 ? ~bits : bits | (uint64_t{1} << 63);
}

uint32_t key_of(int32_t x) { return static_cast<uint32_t>(x) ^ 0x80000000u; }
uint64_t key_of(int64_t x) { return static_cast<uint64_t>(x) ^ (uint64_t{1} << 63); }

template <class Key> struct Entry {
  Key key;
  uint32_t index;
  bool operator<(const Entry& other) const { return key != other.key ? key < other.key : index < other.index; }
};

// From the lowest digit to the highest; returns which of the two holds the result. Digits that all share are skipped.
template <class Key> Entry<Key>* radix_sort(Entry<Key>* from, Entry<Key>* to, int64_t n) {
  constexpr int kBits = 8 * sizeof(Key), kBuckets = 1 << kDigit;
  for (int shift = 0; shift < kBits; shift += kDigit) {
    int64_t starts[kBuckets] = {};
    for (int64_t i = 0; i < n; ++i) ++starts[(from[i].key >> shift) & (kBuckets - 1)];
    if (starts[(from[0].key >> shift) & (kBuckets - 1)] == n) continue;
    int64_t total = 0;
    for (int64_t& start : starts) {
      const int64_t count = start;
      start = total;
      total += count;
    }
    for (int64_t i = 0; i < n; ++i) to[starts[(from[i].key >> shift) & (kBuckets - 1)]++] = from[i];
    std::swap(from, to);
  }
  return from;
}

template <class T> void argsort_as(const View& dst, const View& x, int64_t rows, int64_t n, bool descending) {
  using Key = decltype(key_of(T()));
  parallel_for(rows, 1 + kGrain / n, [&](int64_t begin, int64_t end) {
    const Workspace space(static_cast<size_t>(2 * n) * sizeof(Entry<Key>));
    Reader in(x, rows * n, begin * n);
    for (int64_t r = begin; r < end; ++r) {
      Entry<Key>*entries = space.as<Entry<Key>>(), *spare = entries + n;
      for (int64_t i = 0; i < n; i += kBlock) {
        const int64_t count = std::min(kBlock, n - i);
        const T* values = static_cast<const T*>(in.read(count));
        for (int64_t j = 0; j < count; ++j) {
          const Key key = key_of(values[j]);
          entries[i + j] = {descending ? static_cast<Key>(~key) : key, static_cast<uint32_t>(i + j)};
        }
      }
      if (n >= kRadixRow) {
        entries = radix_sort(entries, spare, n);
      } else {
        std::sort(entries, entries + n);
      }
      for (int64_t i = 0; i < n; ++i) {
        if (dst.dtype == DType::kInt64) {
          dst.as<int64_t>()[r * n + i] = entries[i].index;
        } else {
          dst.as<int32_t>()[r * n + i] = static_cast<int32_t>(entries[i].index);
        }
      }
    }
  });
}

}  // namespace

void argsort(const View& dst, const View& x, int64_t rows, int64_t n, bool descending) {
  if (rows * n == 0) return;
  switch (compute_type(x.dtype)) {
    case kF32: return argsort_as<float>(dst, x, rows, n, descending);
    case kF64: return argsort_as<double>(dst, x, rows, n, descending);
    case kI64: return argsort_as<int64_t>(dst, x, rows, n, descending);
    default: return argsort_as<int32_t>(dst, x, rows, n, descending);
  }
}

}  // namespace needle

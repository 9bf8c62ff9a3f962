// Several elementwise functions over a tile of vectors at a time. The tile stays in registers from one step to the
// next; a step costs one jump for all its vectors. What is computed is what the loops of unary.cpp and binary.cpp
// compute, to the last bit. Functions of a few instructions are here, for which passes over a block would cost more
// than they do themselves; and erf and tanh, so that what surrounds them in an activation needs no such pass either.
#include <needle/functors.h>

#include "simd/past_caches.h"
#include "simd/vector.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kAhead = 2048;  // bytes; what is read from memory is asked for so far ahead

template <class T> struct Tiles {
  using V = typename Vector<T>::type;
  static constexpr int lanes = Vector<T>::lanes;

  // Members by name and not an array, which compilers keep in memory.
  struct Tile {
    V a, b, c, d, e, f, g, h;
  };
  static_assert(sizeof(Tile) == kTileVectors * NEEDLE_VECTOR_BYTES, "as kernels.h says");

  static V at(const T* x, int k) { return Vector<T>::load(x + k * lanes); }

  static Tile load(const T* x) {
    return {at(x, 0), at(x, 1), at(x, 2), at(x, 3), at(x, 4), at(x, 5), at(x, 6), at(x, 7)};
  }

  static void prefetch(const T* x) {  // beyond the end of an array that is harmless: a prefetch never faults
    for (int64_t i = 0; i < kTileVectors * NEEDLE_VECTOR_BYTES; i += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(x) + kAhead + i);
    }
  }

  // From the end to the begin, as store_tile does and why.
  template <class Store> static void store(const Tile& t, T* out, Store put) {
    put(out + 7 * lanes, t.h);
    put(out + 6 * lanes, t.g);
    put(out + 5 * lanes, t.f);
    put(out + 4 * lanes, t.e);
    put(out + 3 * lanes, t.d);
    put(out + 2 * lanes, t.c);
    put(out + lanes, t.b);
    put(out, t.a);
  }

  template <class F> static Tile each(const Tile& t, F f) {
    return {f(t.a), f(t.b), f(t.c), f(t.d), f(t.e), f(t.f), f(t.g), f(t.h)};
  }

  // A function of many instructions, for which the tile goes to the stack and back: as a function of its own, so that
  // its constants do not take registers from the tile in other steps.
  template <class F> __attribute__((noinline)) static void apply(T* x) {
    NEEDLE_INDEPENDENT
    for (int64_t i = 0; i < kTileVectors * lanes; ++i) x[i] = F()(x[i]);
  }

  template <class F> static Tile through(const Tile& t) {
    alignas(64) T x[kTileVectors * lanes];
    store(t, x, [](T* to, V v) { Vector<T>::store(to, v); });
    apply<F>(x);
    return load(x);
  }

  template <class F> static Tile with(const Tile& t, const T* x, F f) {
    return {f(t.a, at(x, 0)), f(t.b, at(x, 1)), f(t.c, at(x, 2)), f(t.d, at(x, 3)),
            f(t.e, at(x, 4)), f(t.f, at(x, 5)), f(t.g, at(x, 6)), f(t.h, at(x, 7))};
  }

  template <class F> static Tile binary(const Tile& t, const TileStep& step, const T* x, F f) {
    const V scalar = Vector<T>::splat(*reinterpret_cast<const T*>(step.scalar));
    switch (step.form) {
      case kWithMemory: return with(t, x, f);
      case kMemoryWith: return with(t, x, [f](V own, V other) { return f(other, own); });
      case kWithScalar: return each(t, [f, scalar](V own) { return f(own, scalar); });
      case kScalarWith: return each(t, [f, scalar](V own) { return f(scalar, own); });
      default: return each(t, [f](V own) { return f(own, own); });
    }
  }

  static constexpr int of(Unary kind) { return kTileUnary + static_cast<int>(kind); }
  static constexpr int of(Binary kind) { return kTileBinary + static_cast<int>(kind); }

  // What a step makes of a tile.
  static Tile after(const Tile& t, const TileStep& step, T* x) {
    const V zero = {};
    const V one = Vector<T>::splat(T(1));
    switch (step.op) {
      case kTileLoad: prefetch(x); return load(x);
      case kTileScalar: {
        const V scalar = Vector<T>::splat(*reinterpret_cast<const T*>(step.scalar));
        return {scalar, scalar, scalar, scalar, scalar, scalar, scalar, scalar};
      }
      case kTileStore: store(t, x, [](T* to, V v) { Vector<T>::store(to, v); }); return t;
      case kTileStorePast:
        store(t, x, [](T* to, V v) { store_past(reinterpret_cast<Line*>(to), reinterpret_cast<Line&>(v)); });
        return t;
      case of(Unary::kNeg): return each(t, [](V v) { return -v; });
      case of(Unary::kAbs): return each(t, [zero](V v) { return v > zero ? v : (v == zero ? zero : -v); });
      case of(Unary::kSquare): return each(t, [](V v) { return v * v; });
      case of(Unary::kRelu): return each(t, [zero](V v) { return v < zero ? zero : v; });
      case of(Unary::kReciprocal): return each(t, [one](V v) { return one / v; });
      case of(Unary::kErf): return through<Erf>(t);
      case of(Unary::kTanh): return through<Tanh>(t);
      case of(Binary::kAdd): return binary(t, step, x, [](V a, V b) { return a + b; });
      case of(Binary::kSub): return binary(t, step, x, [](V a, V b) { return a - b; });
      case of(Binary::kMul): return binary(t, step, x, [](V a, V b) { return a * b; });
      case of(Binary::kDiv): return binary(t, step, x, [](V a, V b) { return a / b; });
      case of(Binary::kMaximum): return binary(t, step, x, [](V a, V b) { return a > b ? a : (a != a ? a : b); });
      case of(Binary::kMinimum): return binary(t, step, x, [](V a, V b) { return a < b ? a : (a != a ? a : b); });
      case of(Binary::kReluGrad): return binary(t, step, x, [zero](V a, V b) { return b > zero ? a : zero; });
      default: __builtin_unreachable();
    }
  }

  static void run(const TileStep* steps, int64_t count, int64_t tiles) {
    for (int64_t i = 0; i < tiles; ++i) {
      Tile tile = {};
      for (const TileStep* step = steps; step < steps + count; ++step) {
        tile = after(tile, *step, reinterpret_cast<T*>(static_cast<unsigned char*>(step->memory) + i * step->step));
      }
    }
  }
};

bool has_unary(int kind) {
  switch (static_cast<Unary>(kind)) {
    case Unary::kNeg:
    case Unary::kAbs:
    case Unary::kSquare:
    case Unary::kRelu:
    case Unary::kReciprocal:
    case Unary::kErf:
    case Unary::kTanh: return true;
    default: return false;
  }
}

bool has_binary(int kind) {
  switch (static_cast<Binary>(kind)) {
    case Binary::kAdd:
    case Binary::kSub:
    case Binary::kMul:
    case Binary::kDiv:
    case Binary::kMaximum:
    case Binary::kMinimum:
    case Binary::kReluGrad: return true;
    default: return false;
  }
}

}  // namespace

void fill_tiles(Kernels& table) {
  table.tiles[0] = Tiles<float>::run;
  table.tiles[1] = Tiles<double>::run;
  table.tile_bytes = kTileVectors * NEEDLE_VECTOR_BYTES;
  table.tile_has_unary = has_unary;
  table.tile_has_binary = has_binary;
}

NEEDLE_END

// Transposition by square tiles that are turned in registers.
#include "simd/past_caches.h"

NEEDLE_BEGIN
namespace {

constexpr int64_t kLine = 64;  // bytes: a block has this much of each row on both sides, so that no line is read twice

// The transposed tile: each step deals two halves of the rows like cards.
template <class T> inline __attribute__((always_inline)) void turn(typename Vector<T>::type* rows) {
  constexpr int lanes = Vector<T>::lanes;
  for (int width = 1; width < lanes; width *= 2) {
    typename Vector<T>::type dealt[lanes];
    for (int i = 0; i < lanes / 2; ++i) {
      dealt[2 * i] = interleave<T, false>(rows[i], rows[i + lanes / 2]);
      dealt[2 * i + 1] = interleave<T, true>(rows[i], rows[i + lanes / 2]);
    }
    for (int i = 0; i < lanes; ++i) rows[i] = dealt[i];
  }
}

template <class T, bool past_caches> void turn_tile(const T* from, int64_t from_step, T* to, int64_t to_step) {
  using V = Vector<T>;
  typename V::type rows[V::lanes];
  for (int j = 0; j < V::lanes; ++j) rows[j] = V::load(from + j * from_step);
  turn<T>(rows);
  for (int i = 0; i < V::lanes; ++i) {
    if (past_caches) {
      store_past(reinterpret_cast<Line*>(to + i * to_step), reinterpret_cast<Line>(rows[i]));
    } else {
      V::store(to + i * to_step, rows[i]);
    }
  }
}

// Blocks of a line by a line, each of one tile or a few.
template <class T, bool past_caches>
void turn_blocks(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t rows, int64_t columns) {
  constexpr int64_t block = kLine / sizeof(T), lanes = Vector<T>::lanes;
  for (int64_t j = 0; j < columns; j += block) {
    for (int64_t i = 0; i < rows; i += block) {
      for (int64_t part = 0; part < block; part += lanes) {
        for (int64_t k = 0; k < block; k += lanes) {
          turn_tile<T, past_caches>(from + (j + k) * from_step + i + part, from_step, to + (i + part) * to_step + j + k,
                                    to_step);
        }
      }
    }
  }
}

template <class T>
void transpose(const void* source, int64_t from_step, void* target, int64_t to_step, int64_t rows, int64_t columns,
               bool past_caches) {
  const T* from = static_cast<const T*>(source);
  T* to = static_cast<T*>(target);
  constexpr int64_t block = kLine / sizeof(T);
  const int64_t whole_rows = rows / block * block, whole_columns = columns / block * block;
  const bool aligned = reinterpret_cast<uintptr_t>(to) % kLine == 0 && to_step % block == 0;
  if (past_caches && aligned) {
    turn_blocks<T, true>(from, from_step, to, to_step, whole_rows, whole_columns);
  } else {
    turn_blocks<T, false>(from, from_step, to, to_step, whole_rows, whole_columns);
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j)
      to[i * to_step + j] = from[j * from_step + i];
  }
}

}  // namespace

void fill_transpose(Kernels& table) {
  table.transpose[0] = transpose<float>;
  table.transpose[1] = transpose<double>;
}

NEEDLE_END

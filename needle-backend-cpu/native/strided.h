// Operands of any layout and stored type, read a block at a time as contiguous arrays of their compute type.
#ifndef NEEDLE_CPU_STRIDED_H
#define NEEDLE_CPU_STRIDED_H

#include <needle/view.h>

#include "isa.h"

namespace needle {

// The fewest axes that walk a view's elements in row-major order; a view of one element has none.
struct Axes {
  int rank = 0;
  int64_t n[kMaxRank];
  int64_t stride[kMaxRank];

  void append(int64_t length, int64_t step);
  int64_t inner_stride() const { return rank == 0 ? 1 : stride[rank - 1]; }
  int64_t inner_length() const { return rank == 0 ? 1 : n[rank - 1]; }
  int64_t offset_of(int64_t i) const;  // of the i-th element in row-major order
};

Axes merge_axes(const View& view);
Axes merge_axes(const View& view, int begin, int end);  // some of its axes; its shape must be filled in

// The leading axes of x, which count `rows`, and the trailing ones, which count `n`.
struct RowsAndColumns {
  Axes rows, columns;
};
RowsAndColumns split_axes(const View& x, int64_t rows, int64_t n);

// Copies n elements, from the i-th in row-major order on, to contiguous memory.
void gather_elements(const View& view, const Axes& axes, int64_t i, int64_t n, void* out);

struct alignas(64) Scratch {
  unsigned char bytes[kBlock * sizeof(double)];
};

// Reads a view from its `begin`-th element on. `read` gives the next n <= kBlock elements as a contiguous array, of the
// compute type if `widened`, else as stored; valid until the next read. A view of one element repeats it.
class Reader {
 public:
  Reader(const View& view, int64_t total, int64_t begin, bool widened = true);
  bool direct() const { return mode_ == kDirect; }  // then n may be any
  const void* read(int64_t n);

 private:
  enum Mode { kDirect, kRepeat, kWiden, kGather };

  void repeat(int64_t n);

  const View& view_;
  void (*widen_)(const void*, void*, int64_t);
  // Whether what was gathered last is what the next n elements are: one row again and again, as of a bias, or one
  // element all along a row.
  bool recurs(int64_t n) const;

  int64_t item_, next_;
  Mode mode_;
  Axes axes_;
  int64_t gathered_ = 0, gathered_at_ = 0;
  Scratch stored_, wide_;
};

// Whether a result is so large that the caches cannot hold it for whoever reads it: then it is written past them.
bool is_streamed(const View& dst);

// How a result is stored. Past the caches by the loop that computes it, where that can; otherwise it is computed into
// the nearest cache, a block at a time, and copied from there past the others.
enum class Store { kPlain, kCopiedPast, kPast };

// How a result of rows of n elements is stored by loops that write whole rows: past the caches only where each row
// begins at a line of memory.
Store row_store(const View& dst, int64_t n);

// The other direction, for contiguous results: hands out space for n elements of the compute type and stores them.
class Writer {
 public:
  Writer(const View& view, int64_t begin, bool narrowed = true, Store store = Store::kPlain);
  ~Writer();
  bool direct() const { return narrow_ == nullptr && store_ != Store::kCopiedPast; }
  int64_t block() const { return store_ == Store::kCopiedPast ? kStreamed : kBlock; }  // elements at a time
  void* space();
  void commit(int64_t n);

 private:
  static constexpr int64_t kStreamed = 512;  // few enough that reads and writes of memory go on side by side

  unsigned char* next_;
  int64_t item_;
  Store store_;
  void (*narrow_)(const void*, void*, int64_t);
  Scratch wide_, stored_;
};

inline bool is_stored_as_computed(DType dtype) { return kernels().widen[static_cast<int>(dtype)] == nullptr; }
inline int64_t compute_size(DType dtype) {
  const Compute type = compute_type(dtype);
  return type == kF64 || type == kI64 ? 8 : 4;
}
inline unsigned char* bytes_at(const View& view, int64_t element) {
  return view.as<unsigned char>() + element * item_size(view.dtype);
}

}  // namespace needle

#endif  // NEEDLE_CPU_STRIDED_H

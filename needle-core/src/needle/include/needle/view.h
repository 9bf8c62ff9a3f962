// The arguments of every kernel: element types by number, and a strided view of a buffer.
// Read by C++17, CUDA and (without View, which holds a plain pointer) Metal. Keep it C++14.
#ifndef NEEDLE_VIEW_H
#define NEEDLE_VIEW_H

#include <stdint.h>

namespace needle {

constexpr int kMaxRank = 16;  // MAX_RANK in shape.py

// The numbers are DType.code in dtype.py.
enum class DType : int32_t {
  kBool = 0,
  kUInt8 = 1,
  kInt8 = 2,
  kInt32 = 3,
  kInt64 = 4,
  kFloat16 = 5,
  kBFloat16 = 6,
  kFloat32 = 7,
  kFloat64 = 8,
};

constexpr int64_t item_size(DType dtype) {
  return dtype == DType::kBool || dtype == DType::kUInt8 || dtype == DType::kInt8 ? 1
         : dtype == DType::kFloat16 || dtype == DType::kBFloat16                  ? 2
         : dtype == DType::kInt32 || dtype == DType::kFloat32                     ? 4
                                                                                  : 8;
}

// `data` points at element (0, 0, ...), the offset already added; strides count elements.
struct View {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  int32_t rank = 0;
  bool contiguous = true;  // row-major without gaps; then shape and strides may be left unread
  int64_t size = 1;
  int64_t shape[kMaxRank];
  int64_t strides[kMaxRank];
  void* owner = nullptr;  // the buffer that the memory is part of; null of what a kernel makes for itself

  template <class T> T* as() const { return static_cast<T*>(data); }
};

}  // namespace needle

#endif  // NEEDLE_VIEW_H

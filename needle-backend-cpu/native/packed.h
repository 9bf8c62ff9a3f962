// Packed copies of matrices, kept beside the memory that they were made of for as long as nobody writes into it.
#ifndef NEEDLE_CPU_PACKED_H
#define NEEDLE_CPU_PACKED_H

#include <needle/view.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "isa.h"

namespace needle {

// Memory of one copy; counted in `packed_bytes`.
class Packed {
 public:
  static std::shared_ptr<Packed> make(size_t nbytes);  // null where memory is short
  ~Packed();
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;
  void* data() const { return data_; }
  size_t nbytes() const { return nbytes_; }

 private:
  Packed(void* data, size_t nbytes) : data_(data), nbytes_(nbytes) {}
  void* data_;
  size_t nbytes_;
};

// What is known of a buffer's contents: whether they changed, and copies of what was read of them more than once since.
// A buffer changes when a kernel writes it or bytes are uploaded. Once its memory was lent out by the buffer protocol,
// or its address told, it may change at any time, and nothing is kept any more: that a memoryview is gone says nothing,
// since NumPy's arrays hold the buffer behind it.
class Copies {
 public:
  Copies() = default;
  ~Copies() { drop(); }
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;

  void written();  // before a write and after it, so that nothing of a half-written buffer is kept
  void shared();
  void drop();
  size_t nbytes() const;

  // The copy of that key, which says all that it depends on beside the contents. The first to ask since the last change
  // gets none: a matrix that is used once is packed for that one time, by whoever uses it. `pack` fills a new copy.
  template <class Pack> std::shared_ptr<const Packed> find(std::vector<int64_t>&& key, size_t nbytes, Pack pack) {
    uint64_t version = 0;
    bool again = false;
    std::shared_ptr<const Packed> found = look_up(std::move(key), version, again);
    if (found != nullptr || !again) return found;
    const std::shared_ptr<Packed> fresh = Packed::make(nbytes);
    if (fresh == nullptr) return nullptr;
    pack(fresh->data());
    return keep(key, version, fresh) ? fresh : nullptr;
  }

 private:
  struct Entry {
    std::vector<int64_t> key;
    std::shared_ptr<const Packed> copy;
  };

  // `again`: it was asked for before, and is to be made. Then `key` is as it was.
  std::shared_ptr<const Packed> look_up(std::vector<int64_t>&& key, uint64_t& version, bool& again);
  bool keep(const std::vector<int64_t>& key, uint64_t version, const std::shared_ptr<const Packed>& copy);

  std::atomic<uint64_t> version_{0};
  std::atomic<bool> shared_{false};
  std::atomic<bool> holds_{false};  // whether there are entries
  uint64_t seen_ = 0;               // the version of the entries
  std::vector<Entry> entries_;
};

Copies* copies_of(const View& view);  // null where the view is not in the memory of its owner
size_t packed_bytes();                // of all copies
void drop_packed();                   // all of them

// Where a view begins, and its type.
inline int64_t key_of(const View& view) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(view.data)) * 16 + static_cast<int64_t>(view.dtype);
}

// Whether a copy of a product's b is worth its memory.
inline bool worth_packing(const Gemm& g, Compute type) {
  constexpr int64_t kMostRows = 512, kLeastElements = 4096;
  const bool packs = (type == kF32 || type == kF64) && kernels().gemm_pack[type == kF64] != nullptr;
  return packs && g.m > 1 && g.n > 1 && g.m <= kMostRows && g.n * g.k >= kLeastElements;
}

// The packed copy of a matrix in a view; null where none is kept.
template <class Pack>
std::shared_ptr<const Packed> packed_copy(const View& view, std::vector<int64_t> key, size_t nbytes, Pack pack) {
  Copies* const copies = copies_of(view);
  return copies == nullptr ? nullptr : copies->find(std::move(key), nbytes, pack);
}

}  // namespace needle

#endif  // NEEDLE_CPU_PACKED_H

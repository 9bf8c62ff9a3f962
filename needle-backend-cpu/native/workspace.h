// Scratch memory that kernels borrow. Free of standard headers, because the files of simd/ include it.
#ifndef NEEDLE_CPU_WORKSPACE_H
#define NEEDLE_CPU_WORKSPACE_H

#include <stddef.h>

namespace needle {

// Scratch memory for the time of a scope, kept by the thread for the next.
class Workspace {
 public:
  explicit Workspace(size_t nbytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  template <class T> T* as() const { return static_cast<T*>(data_); }

 private:
  void* data_;
  bool owned_;  // deeper than the thread keeps: freed at once
};

}  // namespace needle

#endif  // NEEDLE_CPU_WORKSPACE_H

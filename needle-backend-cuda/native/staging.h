// Pinned host memory through which large copies between host and device go, piece by piece.
#ifndef NEEDLE_CUDA_STAGING_H
#define NEEDLE_CUDA_STAGING_H

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstddef>
#include <mutex>

namespace needle {

// A few pinned pieces, used in turn. While the device copies one, the host fills or empties the next. The lock is for
// threads that copy at the same time: hold no GIL when you call.
class Staging {
 public:
  // On return `host` has been read; the copy itself is only queued.
  void upload(void* device, const void* host, size_t nbytes, cudaStream_t stream);
  // On return `host` has been written.
  void download(void* host, const void* device, size_t nbytes, cudaStream_t stream);

  size_t pinned() const { return pinned_; }  // bytes, which are kept

 private:
  static constexpr size_t kPieceBytes = 4 << 20;
  static constexpr int kPieces = 4;
  struct Piece {
    char* data = nullptr;
    cudaEvent_t done = nullptr;  // the last copy out of or into it
  };
  Piece& ready(int i);  // waits until the device is done with it

  std::mutex lock_;
  Piece pieces_[kPieces];
  int next_ = 0;
  std::atomic<size_t> pinned_{0};
};

}  // namespace needle

#endif  // NEEDLE_CUDA_STAGING_H

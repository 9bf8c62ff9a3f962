// The device, memory and queue of needle-backend-msl, as this backend works on them; and MPS's command buffers.
#ifndef NEEDLE_MPS_LINK_H
#define NEEDLE_MPS_LINK_H

#import <MetalPerformanceShaders/MetalPerformanceShaders.h>
#include <needle/view.h>
#include <needle_msl/bridge.h>
#include <needle_msl/ref.h>

#include <vector>

namespace needle {

struct Place {
  id<MTLBuffer> buffer;
  size_t offset;  // in bytes
};

Place place_of(const View& view);  // of its first element; the buffer counts as used by what is encoded now
id<MTLDevice> metal_device();
bool supported();  // whether MPS runs on the system's default GPU

MPSDataType mps_type(DType dtype);
inline bool is_mps_type(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kFloat16; }
inline size_t bytes_of(const View& view) { return static_cast<size_t>(view.size * item_size(view.dtype)); }

// The open command buffer, with no encoder open in it, for MPS to encode into; `done` afterwards.
class Encoding {
 public:
  explicit Encoding(std::vector<View> used);
  MPSCommandBuffer* commands() const { return wrapped_; }
  void done();

 private:
  std::vector<View> used_;
  id<MTLCommandBuffer> open_;
  MPSCommandBuffer* wrapped_;  // autoreleased
};

// Scratch memory for what is encoded next.
class Scratch {
 public:
  explicit Scratch(size_t nbytes);
  ~Scratch();
  Scratch(Scratch&& other) noexcept : data_(std::exchange(other.data_, nullptr)), nbytes_(other.nbytes_) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  char* data() const { return data_; }

 private:
  char* data_;
  size_t nbytes_;
};

void copy_bytes(void* dst, const void* src, size_t nbytes);  // encoded, as all else

}  // namespace needle

#endif  // NEEDLE_MPS_LINK_H

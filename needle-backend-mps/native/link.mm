// needle-backend-msl's device, memory and command buffers, through the bridge.
#include "link.h"

#include <stdexcept>

#include "bridge.h"

namespace needle {

Place place_of(const View& view) {
  size_t offset = 0;
  void* buffer = checked(bridge().buffer_of(static_cast<const char*>(view.data), &offset));
  return {(id<MTLBuffer>)buffer, offset};
}

id<MTLDevice> metal_device() { return (id<MTLDevice>)checked(bridge().device()); }

bool supported() {
  @autoreleasepool {
    const Ref<id<MTLDevice>> found(MTLCreateSystemDefaultDevice());
    return MPSSupportsMTLDevice(found.get());
  }
}

MPSDataType mps_type(DType dtype) {
  if (dtype == DType::kFloat32) return MPSDataTypeFloat32;
  if (dtype == DType::kFloat16) return MPSDataTypeFloat16;
  throw std::logic_error("mps: float32 and float16 only");
}

Encoding::Encoding(std::vector<View> used)
    : used_(std::move(used)),
      open_((id<MTLCommandBuffer>)checked(bridge().commands())),
      wrapped_([MPSCommandBuffer commandBufferWithCommandBuffer:open_]) {
  for (const View& view : used_) place_of(view);  // a copy may have filled the command buffer in which they were found
}

// MPSGraph may commit the command buffer on its way and go on with another one.
void Encoding::done() {
  id<MTLCommandBuffer> now = wrapped_.rootCommandBuffer;
  checked(bridge().encoded(open_, now));
  if (now == open_) return;
  for (const View& view : used_) place_of(view);  // used by the second one as well
}

Scratch::Scratch(size_t nbytes) : data_(checked(bridge().allocate(nbytes))), nbytes_(nbytes) {}

Scratch::~Scratch() {
  if (data_ != nullptr) bridge().release(data_, nbytes_);
}

void copy_bytes(void* dst, const void* src, size_t nbytes) {
  checked(bridge().copy(static_cast<char*>(dst), static_cast<const char*>(src), nbytes));
}

}  // namespace needle

// cuDNN's handle of the device whose method is being called, bound to its queue.
#ifndef NEEDLE_CUDA_CUDNN_HANDLE_H
#define NEEDLE_CUDA_CUDNN_HANDLE_H

#include <cudnn.h>

#include "runtime.h"

namespace needle {

cudnnHandle_t cudnn_handle();

inline void check_library(cudnnStatus_t status) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw LibraryFailure(std::string("cuDNN: ") + cudnnGetErrorString(status));
}

}  // namespace needle

#endif  // NEEDLE_CUDA_CUDNN_HANDLE_H

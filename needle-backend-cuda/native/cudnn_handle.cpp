#include "cudnn_handle.h"

#include <vector>

namespace needle {

cudnnHandle_t cudnn_handle() {
  static std::vector<cudnnHandle_t>* const all = new std::vector<cudnnHandle_t>(static_cast<size_t>(Runtime::count()));
  cudnnHandle_t& handle = (*all)[static_cast<size_t>(runtime().index)];
  if (handle == nullptr) {
    check_library(cudnnCreate(&handle));
    check_library(cudnnSetStream(handle, stream()));
  }
  return handle;
}

}  // namespace needle

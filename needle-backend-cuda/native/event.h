// A mark in a device's queue: has the work before it been done, and when?
#ifndef NEEDLE_CUDA_EVENT_H
#define NEEDLE_CUDA_EVENT_H

#include "runtime.h"

namespace needle {

class Event {
 public:
  explicit Event(Runtime& device) {  // recorded at once
    check(cudaEventCreate(&event_));
    check(cudaEventRecord(event_, device.stream));
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  cudaEvent_t handle() const { return event_; }

  bool done() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    check(status);
    return true;
  }
  void wait() const { check(cudaEventSynchronize(event_)); }

  float milliseconds_since(const Event& start) const {
    float time = 0;
    wait();
    check(cudaEventElapsedTime(&time, start.event_, event_));
    return time;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace needle

#endif  // NEEDLE_CUDA_EVENT_H

// A kernel that goes wrong, to test what then happens.
#ifndef NEEDLE_CUDA_FAULT_H
#define NEEDLE_CUDA_FAULT_H

namespace needle {

void fault();  // queues a write to an address that is not ours: the device is lost to the process

}  // namespace needle

#endif  // NEEDLE_CUDA_FAULT_H

// What goes wrong on purpose, to test what then happens.
#ifndef NEEDLE_CUDA_FAULT_H
#define NEEDLE_CUDA_FAULT_H

#include <needle/view.h>

namespace needle {

void fault();                   // queues a write to an address that is not ours: the device is lost to the process
void waiting(const View& any);  // waits for the device, as nothing that is to be recorded may

}  // namespace needle

#endif  // NEEDLE_CUDA_FAULT_H

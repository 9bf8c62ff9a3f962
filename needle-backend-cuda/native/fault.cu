#include "fault.h"
#include "launch.cuh"

namespace needle {
namespace {

__global__ void write_nowhere(int* nowhere) { *nowhere = 1; }

}  // namespace

void fault() { launch(write_nowhere, 1, 1, 0, reinterpret_cast<int*>(16)); }
void waiting(const View&) { check(cudaStreamSynchronize(stream())); }

}  // namespace needle

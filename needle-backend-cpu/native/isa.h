// Which instruction set the inner loops use: the best that the machine has, or the one that NEEDLE_CPU_ISA names.
#ifndef NEEDLE_CPU_ISA_H
#define NEEDLE_CPU_ISA_H

#include "simd/kernels.h"

namespace needle {

const Kernels& kernels();
const char* isa_name();

}  // namespace needle

#endif  // NEEDLE_CPU_ISA_H

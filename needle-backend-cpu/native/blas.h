// The choice of another library's matrix product at build time.
#ifndef NEEDLE_CPU_BLAS_H
#define NEEDLE_CPU_BLAS_H

#include "isa.h"

namespace needle {

void use_blas(Kernels& table);  // puts its products of floats and doubles in the place of the table's

}  // namespace needle

#endif  // NEEDLE_CPU_BLAS_H

// The part of the Metal standard library that kernels use. Put before every translated source, in one of three modes:
// to run on the host (the default), MSL_STRICT to check types with real address spaces, MSL_PTX for a CUDA GPU.
#pragma once
#include "types.h"
// In this order: each uses those before it.
#include "math.h"
//
#include "atomics.h"
#include "simdgroup.h"
//
#include "matrix.h"
//
#include "entry.h"

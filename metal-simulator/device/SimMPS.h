// Numbers of any MPS type, and shapes: what both parts of the simulated MPS use.
#pragma once
#import <MetalPerformanceShadersGraph/MetalPerformanceShadersGraph.h>

#include <string>

#include "SimMetal.h"

[[noreturn]] void mps_stop(const std::string& what);
inline size_t mps_size(MPSDataType t) { return (t & 0xffff) / 8; }
double mps_load(const char* p, MPSDataType t);
void mps_store(char* p, MPSDataType t, double x);

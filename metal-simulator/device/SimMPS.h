// Numbers of any MPS type, and shapes: what the parts of the simulated MPS share.
#pragma once
#import <MetalPerformanceShadersGraph/MetalPerformanceShadersGraph.h>

#include <string>
#include <vector>

#include "SimMetal.h"

[[noreturn]] void mps_stop(const std::string& what);

inline size_t mps_size(MPSDataType type) { return (type & 0xffff) / 8; }
double mps_load(const char* p, MPSDataType type);
void mps_store(char* p, MPSDataType type, double x);

typedef std::vector<long> Shape;
long mps_count(const Shape& shape);
Shape mps_shape(NSArray* sizes);
NSArray* mps_array(const Shape& shape);
std::string mps_text(const Shape& shape);

// The command buffer that is encoded into; stops if an encoder is open there.
SimCommandBuffer* mps_open(id<MTLCommandBuffer> commands);
void mps_keep(SimCommandBuffer* commands, id object);  // until the commands have run

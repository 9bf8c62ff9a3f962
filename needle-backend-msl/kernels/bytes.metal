// Bytes of the host, put where the device still works: in order with everything else.
#include <metal_stdlib>

#include "element.h"

kernel void write_bytes(device uchar* dst [[buffer(0)]], constant uchar* src [[buffer(1)]],
                        uint i [[thread_position_in_grid]]) {
  dst[i] = src[i];
}

kernel void copy_bytes(device uchar* dst [[buffer(0)]], device const uchar* src [[buffer(1)]],
                       uint i [[thread_position_in_grid]]) {
  dst[i] = src[i];
}

// How another extension works on this backend's device: its memory, and its one queue. needle-backend-mps takes the
// capsule `_ext.bridge` when it is imported.
//
// No C++ exception crosses from one extension to the other: a function that fails sets Python's error and returns null
// or false. All are called with Python's GIL held. Objective-C objects are passed as void* and not retained.
#ifndef NEEDLE_MSL_BRIDGE_H
#define NEEDLE_MSL_BRIDGE_H

#include <Python.h>

#include <cstddef>
#include <cstdint>

namespace needle {

struct Bridge {
  uint32_t version;                   // kBridgeVersion of the one who filled this in
  void (*begin)(const char* op);      // what is encoded from now on, for errors
  char* (*memory)(PyObject* buffer);  // the first byte of a buffer of this device
  char* (*allocate)(size_t nbytes);   // scratch memory, to be released once what uses it is encoded
  void (*release)(char* data, size_t nbytes);
  bool (*copy)(char* dst, const char* src, size_t nbytes);  // encodes a copy of bytes

  void* (*device)();  // id<MTLDevice>
  // The id<MTLBuffer> in which this byte lies, and its offset there. The buffer counts as used by what is encoded now.
  void* (*buffer_of)(const char* data, size_t* offset);
  void* (*commands)();  // the open id<MTLCommandBuffer>, in which no encoder is open
  // Something was encoded into `commands`, and `now` is the command buffer to go on with: the same one, or the next if
  // it was committed on the way.
  bool (*encoded)(void* commands, void* now);
};

constexpr uint32_t kBridgeVersion = 1;
constexpr char kBridgeName[] = "needle_backend_msl._ext.bridge";

}  // namespace needle

#endif  // NEEDLE_MSL_BRIDGE_H

// The bridge to needle-backend-msl's extension: taken when this one is imported.
#ifndef NEEDLE_MPS_BRIDGE_H
#define NEEDLE_MPS_BRIDGE_H

#include <needle/python.h>
#include <needle_msl/bridge.h>

namespace needle {

void take_bridge();  // throws PythonError: msl is not there, or speaks another version
const Bridge& bridge();

// What a function of the bridge gives, if it did not fail.
template <class Pointer> Pointer checked(Pointer given) {
  if (!given) throw PythonError();
  return given;
}

}  // namespace needle

#endif  // NEEDLE_MPS_BRIDGE_H

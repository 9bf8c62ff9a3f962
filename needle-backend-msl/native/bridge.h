// The capsule that holds this backend's Bridge.
#ifndef NEEDLE_MSL_NATIVE_BRIDGE_H
#define NEEDLE_MSL_NATIVE_BRIDGE_H

#include <needle_msl/bridge.h>

namespace needle {

PyObject* bridge_capsule();  // a new reference

}  // namespace needle

#endif  // NEEDLE_MSL_NATIVE_BRIDGE_H

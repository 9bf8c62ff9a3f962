// Ownership of Objective-C objects in C++: one reference, released with its scope. No automatic reference counting.
#ifndef NEEDLE_MSL_REF_H
#define NEEDLE_MSL_REF_H

#import <Foundation/Foundation.h>

#include <utility>

namespace needle {

template <class T> class Ref {
 public:
  Ref() = default;
  explicit Ref(T owned) : object_(owned) {}  // takes over what new..., alloc and copy give
  static Ref retain(T object) { return Ref([object retain]); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nil)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  ~Ref() { [object_ release]; }

  T get() const { return object_; }
  explicit operator bool() const { return object_ != nil; }

 private:
  T object_ = nil;
};

}  // namespace needle

#endif  // NEEDLE_MSL_REF_H

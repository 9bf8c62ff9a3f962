// What the compiler's tables call: how bound buffers and built-in values become a kernel's arguments.
#pragma once
#include "types.h"
#if !defined(MSL_STRICT) && !defined(MSL_PTX)
namespace __msl {
struct ctx {
  void* const* buf;
  void* const* tg;
  uint b[16][3];
};  // bound buffers, dynamic threadgroup memory, built-in inputs
template <class T> inline T builtin(const uint* v) {
  T r;
  if constexpr (vt<T>::n == 1)
    r = T(v[0]);
  else
    for (int i = 0; i < vt<T>::n; ++i) r[i] = (typename vt<T>::s)v[i];
  return r;
}
template <class T> struct bind {
  static T buf(void* p) { return (T)p; }
};
template <class T> struct bind<T&> {
  static T& buf(void* p) { return *(T*)p; }
};
template <class S> inline S& tg_var() {
  static const char key = 0;
  return *(S*)__msl_rt_tg(&key, sizeof(S), alignof(S) < 16 ? 16 : alignof(S));
}
template <class F> struct fn;
template <class R, class... A> struct fn<R(A...)> {
  template <int I> using arg = __type_pack_element<I, A...>;
};
template <class T> struct tsize {
  static constexpr unsigned v = sizeof(T);
};
template <class T> struct tsize<T&> {
  static constexpr unsigned v = sizeof(T);
};
template <class T> struct tsize<T*> {
  static constexpr unsigned v = sizeof(T);
};
struct argi {
  int kind;
  int index;
  unsigned elem;
  unsigned flags;
  const char* name;
};  // kind 0 buffer, 1 threadgroup, 2 builtin; flags 1 reference, 2 const
struct kern {
  const char* name;
  void (*run)(const ctx*);
  const argi* args;
  int nargs;
  ulong fconsts;
};
struct fconst {
  const char* name;
  int index;
  unsigned size;
  void* at;
  char* defined;
};
}  // namespace __msl
#endif

#ifdef MSL_PTX
namespace __msl {
template <class T> inline T builtin3(uint x, uint y, uint z) {
  const uint v[3] = {x, y, z};
  T r;
  if constexpr (vt<T>::n == 1)
    r = T(v[0]);
  else
    for (int i = 0; i < vt<T>::n; ++i) r[i] = (typename vt<T>::s)v[i];
  return r;
}
struct dims {
  uint gx, gy, gz;
};
struct here {
  uint tx, ty, tz, bx, by, bz, dx, dy, dz, nx, ny, nz;
  here() {
    tx = __nvvm_read_ptx_sreg_tid_x();
    ty = __nvvm_read_ptx_sreg_tid_y();
    tz = __nvvm_read_ptx_sreg_tid_z();
    bx = __nvvm_read_ptx_sreg_ctaid_x();
    by = __nvvm_read_ptx_sreg_ctaid_y();
    bz = __nvvm_read_ptx_sreg_ctaid_z();
    dx = __nvvm_read_ptx_sreg_ntid_x();
    dy = __nvvm_read_ptx_sreg_ntid_y();
    dz = __nvvm_read_ptx_sreg_ntid_z();
    nx = __nvvm_read_ptx_sreg_nctaid_x();
    ny = __nvvm_read_ptx_sreg_nctaid_y();
    nz = __nvvm_read_ptx_sreg_nctaid_z();
  }
  bool out(const dims& d) const { return bx * dx + tx >= d.gx || by * dy + ty >= d.gy || bz * dz + tz >= d.gz; }
  uint lin() const { return (tz * dy + ty) * dx + tx; }
  template <class T> T get(int i, const dims& d) const {
    switch (i) {
      case 0: return builtin3<T>(bx * dx + tx, by * dy + ty, bz * dz + tz);
      case 1: return builtin3<T>(tx, ty, tz);
      case 2: return builtin3<T>(bx, by, bz);
      case 3:
      case 11: return builtin3<T>(dx, dy, dz);
      case 4: return builtin3<T>(d.gx, d.gy, d.gz);
      case 5: return builtin3<T>(nx, ny, nz);
      case 6: return builtin3<T>(lin(), 0, 0);
      case 7: return builtin3<T>(lin() % 32, 0, 0);
      case 8: return builtin3<T>(lin() / 32, 0, 0);
      case 9: return builtin3<T>(32, 0, 0);
      default: return builtin3<T>((dx * dy * dz + 31) / 32, 0, 0);
    }
  }
};
template <class F> struct fn;
template <class R, class... A> struct fn<R(A...)> {
  template <int I> using arg = __type_pack_element<I, A...>;
};
template <class T> struct bind {
  static T buf(void* p) { return (T)p; }
};
template <class T> struct bind<T&> {
  static T& buf(void* p) { return *(T*)p; }
};
}  // namespace __msl
extern threadgroup char __msl_dyn[];
#endif

// The types of the Metal Shading Language on clang's vectors, its constants, and its address spaces.
#pragma once
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef ushort uint16_t;
typedef int int32_t;
typedef uint uint32_t;
typedef long int64_t;
typedef ulong uint64_t;
typedef ulong size_t;
typedef long ptrdiff_t;
typedef _Float16 half;
typedef __bf16 bfloat;
#define MSL_VT(T)                                     \
  typedef T T##2 __attribute__((ext_vector_type(2))); \
  typedef T T##3 __attribute__((ext_vector_type(3))); \
  typedef T T##4 __attribute__((ext_vector_type(4)));
MSL_VT(char);
MSL_VT(uchar);
MSL_VT(short);
MSL_VT(ushort);
MSL_VT(int);
MSL_VT(uint);
MSL_VT(long);
MSL_VT(ulong);
MSL_VT(half);
MSL_VT(float);

#undef MSL_VT
#define INFINITY __builtin_huge_valf()
#define NAN __builtin_nanf("")
#define MAXFLOAT 0x1.fffffep+127f
#define FLT_MAX MAXFLOAT
#define FLT_MIN 0x1p-126f
#define FLT_EPSILON 0x1p-23f
#define HALF_MAX ((half)65504.0f)
#define M_PI_F 3.14159265358979323846f
#define M_PI_2_F 1.57079632679489661923f
#define M_E_F 2.71828182845904523536f
#define M_LN2_F 0.693147180559945309417f
#define M_LOG2E_F 1.44269504088896340736f
#define M_SQRT2_F 1.41421356237309504880f
#define M_SQRT1_2_F 0.707106781186547524401f
#define M_2_SQRTPI_F 1.12837916709551257390f
#define INT_MAX 2147483647
#define UINT_MAX 4294967295u

#if defined(MSL_STRICT) || defined(MSL_PTX)
#define device __attribute__((address_space(1)))
#define constant const __attribute__((address_space(MSL_CONST_AS)))
#define threadgroup __attribute__((address_space(3)))
#ifdef MSL_PTX
#define MSL_CONST_AS 1  // constant buffers lie in global memory on a CUDA GPU
#else
#define MSL_CONST_AS 4
#endif
#define MSL_OBJ_AS(X) X(__attribute__((address_space(1)))) X(__attribute__((address_space(3))))
#define MSL_SHARED static __attribute__((loader_uninitialized)) threadgroup
#define MSL_FUNCTION_CONSTANT __attribute__((address_space(1)))  // a variable: the host sets it before a launch
#else
#define device
#define constant const
#define threadgroup
#define MSL_OBJ_AS(X) X()
#endif
#define thread
#define kernel

#if !defined(MSL_STRICT) && !defined(MSL_PTX)
extern "C" {  // the executor
void* __msl_rt_tg(const void* key, unsigned long size, unsigned long align);
void __msl_rt_barrier(unsigned flags, unsigned line);
float __msl_rt_jitter(float x);
void __msl_rt_simd_barrier(unsigned flags, unsigned line);
// all live lanes of the simdgroup meet here; returns the mask of active lanes, slots: 32 x 64 bytes
unsigned __msl_rt_simd(const void* v, unsigned size, unsigned line, const unsigned char** slots);
unsigned __msl_rt_lane();
}
#endif

namespace __msl {
template <class A, class B> struct same {
  static constexpr bool v = false;
};
template <class A> struct same<A, A> {
  static constexpr bool v = true;
};
template <bool B, class T = void> struct en {};
template <class T> struct en<true, T> {
  typedef T t;
};
template <class T> struct vt {
  typedef T s;
  static constexpr int n = 1;
};
template <class T, int N> struct vt<T __attribute__((ext_vector_type(N)))> {
  typedef T s;
  static constexpr int n = N;
};
template <class T> struct unref {
  typedef T t;
};
template <class T> struct unref<T&> {
  typedef T t;
};
template <class T> struct unref<const T> {
  typedef T t;
};
template <class T> struct unref<const T&> {
  typedef T t;
};
template <class T, int N> struct mkv {
  typedef T t __attribute__((ext_vector_type(N)));
};
template <class T> struct mkv<T, 1> {
  typedef T t;
};
template <class V, class A> constexpr void put(V& v, int& i, A a) {
  using S = typename vt<V>::s;
  if constexpr (vt<A>::n == 1)
    v[i++] = S(a);
  else
    for (int k = 0; k < vt<A>::n; ++k) v[i++] = S(a[k]);
}
template <class... A> struct count {
  static constexpr int v = (0 + ... + vt<A>::n);
};
// float4(...) of MSL: mslc writes __msl::mk<float4>(...)
template <class V, class... A> inline V mk(A... a) {
  using S = typename vt<V>::s;
  V v;
  if constexpr (sizeof...(A) == 1 && count<A...>::v == 1)
    v = (V)(S)(a, ...);
  else {
    static_assert(count<A...>::v == vt<V>::n, "MSL: wrong number of vector components");
    int i = 0;
    (put(v, i, a), ...);
  }
  return v;
}
template <class V> inline V mk() { return V(0); }
template <class V> struct cvt {};
template <class V, class A> inline V operator->*(cvt<V>, A a) { return mk<V>(a); }
#ifdef MSL_STRICT
template <class F, class T, class... A> inline T map(F f, T x, A... a) { return x; }
#else
template <class F, class T, class... A> inline T map(F f, T x, A... a) {
  if constexpr (vt<T>::n == 1)
    return T(f(float(x), float(a)...));
  else {
    T r;
    for (int i = 0; i < vt<T>::n; ++i) r[i] = (typename vt<T>::s)f(float(x[i]), float(a[i])...);
    return r;
  }
}
#endif
}  // namespace __msl

// Packed vectors, without the gap that follows three elements otherwise: to be read and written whole or by index. They
// are types of their own where kernels run, and of the size of vectors where address spaces are checked; not for PTX.
#if defined(MSL_STRICT)
#define MSL_PACKED(T, N) typedef T##N packed_##T##N;
#elif !defined(MSL_PTX)
namespace __msl {
template <class T, int N> struct packed {
  typedef T whole __attribute__((ext_vector_type(N)));
  T e[N];
  packed() = default;
  packed(whole v) {
    for (int i = 0; i < N; ++i) e[i] = v[i];
  }
  operator whole() const {
    whole v;
    for (int i = 0; i < N; ++i) v[i] = e[i];
    return v;
  }
  T& operator[](int i) { return e[i]; }
  const T& operator[](int i) const { return e[i]; }
};
template <class T, int N> struct vt<packed<T, N> > {
  typedef T s;
  static constexpr int n = N;
};
}  // namespace __msl
#define MSL_PACKED(T, N) typedef __msl::packed<T, N> packed_##T##N;
#endif
#ifdef MSL_PACKED
#define MSL_PACKED_ALL(T) MSL_PACKED(T, 2) MSL_PACKED(T, 3) MSL_PACKED(T, 4)
MSL_PACKED_ALL(float)
MSL_PACKED_ALL(half)
MSL_PACKED_ALL(int)
MSL_PACKED_ALL(uint)
#endif

namespace metal {
template <class T, int N> using vec = T __attribute__((ext_vector_type(N)));
enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
inline constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }
enum memory_order { memory_order_relaxed = 0 };
template <class T, class U> inline T as_type(U u) {
  static_assert(sizeof(T) == sizeof(U), "as_type: sizes differ");
  return __builtin_bit_cast(T, u);
}
template <class T> struct numeric_limits;
template <> struct numeric_limits<float> {
  static constexpr float max() { return MAXFLOAT; }
  static constexpr float lowest() { return -MAXFLOAT; }
  static constexpr float infinity() { return __builtin_huge_valf(); }
};
template <> struct numeric_limits<half> {
  static constexpr half max() { return (half)65504.0f; }
  static constexpr half lowest() { return (half)-65504.0f; }
  static constexpr half infinity() { return (half)__builtin_huge_valf(); }
};
template <> struct numeric_limits<int> {
  static constexpr int max() { return 2147483647; }
  static constexpr int lowest() { return -2147483647 - 1; }
};
template <> struct numeric_limits<uint> {
  static constexpr uint max() { return 4294967295u; }
  static constexpr uint lowest() { return 0; }
};

}  // namespace metal

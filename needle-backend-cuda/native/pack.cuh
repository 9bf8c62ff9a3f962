// Sixteen bytes at a time: the widest load and store of a thread.
#ifndef NEEDLE_CUDA_PACK_CUH
#define NEEDLE_CUDA_PACK_CUH

#include <cstdint>

namespace needle {

template <class T, int count> struct alignas(sizeof(T) * count) Pack {
  T at[count];
};

template <class T> constexpr int kPerPack = 16 / static_cast<int>(sizeof(T));

// `data` must be aligned to the pack.
template <int count, class T> __device__ __forceinline__ Pack<T, count> load_pack(const T* data) {
  return *reinterpret_cast<const Pack<T, count>*>(data);
}
template <int count, class T> __device__ __forceinline__ void store_pack(T* data, const Pack<T, count>& pack) {
  *reinterpret_cast<Pack<T, count>*>(data) = pack;
}

inline bool aligned(const void* data, size_t bytes = 16) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

}  // namespace needle

#endif  // NEEDLE_CUDA_PACK_CUH

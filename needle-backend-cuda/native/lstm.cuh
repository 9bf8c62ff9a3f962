// An LSTM's walk through a sequence: what its kernels share. `steps` times of `batch` rows of `units`; four gates.
#ifndef NEEDLE_CUDA_LSTM_CUH
#define NEEDLE_CUDA_LSTM_CUH

#include "launch.cuh"
#include "ops.h"

namespace needle {

constexpr int kGates = 4;  // i, f, g, o
constexpr int kKept = 6;   // of each time: h, c and the gates

struct LstmShape {
  int32_t steps, batch, units;

  // Of an element in an array (..., steps, batch, units) or (batch, units).
  __host__ __device__ int64_t at(int row, int unit) const { return int64_t{row} * units + unit; }
  __host__ __device__ int64_t at(int time, int row, int unit) const { return at(time * batch + row, unit); }
  __host__ __device__ int64_t kept(int value) const { return int64_t{value} * steps * batch * units; }
  // Of a gate in an array (steps, batch, 4 units).
  __host__ __device__ int64_t gate(int time, int row, int which, int unit) const {
    return (int64_t{time} * batch + row) * kGates * units + which * units + unit;
  }
};

template <class T> struct LstmWalk {
  const T *inputs, *h, *c, *weight, *bias;
  T* kept;
};

template <class T> struct LstmGrad {
  T *inputs, *h, *c;                                      // the results
  const T *wanted_h, *wanted_c, *kept, *before, *weight;  // wanted_h and wanted_c may be null; `before` is c
};

// The sums that go into the gates become the gates; c becomes the cell after.
template <class W> __device__ __forceinline__ W lstm_step(W (&gates)[kGates], W& c) {
  const auto sigmoid = [](W x) { return W(1) / (W(1) + exp(-x)); };
  gates[0] = sigmoid(gates[0]), gates[1] = sigmoid(gates[1]), gates[2] = tanh(gates[2]), gates[3] = sigmoid(gates[3]);
  c = gates[1] * c + gates[0] * gates[2];
  return gates[3] * tanh(c);
}

// What one time left behind for the way back.
template <class W> struct LstmPast {
  W gates[kGates], c, before, wanted;  // the cell after and before, what is wanted of h

  template <class T>
  __device__ __forceinline__ LstmPast(const LstmShape& shape, const LstmGrad<T>& a, int time, int row, int unit) {
    const int64_t here = shape.at(time, row, unit);
    c = widen(a.kept[shape.kept(1) + here]);
    before = widen(time > 0 ? a.kept[shape.kept(1) + shape.at(time - 1, row, unit)] : a.before[shape.at(row, unit)]);
#pragma unroll
    for (int i = 0; i < kGates; ++i) gates[i] = widen(a.kept[shape.kept(2 + i) + here]);
    wanted = a.wanted_h == nullptr ? W(0) : widen(a.wanted_h[here]);
  }

  // The gradients of the gates' sums, from dh and dc, that of the cell after; dc becomes that of the cell before.
  __device__ __forceinline__ void back(W dh, W& dc, W (&sums)[kGates]) const {
    const W t = tanh(c), i = gates[0], f = gates[1], g = gates[2], o = gates[3];
    dc += dh * o * (W(1) - t * t);
    sums[0] = dc * g * (i * (W(1) - i));
    sums[1] = dc * before * (f * (W(1) - f));
    sums[2] = dc * i * (W(1) - g * g);
    sums[3] = dh * t * (o * (W(1) - o));
    dc *= f;
  }
};

// By one cluster of blocks for each few rows, which hold the weights; false where they do not fit, or the device has
// no clusters.
template <class T> bool lstm_by_clusters(const LstmShape& shape, const LstmWalk<T>& walk);
template <class T> bool lstm_grad_by_clusters(const LstmShape& shape, const LstmGrad<T>& grad);

}  // namespace needle

#endif  // NEEDLE_CUDA_LSTM_CUH

// lstm and its gradient: by clusters where the weights fit into them, else a product and a kernel for each time.
#include "lstm.cuh"

namespace needle {
namespace {

// sums (batch, 4 units) = the state's part of what goes into the gates.
template <class T> __global__ void step(const LstmShape shape, const LstmWalk<T> walk, int time, const T* sums) {
  using W = Wide<T>;
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= int64_t{shape.batch} * shape.units) return;
  const int row = static_cast<int>(at / shape.units), unit = static_cast<int>(at % shape.units);
  W gates[kGates];
#pragma unroll
  for (int i = 0; i < kGates; ++i) {
    gates[i] = widen(walk.inputs[shape.gate(time, row, i, unit)]) + widen(walk.bias[i * shape.units + unit]) +
               widen(sums[shape.gate(0, row, i, unit)]);
  }
  W c = widen(time > 0 ? walk.kept[shape.kept(1) + shape.at(time - 1, row, unit)] : walk.c[at]);
  T* const kept = walk.kept + shape.at(time, row, unit);
  kept[0] = narrow<T>(lstm_step(gates, c));
  kept[shape.kept(1)] = narrow<T>(c);
#pragma unroll
  for (int i = 0; i < kGates; ++i) kept[shape.kept(2 + i)] = narrow<T>(gates[i]);
}

// `back` (batch, units): what the time after wants of h, or null. `carried` (batch, units): the cell's gradient.
template <class T>
__global__ void step_back(const LstmShape shape, const LstmGrad<T> grad, int time, const T* back, Wide<T>* carried) {
  using W = Wide<T>;
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= int64_t{shape.batch} * shape.units) return;
  const int row = static_cast<int>(at / shape.units), unit = static_cast<int>(at % shape.units);
  const LstmPast<W> past(shape, grad, time, row, unit);
  W dc = back != nullptr ? carried[at] : grad.wanted_c == nullptr ? W(0) : widen(grad.wanted_c[at]);
  W sums[kGates];
  past.back(past.wanted + (back == nullptr ? W(0) : widen(back[at])), dc, sums);
#pragma unroll
  for (int i = 0; i < kGates; ++i) grad.inputs[shape.gate(time, row, i, unit)] = narrow<T>(sums[i]);
  carried[at] = dc;
  if (time == 0) grad.c[at] = narrow<T>(dc);
}

ShapedView matrix(const View& like, const void* data, int64_t rows, int64_t columns) {
  ShapedView view;
  view.data = const_cast<void*>(data);
  view.dtype = like.dtype;
  view.rank = 2;
  view.size = rows * columns;
  view.shape[0] = rows, view.shape[1] = columns;
  view.strides[0] = columns, view.strides[1] = 1;
  return view;
}

unsigned blocks_of(const LstmShape& shape) { return blocks_for(int64_t{shape.batch} * shape.units, kThreads); }

template <class T> void walk_by_steps(const LstmShape& shape, const LstmWalk<T>& walk, const View& like) {
  const int64_t wide = int64_t{kGates} * shape.units;
  const Workspace space(static_cast<size_t>(shape.batch * wide) * sizeof(T));
  const ShapedView weight = matrix(like, walk.weight, shape.units, wide);
  const ShapedView sums = matrix(like, space.as<T>(), shape.batch, wide);
  for (int time = 0; time < shape.steps; ++time) {
    const T* const h = time > 0 ? walk.kept + shape.at(time - 1, 0, 0) : walk.h;
    matmul(sums, matrix(like, h, shape.batch, shape.units), weight, false, false);
    launch(step<T>, blocks_of(shape), kThreads, 0, shape, walk, time, space.as<T>());
  }
}

template <class T> void back_by_steps(const LstmShape& shape, const LstmGrad<T>& grad, const View& like) {
  const int64_t wide = int64_t{kGates} * shape.units;
  const Workspace carried(static_cast<size_t>(shape.batch) * static_cast<size_t>(shape.units) * sizeof(Wide<T>));
  const ShapedView weight = matrix(like, grad.weight, shape.units, wide);
  const ShapedView back = matrix(like, grad.h, shape.batch, shape.units);  // at last the gradient of h itself
  for (int time = shape.steps - 1; time >= 0; --time) {
    const bool last = time == shape.steps - 1;
    launch(step_back<T>, blocks_of(shape), kThreads, 0, shape, grad, time, last ? nullptr : grad.h,
           carried.as<Wide<T>>());
    matmul(back, matrix(like, grad.inputs + shape.gate(time, 0, 0, 0), shape.batch, wide), weight, false, true);
  }
}

LstmShape shape_of(const ShapedView& kept) {
  return {static_cast<int32_t>(kept.shape[1]), static_cast<int32_t>(kept.shape[2]),
          static_cast<int32_t>(kept.shape[3])};
}

template <class T> const T* first_of(const std::vector<View>& views) {
  return views.empty() ? nullptr : views[0].as<const T>();
}

}  // namespace

void lstm(const ShapedView& dst, const View& inputs, const View& h, const View& c, const View& weight,
          const View& bias) {
  if (dst.size == 0) return;
  const LstmShape shape = shape_of(dst);
  visit_floats(dst.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const LstmWalk<T> walk{inputs.as<const T>(), h.as<const T>(),    c.as<const T>(),
                           weight.as<const T>(), bias.as<const T>(), dst.as<T>()};
    if constexpr (sizeof(T) < 8) {
      if (lstm_by_clusters(shape, walk)) return;
    }
    walk_by_steps(shape, walk, dst);
  });
}

void lstm_grad(const View& dinputs, const View& dh, const View& dc, const std::vector<View>& wanted_h,
               const std::vector<View>& wanted_c, const ShapedView& kept, const View& c, const View& weight) {
  if (kept.size == 0) return;
  const LstmShape shape = shape_of(kept);
  visit_floats(kept.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const LstmGrad<T> grad{dinputs.as<T>(),       dh.as<T>(),         dc.as<T>(),      first_of<T>(wanted_h),
                           first_of<T>(wanted_c), kept.as<const T>(), c.as<const T>(), weight.as<const T>()};
    if constexpr (sizeof(T) < 8) {
      if (lstm_grad_by_clusters(shape, grad)) return;
    }
    back_by_steps(shape, grad, kept);
  });
}

}  // namespace needle

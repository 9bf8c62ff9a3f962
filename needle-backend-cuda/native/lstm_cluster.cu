// A whole walk of an LSTM by one kernel. Rows do not depend on each other, so each few of them are a cluster's of eight
// blocks, which share out the units: a block holds the weights of its units' gates in shared memory, and after each
// time gives the others what they need of it by writing into theirs. Clusters never wait for each other.
#include <cooperative_groups.h>

#include "lstm.cuh"

namespace needle {
namespace {

constexpr int kClusterBlocks = 8;  // all that a device with clusters must be able to hold
constexpr int kClusterThreads = 512;
constexpr int kMostSplits = 16;  // parts of a product's summed axis
constexpr int kQuad = 4;         // neighbours along it that are read at once
constexpr int kMostWaves = 2;    // of clusters; for more rows a library's product is faster

// How the work of one kernel is cut. `own`: units of a block; `all`: of a cluster, some perhaps beyond the last.
struct ClusterPlan {
  int32_t own, all, splits;

  ClusterPlan(int units, int groups_per_own)
      : own((units + kClusterBlocks - 1) / kClusterBlocks), all(own * kClusterBlocks) {
    const int groups = groups_per_own * own, quads = groups_per_own == 1 ? all / kQuad : own;
    splits = std::max(1, std::min({kMostSplits, kClusterThreads / groups, quads}));
  }
  __host__ __device__ size_t weights() const { return static_cast<size_t>(all) * own * kGates; }
};

// A thread's place: its row and unit, if it has any.
struct Place {
  int r, u, row, unit;
  bool has, live;  // live: neither is beyond the last

  __device__ __forceinline__ Place(const LstmShape& shape, const ClusterPlan& plan, int rows, int rank) {
    r = static_cast<int>(threadIdx.x) / plan.own, u = static_cast<int>(threadIdx.x) % plan.own;
    row = static_cast<int>(blockIdx.x) / kClusterBlocks * rows + r, unit = rank * plan.own + u;
    has = r < rows;
    live = has && row < shape.batch && unit < shape.units;
  }
};

// partial (splits, R, 4 groups) = rows (R, 4 quads) @ matrix (quads, 4 groups, 4), the summed axis in parts. A thread
// has four columns, `groups` apart, so that each number it reads meets four others.
template <int R>
__device__ __forceinline__ void multiply(float* partial, const float* matrix, const float* rows, int quads, int groups,
                                         int splits) {
  const int columns = 4 * groups, per_split = (quads + splits - 1) / splits;
  for (int item = static_cast<int>(threadIdx.x); item < groups * splits; item += kClusterThreads) {
    const int group = item % groups, split = item / groups, end = min(quads, (split + 1) * per_split);
    float sums[R][4] = {};
#pragma unroll 2
    for (int quad = split * per_split; quad < end; ++quad) {
      Pack<float, kQuad> x[R];
#pragma unroll
      for (int r = 0; r < R; ++r) x[r] = load_pack<kQuad>(rows + (r * quads + quad) * kQuad);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Pack<float, kQuad> y = load_pack<kQuad>(matrix + (quad * columns + j * groups + group) * kQuad);
#pragma unroll
        for (int r = 0; r < R; ++r) {
#pragma unroll
          for (int k = 0; k < kQuad; ++k) sums[r][j] += x[r].at[k] * y.at[k];
        }
      }
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < 4; ++j) partial[(split * R + r) * columns + j * groups + group] = sums[r][j];
    }
  }
}

// The part of weight (units, 4 units) that belongs to a block: of each state, and each gate of its own units.
template <class T, class Put>
__device__ __forceinline__ void read_weights(const LstmShape& shape, const ClusterPlan& plan, int rank, const T* weight,
                                             Put put) {
  const int columns = kGates * plan.own;
  for (int i = static_cast<int>(threadIdx.x); i < plan.all * columns; i += kClusterThreads) {
    const int state = i / columns, column = i % columns, unit = rank * plan.own + column % plan.own;
    const bool exists = state < shape.units && unit < shape.units;
    put(state, column, exists ? widen(weight[shape.gate(0, state, column / plan.own, unit)]) : 0.0f);
  }
}

template <class T, int R>
__global__ void __launch_bounds__(kClusterThreads)
    walk_in_cluster(const LstmShape shape, const ClusterPlan plan, const LstmWalk<T> walk) {
#if __CUDA_ARCH__ >= 900
  const cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
  extern __shared__ __align__(16) float memory[];
  const int columns = kGates * plan.own, quads = plan.all / kQuad, rank = static_cast<int>(cluster.block_rank());
  float *const matrix = memory, *const states = matrix + plan.weights();  // states (2, R, all), by turns
  float* const partial = states + 2 * R * plan.all;
  const Place place(shape, plan, R, rank);
  read_weights(shape, plan, rank, walk.weight, [&](int state, int column, float w) {
    matrix[(state / kQuad * columns + column) * kQuad + state % kQuad] = w;
  });
  for (int i = static_cast<int>(threadIdx.x); i < R * plan.all; i += kClusterThreads) {
    const int row = place.row - place.r + i / plan.all, unit = i % plan.all;
    states[i] = row < shape.batch && unit < shape.units ? widen(walk.h[shape.at(row, unit)]) : 0.0f;
  }
  float c = place.live ? widen(walk.c[shape.at(place.row, place.unit)]) : 0.0f, bias[kGates] = {};
#pragma unroll
  for (int i = 0; i < kGates; ++i) {
    if (place.live) bias[i] = widen(walk.bias[i * shape.units + place.unit]);
  }
  float given[kGates] = {};  // of the time to come, asked for long before it is used
  const auto look_ahead = [&](int time) {
#pragma unroll
    for (int i = 0; i < kGates; ++i) {
      if (place.live) given[i] = widen(walk.inputs[shape.gate(time, place.row, i, place.unit)]);
    }
  };
  look_ahead(0);
  cluster.sync();  // every block is there

  for (int time = 0; time < shape.steps; ++time) {
    float gates[kGates], h = 0.0f;
#pragma unroll
    for (int i = 0; i < kGates; ++i) gates[i] = bias[i] + given[i];
    if (time + 1 < shape.steps) look_ahead(time + 1);
    multiply<R>(partial, matrix, states + time % 2 * R * plan.all, quads, plan.own, plan.splits);
    __syncthreads();
    if (place.live) {
#pragma unroll 4
      for (int split = 0; split < plan.splits; ++split) {
#pragma unroll
        for (int i = 0; i < kGates; ++i) {
          gates[i] += partial[(split * R + place.r) * columns + i * plan.own + place.u];
        }
      }
      const T rounded = narrow<T>(lstm_step(gates, c));
      h = widen(rounded);
      T* const kept = walk.kept + shape.at(time, place.row, place.unit);
      kept[0] = rounded;
      kept[shape.kept(1)] = narrow<T>(c);
#pragma unroll
      for (int i = 0; i < kGates; ++i) kept[shape.kept(2 + i)] = narrow<T>(gates[i]);
    }
    if (place.has && time + 1 < shape.steps) {
      float* const next = states + ((time + 1) % 2 * R + place.r) * plan.all + place.unit;
#pragma unroll
      for (int other = 0; other < kClusterBlocks; ++other) *cluster.map_shared_rank(next, other) = h;
    }
    cluster.sync();
  }
#endif
}

template <class T, int R>
__global__ void __launch_bounds__(kClusterThreads)
    back_in_cluster(const LstmShape shape, const ClusterPlan plan, const LstmGrad<T> grad) {
#if __CUDA_ARCH__ >= 900
  const cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
  extern __shared__ __align__(16) float memory[];
  const int columns = kGates * plan.own, rank = static_cast<int>(cluster.block_rank());
  float *const matrix = memory, *const sums = matrix + plan.weights();  // of the gates: (R, columns)
  float* const inbox = sums + R * columns;                              // (2, blocks, R, own), by turns
  float* const partial = inbox + 2 * R * plan.all;
  const Place place(shape, plan, R, rank);
  read_weights(shape, plan, rank, grad.weight, [&](int state, int column, float w) {
    matrix[(column / kQuad * plan.all + state) * kQuad + column % kQuad] = w;
  });
  float dc = 0.0f;
  if (place.live && grad.wanted_c != nullptr) dc = widen(grad.wanted_c[shape.at(place.row, place.unit)]);
  // What all blocks found of the gradient of this thread's h.
  const auto received = [&](int turn) {
    float dh = 0.0f;
#pragma unroll
    for (int from = 0; from < kClusterBlocks; ++from) {
      dh += inbox[((turn * kClusterBlocks + from) * R + place.r) * plan.own + place.u];
    }
    return dh;
  };
  const int last = shape.steps - 1, row = place.live ? place.row : 0, unit = place.live ? place.unit : 0;
  LstmPast<float> past(shape, grad, last, row, unit);
  cluster.sync();  // every block is there

  for (int time = last; time >= 0; --time) {
    float slopes[kGates] = {};
    if (place.live) {
      past.back(past.wanted + (time < last ? received((time + 1) % 2) : 0.0f), dc, slopes);
#pragma unroll
      for (int i = 0; i < kGates; ++i) {
        const T rounded = narrow<T>(slopes[i]);
        grad.inputs[shape.gate(time, place.row, i, place.unit)] = rounded;
        slopes[i] = widen(rounded);
      }
    }
#pragma unroll
    for (int i = 0; i < kGates; ++i) {
      if (place.has) sums[place.r * columns + i * plan.own + place.u] = slopes[i];
    }
    if (time > 0) past = LstmPast<float>(shape, grad, time - 1, row, unit);  // on its way while we multiply
    __syncthreads();
    multiply<R>(partial, matrix, sums, plan.own, plan.all / 4, plan.splits);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < R * plan.all; i += kClusterThreads) {
      const int r = i / plan.all, state = i % plan.all;
      float total = 0.0f;
#pragma unroll 4
      for (int split = 0; split < plan.splits; ++split) total += partial[(split * R + r) * plan.all + state];
      float* const to = inbox + ((time % 2 * kClusterBlocks + rank) * R + r) * plan.own + state % plan.own;
      *cluster.map_shared_rank(to, state / plan.own) = total;
    }
    cluster.sync();
  }
  if (place.live) {
    grad.h[shape.at(place.row, place.unit)] = narrow<T>(received(0));
    grad.c[shape.at(place.row, place.unit)] = narrow<T>(dc);
  }
#endif
}

template <class... Parameters, class... Arguments>
void launch_clusters(void (*kernel)(Parameters...), int clusters, size_t shared_bytes, Arguments... arguments) {
  if (shared_bytes > kSharedWithoutAsking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)));
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = kClusterBlocks, attribute.val.clusterDim.y = 1, attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(clusters * kClusterBlocks));
  config.blockDim = dim3(kClusterThreads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream();
  config.attrs = &attribute;
  config.numAttrs = 1;
  void* pointers[] = {static_cast<void*>(&arguments)...};
  check(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers));
}

// f(rows of a cluster): the fewest with which all clusters run at once, for a block's time grows with its rows.
template <int value> using Constant = std::integral_constant<int, value>;
template <class F> bool visit_rows_of_cluster(int batch, F f) {
  if (runtime().properties.major < 9) return false;
  const int at_once = multiprocessors() * 3 / 4 / kClusterBlocks;  // of blocks that fill a multiprocessor
  if (batch <= at_once) return f(Constant<1>());
  if (batch <= 2 * at_once) return f(Constant<2>());
  if (batch <= 4 * at_once) return f(Constant<4>());
  return batch <= 8 * kMostWaves * at_once && f(Constant<8>());
}

bool fits(const ClusterPlan& plan, int rows, size_t shared_bytes) {
  return rows * plan.own <= kClusterThreads && shared_bytes <= static_cast<size_t>(shared_bytes_per_block());
}

int clusters_of(const LstmShape& shape, int rows) { return (shape.batch + rows - 1) / rows; }

}  // namespace

template <class T> bool lstm_by_clusters(const LstmShape& shape, const LstmWalk<T>& walk) {
  const ClusterPlan plan(shape.units, 1);
  return visit_rows_of_cluster(shape.batch, [&](auto rows) {
    constexpr int R = decltype(rows)::value;
    const int of_row = 2 * plan.all + plan.splits * kGates * plan.own;
    const size_t bytes = sizeof(float) * (plan.weights() + static_cast<size_t>(R) * of_row);
    if (!fits(plan, R, bytes)) return false;
    launch_clusters(walk_in_cluster<T, R>, clusters_of(shape, R), bytes, shape, plan, walk);
    return true;
  });
}

template <class T> bool lstm_grad_by_clusters(const LstmShape& shape, const LstmGrad<T>& grad) {
  const ClusterPlan plan(shape.units, 2);
  return visit_rows_of_cluster(shape.batch, [&](auto rows) {
    constexpr int R = decltype(rows)::value;
    const int of_row = kGates * plan.own + 2 * plan.all + plan.splits * plan.all;
    const size_t bytes = sizeof(float) * (plan.weights() + static_cast<size_t>(R) * of_row);
    if (!fits(plan, R, bytes)) return false;
    launch_clusters(back_in_cluster<T, R>, clusters_of(shape, R), bytes, shape, plan, grad);
    return true;
  });
}

template bool lstm_by_clusters<float>(const LstmShape&, const LstmWalk<float>&);
template bool lstm_by_clusters<__half>(const LstmShape&, const LstmWalk<__half>&);
template bool lstm_by_clusters<__nv_bfloat16>(const LstmShape&, const LstmWalk<__nv_bfloat16>&);
template bool lstm_grad_by_clusters<float>(const LstmShape&, const LstmGrad<float>&);
template bool lstm_grad_by_clusters<__half>(const LstmShape&, const LstmGrad<__half>&);
template bool lstm_grad_by_clusters<__nv_bfloat16>(const LstmShape&, const LstmGrad<__nv_bfloat16>&);

}  // namespace needle

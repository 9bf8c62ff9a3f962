// The inner loops that exist once per instruction set, as a table of function pointers.
//
// They work on contiguous arrays of four compute types only. Whoever calls them widens the smaller types and gathers
// strided operands, a block at a time. Everything in this folder lives in the level's namespace (NEEDLE_VARIANT), and
// uses nothing inline of the standard library: the linker would keep one copy, perhaps the one with AVX-512 in it.
#ifndef NEEDLE_CPU_KERNELS_H
#define NEEDLE_CPU_KERNELS_H

#include <needle/compiler.h>
#include <needle/view.h>

namespace needle {

enum Compute { kF32, kF64, kI32, kI64, kComputeTypes };

static inline Compute compute_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kFloat16:
    case DType::kBFloat16: return kF32;
    case DType::kFloat64: return kF64;
    case DType::kInt64: return kI64;
    default: return kI32;
  }
}

constexpr int kMaxKinds = 64;
constexpr int kDTypes = 9;
constexpr int64_t kBlock = 1024;       // elements that are widened or gathered at a time
constexpr int64_t kColumnTile = 1024;  // columns that one call of reduce_columns takes

// `run_past` is the same with results stored past the caches, for an `out` that is aligned to a line; null where there
// are no such stores. The next thread may read them after `stream_end`.
struct UnaryLoop {
  void (*run)(const void* x, void* out, int64_t n);  // null: the function does not compute in this type
  void (*run_past)(const void* x, void* out, int64_t n);
  bool to_bool;
};

struct BinaryLoop {
  void (*run)(const void* a, const void* b, void* out, int64_t n);
  void (*run_past)(const void* a, const void* b, void* out, int64_t n);
  bool to_bool;
};

struct SelectLoop {
  void (*run)(const void* condition, const void* a, const void* b, void* out, int64_t n);
  void (*run_past)(const void* condition, const void* a, const void* b, void* out, int64_t n);
};

// `row` reduces n elements to one, with the same cuts whatever the number of threads; `rows` does so with some rows
// that lie one after the other; `columns` reduces x[j * stride + c] over j for up to kColumnTile columns c.
struct ReduceLoops {
  void (*row)(const void* x, int64_t n, void* out);
  void (*rows)(const void* x, int64_t n, int64_t rows, void* out);
  void (*columns)(const void* x, int64_t stride, int64_t n, int64_t columns, void* out);
};

// Windows over a batch of images (batch, height, width, channels), for pooling and what is done channel by channel:
// each place sees `depth` channels of taps_y x taps_x pixels, of which some may lie outside.
struct Windows {
  const void* image;                     // at the first channel that is seen
  int64_t height, width, channels;       // of an image; its pixels lie `channels` elements apart
  int64_t depth, taps_y, taps_x;         // what a window sees
  int64_t rows, columns;                 // places in an image
  int64_t step_y, step_x;                // pixels from one place to the next
  const int64_t *offsets_y, *offsets_x;  // of each tap, in pixels
};

// Some of what a window sees, side by side in memory, and the rows of a kernel that it meets there.
struct Run {
  int64_t y, x;    // its pixel, counted from the place's
  int64_t offset;  // the same in elements
  int64_t kernel;  // elements of the kernel before its first row
};

// A matrix that is never stored: each place of a batch of images is a row, which holds the runs that a window sees
// there, zeros where a run lies outside.
struct Patches {
  const void* image;
  int64_t height, width;                      // of an image, in pixels
  int64_t image_step, line_step, pixel_step;  // in elements
  int64_t batch, rows, columns;               // places
  int64_t step_y, step_x;                     // pixels from one place to the next
  const Run* runs;
  int64_t run_count, length;  // elements of a run
  int64_t run_pixels;         // side by side, of which some may lie outside
  int64_t pixel_length;       // elements of each
  bool by_place;              // the same place of many images is taken together, not neighbouring places of one
};

// A kernel has a row of n elements for each element of a run; the steps lead to the next row and column.
struct KernelMatrix {
  void* data;
  int64_t n, row_step, column_step;
};

// result[place] = row of the place * kernel.
struct PatchProduct {
  Patches patches;
  KernelMatrix kernel;
  void* result;
  int64_t image_step, line_step, place_step;  // of the result, in elements
  const void* bias = nullptr;                 // n elements added to each place, or null
  const void* packed = nullptr;               // the kernel as `pack_kernel` makes it, read in its place
};

// kernel = the matrix, transposed, times g, whose rows lie g_step elements apart.
struct PatchGrad {
  Patches patches;
  const void* g;
  int64_t g_step;
  KernelMatrix kernel;
};

// Products of matrices, row-major with leading dimensions; a flag says that the operand is stored transposed.
struct Gemm {
  int64_t m, n, k;
  const void *a, *b;
  int64_t lda, ldb;
  bool transpose_a, transpose_b;
  void* c;
  int64_t ldc;
  const void* bias;              // n elements added to each row, or null
  bool relu;                     // then negative results become 0
  bool accumulate = false;       // added to what c holds
  const void* packed = nullptr;  // b as `gemm_pack` makes it, read in its place
};

// One step of a function that runs over tiles of kTileVectors vectors, which stay in registers from step to step.
struct TileStep {
  int32_t op;                          // kTileLoad, ..., or the number of a Unary or Binary by tile_op()
  int32_t form;                        // of a Binary: where its operands are
  void* memory;                        // what is read or written, at the first tile
  int64_t step;                        // bytes from there to the next tile
  alignas(8) unsigned char scalar[8];  // in the type that is computed in
};
enum TileOp : int32_t {
  kTileLoad,
  kTileScalar,
  kTileStore,
  kTileStorePast,
  kTileUnary = 16,
  kTileBinary = 16 + kMaxKinds
};
// The operands of a Binary: the tile in registers first or second, with memory or a scalar; or the tile twice.
enum TileForm : int32_t { kWithMemory, kMemoryWith, kWithScalar, kScalarWith, kWithItself };
constexpr int64_t kTileVectors = 8;

// Where elements lie among planes of `inner` elements, each of the next of the channels: from the one of number
// `first`.
struct Planes {
  int64_t first, channels, inner;
};

struct SgdStep {
  double lr, momentum, dampening, weight_decay;
  bool nesterov;
};

struct AdamStep {
  double beta1, beta2, eps;
  double step_size;        // lr / (1 - beta1^t)
  double root_correction;  // sqrt(1 - beta2^t)
  double weight_decay;     // added to the gradient
  double keep;             // the parameter is first multiplied by this
};

struct Kernels {
  UnaryLoop unary[kMaxKinds][kComputeTypes];
  BinaryLoop binary[kMaxKinds][kComputeTypes];
  ReduceLoops reduce[kMaxKinds][kComputeTypes];

  // out[i] = total + x[0] + ... + x[i]; the last of them becomes the total, so that a row may come in parts.
  void (*running_sum[kComputeTypes])(const void* x, int64_t n, void* total, void* out);
  int64_t (*find[kComputeTypes])(const void* x, int64_t n, const void* value);  // the first; NaN finds a NaN

  // Runs all steps on each of some tiles of `tile_bytes`, float (0) or double (1), of the kinds that it has.
  void (*tiles[2])(const TileStep* steps, int64_t count, int64_t tiles);
  int64_t tile_bytes;
  bool (*tile_has_unary)(int kind);
  bool (*tile_has_binary)(int kind);

  // Between a stored type and its compute type; null where they are the same. `narrow` to bool is `!= 0`.
  void (*widen[kDTypes])(const void* stored, void* wide, int64_t n);
  void (*narrow[kDTypes])(const void* wide, void* stored, int64_t n);
  void (*convert[kComputeTypes][kComputeTypes])(const void* x, void* out, int64_t n);
  void (*round_to_odd)(const void* x, void* out, int64_t n);  // double to float, so that a second rounding is exact
  void (*to_bool[kComputeTypes])(const void* x, void* out, int64_t n);
  // To dst, past the caches: what is written is not read first and displaces nothing. Null where there is no such
  // store. The next thread may read it after `stream_end`.
  void (*stream)(const void* src, void* dst, int64_t nbytes);
  void (*stream_end)();

  // to[i * to_step + j] = from[j * from_step + i] for i < rows, j < columns, of items of 4 (0) or 8 (1) bytes.
  void (*transpose[2])(const void* from, int64_t from_step, void* to, int64_t to_step, int64_t rows, int64_t columns,
                       bool past_caches);

  SelectLoop select[4];  // by log2(item size)

  // Rows of float (0) or double (1), contiguous. `past`: the result goes past the caches; then it is aligned to a line
  // of memory, as is each of its rows, and the next thread may read it after `stream_end`.
  void (*softmax[2])(const void* x, void* out, int64_t rows, int64_t n, bool past);
  void (*log_softmax[2])(const void* x, void* out, int64_t rows, int64_t n, bool past);
  void (*softmax_grad[2])(const void* g, const void* y, void* out, int64_t rows, int64_t n, bool past);
  void (*log_softmax_grad[2])(const void* g, const void* y, void* out, int64_t rows, int64_t n, bool past);
  void (*cross_entropy[2])(const void* x, const int64_t* labels, void* out, int64_t rows, int64_t n);
  void (*cross_entropy_grad[2])(const void* g, int64_t g_stride, const void* x, const int64_t* labels, void* out,
                                int64_t rows, int64_t n, bool past);

  // In place: softmax(x * scale) of each row. Row r sees its first `first` + r elements, or n if that is fewer, and
  // the others become 0. The gradient turns g, in place, into y * (g - sum(g * y)) * scale.
  void (*attention_weights[2])(void* x, int64_t rows, int64_t n, int64_t first, double scale);
  void (*attention_weights_grad[2])(void* g, const void* y, int64_t rows, int64_t n, double scale);

  // Rows normalized by their own statistics; the second does not subtract the mean, and takes no bias. The gradients
  // add those of weight and bias to what dw and db hold.
  void (*layer_norm[2])(const void* x, const void* weight, const void* bias, void* out, int64_t rows, int64_t n,
                        double eps, bool past);
  void (*rms_norm[2])(const void* x, const void* weight, const void* bias, void* out, int64_t rows, int64_t n,
                      double eps, bool past);
  void (*layer_norm_grad[2])(const void* g, const void* x, const void* weight, void* dx, void* dw, void* db,
                             int64_t rows, int64_t n, double eps, bool past);
  void (*rms_norm_grad[2])(const void* g, const void* x, const void* weight, void* dx, void* dw, void* db, int64_t rows,
                           int64_t n, double eps, bool past);

  // Columns, which are channels. The mean of each and the sum of squared distances from it; (x - mean) * scale + bias;
  // the sums of g * (x - mean) and of g; g * a + (x - mean) * b + c.
  void (*channel_moments[2])(const void* x, int64_t rows, int64_t n, void* mean, void* squares);
  void (*channel_scale[2])(const void* x, const void* mean, const void* scale, const void* bias, void* out,
                           int64_t rows, int64_t n);
  void (*channel_sums[2])(const void* g, const void* x, const void* mean, int64_t rows, int64_t n, void* products,
                          void* sums);
  void (*channel_grad[2])(const void* g, const void* x, const void* mean, const void* a, const void* b, const void* c,
                          void* out, int64_t rows, int64_t n);

  // The same where each channel has planes: the moments and sums of n elements of one plane; n elements of all planes.
  void (*plane_moments[2])(const void* x, int64_t n, void* mean, void* square);
  void (*plane_scale[2])(const void* x, const void* mean, const void* scale, const void* bias, void* out, int64_t n,
                         const Planes& planes);
  void (*plane_sums[2])(const void* g, const void* x, const void* mean, int64_t n, void* product, void* sum);
  void (*plane_grad[2])(const void* g, const void* x, const void* mean, const void* a, const void* b, const void* c,
                        void* out, int64_t n, const Planes& planes);

  // Windows of each channel, for the places from `begin` to `end`. The gradients add to what dx holds.
  void (*pool_max[2])(const Windows& windows, void* out, int64_t begin, int64_t end);
  void (*pool_mean[2])(const Windows& windows, void* out, int64_t begin, int64_t end);
  void (*pool_max_grad[2])(const Windows& windows, const void* g, const void* y, void* dx, int64_t begin, int64_t end);
  void (*pool_mean_grad[2])(const Windows& windows, const void* g, const void* y, void* dx, int64_t begin, int64_t end);

  void (*gemm[kComputeTypes])(const Gemm& problem);
  // b of float (0) or double (1) products in the order that they read it, and the bytes of that; null where another
  // library makes them.
  int64_t (*gemm_packed_bytes[2])(const Gemm& problem);
  void (*gemm_pack[2])(const Gemm& problem, void* out);
  void (*convolve[2])(const PatchProduct& problem);  // float or double
  int64_t (*kernel_packed_bytes[2])(const PatchProduct& problem);
  void (*pack_kernel[2])(const PatchProduct& problem, void* out);
  void (*convolve_grad[2])(const PatchGrad& problem);

  // Each channel by itself, float or double: out[i] = the sum over the taps of window[i] * w, for the places from
  // `begin` to `end`; the gradient of w, for the taps from `begin` to `end`, sums over all places.
  void (*depthwise[2])(const Windows& windows, const void* w, void* out, int64_t begin, int64_t end);
  void (*depthwise_grad[2])(const Windows& windows, int64_t batch, const void* g, void* dw, int64_t begin, int64_t end);

  // One piece of one parameter, float or double.
  void (*sgd[2])(const SgdStep& step, void* p, const void* g, void* velocity, int64_t n);
  void (*adam[2])(const AdamStep& step, void* p, const void* g, void* mean, void* square, int64_t n);

  void (*random)(int kind, uint64_t seed, uint64_t block, void* out, int64_t n);  // from the first word of `block` on
};

}  // namespace needle

#if defined(NEEDLE_VARIANT)
// Before a loop: its iterations do not depend on each other. Results may overwrite an operand, but only in place.
#if defined(__clang__)
#define NEEDLE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define NEEDLE_INDEPENDENT _Pragma("GCC ivdep")
#endif
#define NEEDLE_INLINE __attribute__((always_inline))  // of a lambda: what is constant where it is called is so in it

NEEDLE_BEGIN

void fill_convert(Kernels& table);
void fill_unary(Kernels& table);
void fill_binary(Kernels& table);
void fill_tiles(Kernels& table);
void fill_reduce(Kernels& table);
void fill_scan(Kernels& table);
void fill_rows(Kernels& table);
void fill_gemm(Kernels& table);
void fill_conv(Kernels& table);
void fill_depthwise(Kernels& table);
void fill_norm(Kernels& table);
void fill_optim(Kernels& table);
void fill_pool(Kernels& table);
void fill_random(Kernels& table);
void fill_stream(Kernels& table);
void fill_transpose(Kernels& table);

// The index of a C++ type among the compute types.
template <class T> struct ComputeOf;
template <> struct ComputeOf<float> {
  static constexpr Compute value = kF32;
};
template <> struct ComputeOf<double> {
  static constexpr Compute value = kF64;
};
template <> struct ComputeOf<int32_t> {
  static constexpr Compute value = kI32;
};
template <> struct ComputeOf<int64_t> {
  static constexpr Compute value = kI64;
};

NEEDLE_END
#endif

#endif  // NEEDLE_CPU_KERNELS_H
